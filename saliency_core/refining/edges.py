"""The last step at pixels: a map made of superpixels takes the edges of the image (guided filter)."""

import cv2
import numpy as np
from numpy.typing import NDArray

from saliency_core.refining.refinement import SaliencyMap

Values = NDArray[np.float32]

COARSER = 4
"""The filter's coefficients are computed at a size so many times smaller, as in the fast guided filter."""


def guided_filter(
    map_: SaliencyMap, image: NDArray[np.uint8], radius: float, smoothness: float = 1e-3, coarser: int = COARSER
) -> SaliencyMap:
    """Make a map locally a linear function of the image's colours, so that its edges are the image's.

    Parameters
    ----------
    map_ : float32 array (H, W)
        In [0, 1].
    image : uint8 array (H, W, 3)
    radius : float
        Of the square window, as a part of the image's longest side; at least one pixel.
    smoothness : float
        What is added to the variance of colours in [0, 1]: edges much weaker than its root are not followed.
    coarser : int
        1 computes everything at full size.

    Returns
    -------
    float32 array (H, W)
        In [0, 1], its maximum 1; all zeros where the map is.

    References
    ----------
    He, Sun, Tang, "Guided Image Filtering", TPAMI 2013, Eq. 14-16 (colour guidance); He, Sun, "Fast Guided Filter",
    arXiv 1505.00996.

    Examples
    --------
    >>> image = np.zeros((40, 40, 3), np.uint8)
    >>> image[:, 21:] = 255
    >>> map_ = np.zeros((40, 40), np.float32)
    >>> map_[:, 18:] = 1.0  # three pixels off the edge
    >>> guided_filter(map_, image, 0.2, coarser=1)[20, [10, 20, 21, 30]].round(1).astype(str).tolist()
    ['0.1', '0.5', '1.0', '1.0']
    """
    height, width = map_.shape
    pixels = round(radius * max(height, width))
    coarser = max(min(coarser, pixels), 1)
    small = (max(width // coarser, 1), max(height // coarser, 1))
    window = (2 * max(pixels // coarser, 1) + 1,) * 2

    def mean(values: Values) -> Values:
        return np.asarray(cv2.boxFilter(values, -1, window, borderType=cv2.BORDER_REPLICATE), np.float32)

    def resized(values: Values, size: tuple[int, int], how: int) -> Values:
        found = np.asarray(cv2.resize(values, size, interpolation=how), np.float32)
        return found.reshape(size[1], size[0], *values.shape[2:])  # OpenCV drops axes of length one

    full = image.astype(np.float32) / np.float32(255)
    guide, target = (resized(values, small, cv2.INTER_AREA) for values in (full, map_))
    colours, level = mean(guide), mean(target)
    pairs = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
    products = np.stack([guide[..., i] * guide[..., j] for i, j in pairs], axis=-1)
    moments = np.concatenate([mean(products[..., :3]), mean(products[..., 3:])], axis=-1)
    spread = [moments[..., k] - colours[..., i] * colours[..., j] for k, (i, j) in enumerate(pairs)]
    together = mean(guide * target[..., None]) - colours * level[..., None]
    slope = _solved(spread, together, smoothness)
    offset = level - (slope * colours).sum(axis=-1)
    slope, offset = (resized(mean(part), (width, height), cv2.INTER_LINEAR) for part in (slope, offset))
    found: SaliencyMap = np.maximum((slope * full).sum(axis=-1) + offset, np.float32(0))
    high = found.max()
    return found / high if high > 0 and map_.any() else np.zeros_like(map_)


def _solved(spread: list[NDArray[np.float32]], right: NDArray[np.float32], smoothness: float) -> NDArray[np.float32]:
    """Solve (covariance + smoothness * identity) x = right at every pixel, by Cramer's rule."""
    rr, rg, rb, gg, gb, bb = (values.astype(np.float64) for values in spread)
    rr, gg, bb = rr + smoothness, gg + smoothness, bb + smoothness
    a, b, c = gg * bb - gb * gb, gb * rb - rg * bb, rg * gb - gg * rb
    d, e, f = rr * bb - rb * rb, rg * rb - rr * gb, rr * gg - rg * rg
    determinant = rr * a + rg * b + rb * c
    r, g, z = (right[..., k].astype(np.float64) for k in range(3))
    rows = (a * r + b * g + c * z, b * r + d * g + e * z, c * r + e * g + f * z)
    return (np.stack(rows, axis=-1) / determinant[..., None]).astype(np.float32)
