"""Resizing of images and maps."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from saliency_core._arrays import check_rgb
from saliency_core.errors import ArgumentError

__all__ = ["nearest", "resize_longest_side", "resize_map", "squash"]

Value = TypeVar("Value", bound=np.generic)


def resize_longest_side(pixels: NDArray[np.uint8], longest_side: int = 512) -> NDArray[np.uint8]:
    """Shrink an image so that its longest side has the given length; a smaller image is returned as it is.

    Lanczos with antialiasing; the aspect ratio is kept to the nearest pixel, and no side gets below 1.

    Parameters
    ----------
    pixels : uint8 array (H, W, 3)
    longest_side : int
        In pixels, >= 1.

    Returns
    -------
    uint8 array (h, w, 3)
        With ``max(h, w) == min(longest_side, max(H, W))``.

    Examples
    --------
    >>> resize_longest_side(np.zeros((300, 1000, 3), np.uint8), 500).shape
    (150, 500, 3)
    """
    check_rgb(pixels)
    if longest_side < 1:
        raise ArgumentError(f"longest_side must be at least 1 pixel, not {longest_side}.")
    longest = max(pixels.shape[:2])
    if longest <= longest_side:
        return pixels
    height, width = (max(1, (2 * side * longest_side + longest) // (2 * longest)) for side in pixels.shape[:2])
    return np.array(Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS))


def squash(pixels: NDArray[np.uint8], size: int | tuple[int, int]) -> NDArray[np.uint8]:
    """Resize the whole image to a classifier's input size, whatever its aspect ratio.

    Bilinear, antialiased when shrinking.

    Parameters
    ----------
    pixels : uint8 array (H, W, 3)
    size : int or (int, int)
        Side of the square, or (height, width), in pixels.

    Returns
    -------
    uint8 array (height, width, 3)

    Examples
    --------
    >>> squash(np.zeros((300, 1000, 3), np.uint8), 224).shape
    (224, 224, 3)
    """
    check_rgb(pixels)
    height, width = (size, size) if isinstance(size, int) else size
    return np.array(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))


def resize_map(map_: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Resize a saliency map bilinearly, antialiased when shrinking.

    Pixel centres are aligned as in ``torch.nn.functional.interpolate(mode="bilinear", align_corners=False,
    antialias=True)``. Every output value is a weighted mean of input values with weights >= 0, so the map
    stays within its range.

    Parameters
    ----------
    map_ : float32 array (h, w)
        Finite values.
    height, width : int
        Size wanted, in pixels.

    Returns
    -------
    float32 array (height, width)

    Examples
    --------
    >>> resize_map(np.array([[0, 1]], np.float32), 1, 4).tolist()
    [[0.0, 0.25, 0.75, 1.0]]
    """
    if map_.dtype != np.float32 or map_.ndim != 2:
        raise ArgumentError(f"The map must be a float32 array (h, w), not {map_.dtype} {map_.shape}.")
    return np.array(Image.fromarray(map_).resize((width, height), Image.Resampling.BILINEAR))


def nearest(values: NDArray[Value], height: int, width: int) -> NDArray[Value]:
    """Bring an array (h, w) to another size, each pixel taking the value at its place: no new values appear.

    Parameters
    ----------
    values : array (h, w)
        Of any type: labels, or a map with few values.
    height, width : int

    Returns
    -------
    array (height, width)

    Examples
    --------
    >>> nearest(np.array([[1, 2], [3, 4]]), 2, 4)
    array([[1, 1, 2, 2],
           [3, 3, 4, 4]])
    """
    rows, columns = (
        ((np.arange(size) + 0.5) * before / size).astype(np.intp)
        for size, before in zip((height, width), values.shape, strict=True)
    )
    return values[rows[:, None], columns]
