"""Histogram contrast (HC): a pixel is as salient as its colour is far from the image's other colours."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from saliency_core._arrays import min_max
from saliency_core.colour.quantisation import (
    blur_3x3,
    quantise_colours,
    smooth_over_similar_colours,
)

SIMILAR_FRACTION = 0.25
"""Share of the colours over which a colour's saliency is smoothed."""


def histogram_contrast(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Compute the histogram-contrast saliency map.

    The saliency of colour l is ``S_l = sum_j f_j ||c_l - c_j||``, f the colour frequencies and c the Lab
    colours of the quantised image. It is smoothed over the most similar quarter of the colours, given to
    the pixels, blurred with a 3x3 Gaussian and scaled to [0, 1].

    Parameters
    ----------
    image : uint8 array (H, W, 3)
        sRGB image.

    Returns
    -------
    float32 array (H, W)
        Values in [0, 1], 0 and 1 both present; all 0 for an image of one colour.

    Raises
    ------
    ValueError
        If `image` is not a non-empty uint8 array (H, W, 3).

    References
    ----------
    Cheng, Mitra, Huang, Torr, Hu, "Global Contrast based Salient Region Detection", TPAMI 2015, Eq. 1-4;
    constants and the closing blur as in the authors' published code.

    Examples
    --------
    >>> image = np.full((30, 30, 3), 90, np.uint8)
    >>> image[10:20, 10:20] = (220, 40, 40)
    >>> saliency = histogram_contrast(image)
    >>> saliency[15, 15], saliency[0, 0]
    (np.float32(1.0), np.float32(0.0))
    """
    indices, colours, counts = quantise_colours(image)
    distances = cdist(colours, colours)
    contrast = distances @ (counts / counts.sum())
    smoothed = smooth_over_similar_colours(contrast, distances, SIMILAR_FRACTION, np.ones(len(counts)))
    return min_max(blur_3x3(smoothed[indices]).astype(np.float64)).astype(np.float32)
