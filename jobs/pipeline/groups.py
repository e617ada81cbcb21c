"""Which shards travel together, and which are handed out together: what Ray does for a row, it does for many shards.

Ray's driver takes some milliseconds for every row that goes from step to step, and some more for every block of rows
before any work begins. A shard of photographs is a row; small ones share a row until it is worth its while. A block is
what one task prepares: row after row, each on its way to the network as soon as it is ready.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jobs.run.shards import MOST_BYTES_PER_SHARD

MOST_SHARDS_TOGETHER = 32
"""Shards in a row: they reach the network together, and are lost together."""
MOST_IMAGES_PER_BLOCK = 3072
MOST_ROWS_PER_BLOCK = 32
"""That one task prepares: what a lost worker has under way at most."""
SHARES_OF_A_SLOT = 16
"""Every CPU slot gets so many blocks at least: at the end of a run none works long while the others have nothing."""
MOST_BLOCKS = 2000
"""Blocks of one pipeline: Ray puts every one into its store, in 2 to 5 ms, before the first one is begun."""


@dataclass(frozen=True)
class Part:
    """Shards that one pipeline works on.

    Parameters
    ----------
    shards : int64 array
    together : int
        How many of them are a row.
    blocks : int
        That the rows lie in.
    """

    shards: NDArray[np.int64]
    together: int
    blocks: int

    @property
    def rows(self) -> int:
        """Rows in all."""
        return -(-len(self.shards) // self.together)

    def row(self, number: int) -> list[int]:
        """Return the shards of a row."""
        found: list[int] = self.shards[number * self.together : (number + 1) * self.together].tolist()
        return found


def parts(shards: NDArray[np.int64], images_of_a_shard: int, bytes_of_a_shard: int, slots: int) -> Iterator[Part]:
    """Cut shards into rows, blocks and pipelines that run one after the other.

    Parameters
    ----------
    shards : int64 array
        In order.
    images_of_a_shard : int
    bytes_of_a_shard : int
        That travel between steps.
    slots : int
        CPU slots that work on them.

    Examples
    --------
    Few shards are rows and blocks of their own. Of many, some are in a block, and of small ones some in a row.

    >>> [(part.rows, part.blocks) for part in parts(np.arange(50), 96, 10**8, 4)]
    [(50, 50)]
    >>> [(part.rows, part.blocks) for part in parts(np.arange(50_000), 96, 10**8, 4)]
    [(25000, 1563)]
    >>> [(part.rows, part.blocks) for part in parts(np.arange(100_000), 8, 10**7, 4)]
    [(3847, 275)]
    """
    enough = max(len(shards) // (SHARES_OF_A_SLOT * slots), 1)
    together = max(1, min(MOST_SHARDS_TOGETHER, MOST_BYTES_PER_SHARD // max(bytes_of_a_shard, 1), enough))
    most = max(1, min(MOST_ROWS_PER_BLOCK, MOST_IMAGES_PER_BLOCK // (together * images_of_a_shard)))
    # Where slots are many blocks would be, too.
    rows = min(most, max(1, enough // together, -(-len(shards) // (together * MOST_BLOCKS))))
    count = MOST_BLOCKS * rows * together
    for first in range(0, len(shards), count):
        part = shards[first : first + count]
        yield Part(part, together, -(-len(part) // (together * rows)))
