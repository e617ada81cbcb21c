"""What looking at every superpixel by itself needs of a label map: where each is, on a coarse grid."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from saliency_core.superpixels.statistics import LabelMap

CELLS = 96
"""Cells a side of the grid over an image: two thirds of them are the 64 that multi-context saliency reads of a map."""


@dataclass(frozen=True, eq=False)
class Regions:
    """An image's superpixels, as far as their windows need them.

    Parameters
    ----------
    centres : float32 array (n, 2)
        Centroids (y, x), in parts of height and width.
    cells : uint16 array (CELLS, CELLS)
        The superpixel in the middle of each cell of a grid over the image.
    """

    centres: NDArray[np.float32]
    cells: NDArray[np.uint16]

    @classmethod
    def none(cls) -> "Regions":
        """Return those of an image that is none."""
        return cls(np.zeros((0, 2), np.float32), np.zeros((CELLS, CELLS), np.uint16))

    @classmethod
    def of(cls, labels: "LabelMap") -> "Regions":
        """Make them of a label map (H, W)."""
        # Here: a network's worker waits neither for numba nor for decoders.
        from saliency_core.imaging.resizing import nearest
        from saliency_core.superpixels.statistics import superpixel_centroids

        return cls(superpixel_centroids(labels).astype(np.float32), nearest(labels, CELLS, CELLS).astype(np.uint16))
