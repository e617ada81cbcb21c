"""A map and its own cut-out: colour models learnt from the map say where the object ends."""

import cv2
import numpy as np
from numpy.typing import NDArray

from saliency_core.imaging.resizing import resize_map
from saliency_core.refining.refinement import SaliencyMap
from saliency_core.segmentation.saliency_cut import saliency_cut

LONGEST_SIDE = 400
"""Larger images are cut at this size: what a cut takes grows with the pixels."""


def with_cut_out(map_: SaliencyMap, image: NDArray[np.uint8], share: float) -> SaliencyMap:
    """Add to a map the object that SaliencyCut cuts out with its help.

    Parameters
    ----------
    map_ : float32 array (H, W)
        In [0, 1].
    image : uint8 array (H, W, 3)
    share : float
        Of the cut-out in the sum, in [0, 1].

    Returns
    -------
    float32 array (H, W)
        In [0, 1]; the map itself where nothing is cut out.

    References
    ----------
    `saliency_core.segmentation.saliency_cut`, whose thresholds read the map: Cheng et al., TPAMI 2015, section 5.

    Examples
    --------
    >>> image = np.full((100, 120, 3), 90, np.uint8)
    >>> image[30:70, 40:80] = (220, 40, 40)
    >>> map_ = np.zeros((100, 120), np.float32)
    >>> map_[28:72, 38:82] = 0.5
    >>> map_[40:60, 50:70] = 1
    >>> with_cut_out(map_, image, 0.5)[[28, 35, 50], [60, 60, 60]].tolist()
    [0.25, 0.75, 1.0]
    """
    height, width = map_.shape
    longest = max(height, width)
    if longest > LONGEST_SIDE:
        small = (max(height * LONGEST_SIDE // longest, 1), max(width * LONGEST_SIDE // longest, 1))
        fewer = np.asarray(cv2.resize(image, small[::-1], interpolation=cv2.INTER_AREA), np.uint8)
        found = saliency_cut(fewer, resize_map(map_, *small))
    else:
        found = saliency_cut(image, map_)
    if not found.any():
        return map_
    return (1 - np.float32(share)) * map_ + np.float32(share) * resize_map(found.astype(np.float32), height, width)
