"""A centred Gaussian, the control: a method that does not beat it has not looked at the image."""

import numpy as np
from numpy.typing import NDArray

from saliency_core.errors import ArgumentError

RELATIVE_DEVIATION = 0.25


def center_gaussian(height: int, width: int) -> NDArray[np.float32]:
    """Return a Gaussian at the image centre, its deviations a quarter of the height and of the width.

    Parameters
    ----------
    height, width : int
        Size of the map in pixels, each at least 1.

    Returns
    -------
    float32 array (H, W)
        Values in (0, 1].

    Raises
    ------
    ArgumentError
        If `height` or `width` is below 1.

    Notes
    -----
    On the odd-numbered half of ECSSD the best F-beta of the mean precision-recall curve is 0.590, and any
    deviation from 0.1 to 1 scores the same: the level sets are the same ellipses.

    Examples
    --------
    >>> center_gaussian(3, 5).argmax()
    np.int64(7)
    """
    if height < 1 or width < 1:
        raise ArgumentError(f"height and width must be at least 1, not {height} and {width}")
    return np.outer(_gaussian(height), _gaussian(width)).astype(np.float32)


def _gaussian(length: int) -> NDArray[np.float64]:
    offsets = (np.arange(length) + 0.5) / length - 0.5
    return np.exp(-0.5 * (offsets / RELATIVE_DEVIATION) ** 2)
