"""A set of shards as bits: a run may have millions of them, and a Python set takes 65 bytes for each."""

import base64
import zlib
from collections.abc import Iterable, Iterator, MutableSet

import numpy as np


class ShardSet(MutableSet[int]):
    """A set of numbers from 0 on, of which most up to the largest are there.

    Parameters
    ----------
    numbers : iterable of int

    Examples
    --------
    >>> shards = ShardSet([3, 1])
    >>> shards.add(1000)
    >>> sorted(ShardSet.from_text(shards.to_text())), 3 in shards, 2 in shards
    ([1, 3, 1000], True, False)
    """

    def __init__(self, numbers: Iterable[int] = ()) -> None:
        self._there = np.zeros(64, bool)
        self._count = 0
        for number in numbers:
            self.add(number)

    def __contains__(self, number: object) -> bool:
        return isinstance(number, int) and 0 <= number < len(self._there) and bool(self._there[number])

    def __iter__(self) -> Iterator[int]:
        return iter(np.flatnonzero(self._there).tolist())

    def __len__(self) -> int:
        return self._count

    def add(self, number: int) -> None:
        """Put a number there."""
        if number >= len(self._there):
            grown = np.zeros(2 * number + 2, bool)
            grown[: len(self._there)] = self._there
            self._there = grown
        self._count += not self._there[number]
        self._there[number] = True

    def discard(self, number: int) -> None:
        """Take a number away if it is there."""
        if number in self:
            self._there[number] = False
            self._count -= 1

    def to_text(self) -> str:
        """Return it as text, for a file."""
        last = int(np.flatnonzero(self._there).max(initial=-1))
        return base64.b64encode(zlib.compress(np.packbits(self._there[: last + 1]).tobytes())).decode()

    @classmethod
    def from_text(cls, text: str) -> "ShardSet":
        """Read what `to_text` returned.

        Raises
        ------
        ValueError or zlib.error
            If it is damaged.
        """
        found = cls()
        found._there = np.unpackbits(np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8)).astype(bool)
        found._count = int(found._there.sum())
        return found
