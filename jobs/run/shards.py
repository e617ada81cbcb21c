"""How the images of a run are cut into shards, and how shards are numbered.

A shard is the unit in which work is done and kept: one row group of the manifest, one task in every step of the
pipeline, one file of results. What is finished can be seen from the names of the files alone. Images that are added
to a run later (``--extend``) make a segment of their own, whose shards are numbered from the next file of the
manifest on: what is there already stays as it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SHARDS_PER_FILE = 100
"""Shards in a file of the manifest: a task reads one file to find its shard, however long the whole manifest is."""

MOST_ROWS_PER_SHARD = 96
LEAST_ROWS_PER_SHARD = 8
"""Chosen shards have a multiple of this: a network takes a power of two at a time."""
MOST_BYTES_PER_SHARD = 2**28
"""Of a chosen shard between steps: a task holds it twice, an object store several. Large images come in fewer rows."""


@dataclass(frozen=True)
class Segment:
    """Images that were listed together.

    Parameters
    ----------
    first_shard : int
        A multiple of `SHARDS_PER_FILE`.
    images : int
    """

    first_shard: int
    images: int


@dataclass(frozen=True)
class Shards:
    """All shards of a run.

    Parameters
    ----------
    rows_per_shard : int
        The last shard of a segment may have fewer.
    segments : tuple of Segment

    Examples
    --------
    >>> shards = Shards(10, (Segment(0, 25),)).extended(3)
    >>> shards.numbers.tolist(), shards.rows(shards.numbers).tolist(), shards.images
    ([0, 1, 2, 100], [10, 10, 5, 3], 28)
    """

    rows_per_shard: int
    segments: tuple[Segment, ...] = ()

    @property
    def images(self) -> int:
        """Images in all."""
        return sum(segment.images for segment in self.segments)

    @property
    def numbers(self) -> NDArray[np.int64]:
        """Numbers of all shards, in order."""
        parts = [
            segment.first_shard + np.arange(-(-segment.images // self.rows_per_shard)) for segment in self.segments
        ]
        return np.concatenate(parts, dtype=np.int64) if parts else np.empty(0, np.int64)

    @property
    def next_shard(self) -> int:
        """The first shard of a further segment."""
        numbers = self.numbers
        last = int(numbers[-1]) if len(numbers) else -1
        return -(-(last + 1) // SHARDS_PER_FILE) * SHARDS_PER_FILE

    def extended(self, images: int) -> "Shards":
        """Return the shards with a further segment."""
        return Shards(self.rows_per_shard, (*self.segments, Segment(self.next_shard, images)))

    def rows(self, numbers: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the number of images of each of some shards of the run."""
        wanted = np.asarray(numbers, np.int64)
        firsts = np.array([segment.first_shard for segment in self.segments], np.int64)
        images = np.array([segment.images for segment in self.segments], np.int64)
        of_segment = np.searchsorted(firsts, wanted, side="right") - 1
        before = (wanted - firsts[of_segment]) * self.rows_per_shard
        return np.minimum(self.rows_per_shard, images[of_segment] - before)

    def recorded(self) -> dict[str, Any]:
        """Return the shards as plain values for the record of the run."""
        return {
            "images": self.images,
            "shards": len(self.numbers),
            "rows_per_shard": self.rows_per_shard,
            "segments": [vars(segment) for segment in self.segments],
        }

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> "Shards":
        """Read them back from the record of a run."""
        return cls(record["rows_per_shard"], tuple(Segment(**segment) for segment in record["segments"]))


def choose_rows_per_shard(count: int, slots: int, wanted: int | None, bytes_of_an_image: int = 0) -> int:
    """Choose the number of images in a shard.

    Parameters
    ----------
    count : int
        Images in all.
    slots : int
        CPU slots that work on them: small inputs are cut so that each gets several shards.
    wanted : int, optional
        The user's own choice.
    bytes_of_an_image : int
        That travel between steps: a shard is one piece there.

    Examples
    --------
    >>> choose_rows_per_shard(100_000, 4, None, 10**6), choose_rows_per_shard(100_000, 4, None, 10**8)
    (96, 2)
    """
    if wanted is not None:
        return wanted
    rows = LEAST_ROWS_PER_SHARD * max(1, -(-count // (4 * slots * LEAST_ROWS_PER_SHARD)))
    fit = MOST_BYTES_PER_SHARD // max(bytes_of_an_image, 1)
    if fit < LEAST_ROWS_PER_SHARD:
        return max(fit, 1)
    return min(MOST_ROWS_PER_SHARD, rows, fit // LEAST_ROWS_PER_SHARD * LEAST_ROWS_PER_SHARD)
