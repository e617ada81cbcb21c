"""Pixels of more than 8 bits a sample: their scaling to 8 bits, and the colour pictures that Pillow has no mode for."""

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["read_deep_colour", "scale_to_uint8", "white_level"]

_CONTAINED_BITS = (8, 10, 12, 14)


def white_level(highest: int, stated_bits: int | None = None) -> int:
    """Return which value of unsigned 16-bit samples is white.

    Sensors of 10, 12 or 14 bits are stored in 16 as they are, and then are nearly black if 65535 counts as white.

    Parameters
    ----------
    highest : int
        The largest colour value of the picture, 0..65535.
    stated_bits : int, optional
        Significant bits that the file states (sBIT in PNG). They hold if no value needs more; a file whose values do
        has been scaled to 16 bits, as PNG asks for.

    Returns
    -------
    int
        Without stated bits: of 8, 10, 12 or 14 bits the fewest that hold `highest`, else 65535.

    Examples
    --------
    >>> [white_level(value) for value in (200, 900, 4095, 4096, 40000)], white_level(900, 12), white_level(900, 16)
    ([255, 1023, 4095, 16383, 65535], 4095, 65535)
    """
    for bits in _CONTAINED_BITS if stated_bits is None else (stated_bits,):
        if highest < 1 << bits:
            return (1 << bits) - 1
    return 65535


def scale_to_uint8(
    samples: NDArray[np.integer] | NDArray[np.floating], white: float | None = None, black: float = 0
) -> NDArray[np.uint8]:
    """Scale numbers to 0..255, rounded.

    Parameters
    ----------
    samples : array of any real dtype and shape
        Without a given white, unsigned 16-bit integers have 65535 for it. Other types have no agreed white: values
        within 0..1 (floating point), 0..127 (int8), 0..32767 (int16) or 0..65535 (wider integers) are scaled
        from that range; values that leave it are stretched from their own minimum..maximum, and are black if
        they are all the same.
    white, black : float, optional
        Values that become 255 and 0; what lies beyond them is cut off.

    Returns
    -------
    uint8 array of the shape of `samples`

    Raises
    ------
    ValueError
        If the values are complex, NaN or infinite, or too far apart for their difference to be finite.

    Examples
    --------
    >>> scale_to_uint8(np.array([0, 257, 65535], np.uint16)).tolist()
    [0, 1, 255]
    >>> scale_to_uint8(np.array([0, 2048, 4095], np.uint16), 4095).tolist()
    [0, 128, 255]
    >>> scale_to_uint8(np.array([-1.0, 0.0, 3.0])).tolist()
    [0, 64, 255]
    """
    if samples.dtype.kind == "u" and samples.dtype.itemsize == 2:
        span = (65535 if white is None else white) - black
        table = np.clip(np.floor((np.arange(65536) - black) * 255 / span + 0.5), 0, 255).astype(np.uint8)
        return table[samples]
    if samples.dtype.kind not in "iuf":
        raise ValueError(f"{samples.dtype} values are not supported.")
    low, high = float(samples.min()), float(samples.max())  # NaN if any value is
    if not np.isfinite(high - low):
        raise ValueError(f"its values are not finite or too far apart: {low} to {high}.")
    end = float(min(np.iinfo(samples.dtype.str).max, 65535)) if samples.dtype.kind in "iu" else 1.0
    if white is not None:
        low, high = float(black), float(white)
    elif low >= 0 and high <= end:
        low, high = 0.0, end
    scaled = np.zeros(samples.shape, np.uint8)
    if high > low:
        for row, values in enumerate(samples):  # row by row, to keep the float64 copies small
            scaled[row] = np.clip(np.rint((values.astype(np.float64) - low) / (high - low) * 255), 0, 255)
    return scaled


def read_deep_colour(data: bytes) -> NDArray[np.integer | np.floating] | None:
    """Read a PNG or TIFF of more than 8 bits a sample through OpenCV, value for value, an orientation applied.

    Parameters
    ----------
    data : bytes
        A file whose size has been checked. OpenCV misreads TIFF files whose planes are apart: do not give it any.

    Returns
    -------
    array (H, W, 3) or (H, W, 4)
        RGB or RGBA; None if OpenCV cannot read it so.
    """
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        array = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    finally:
        cv2.utils.logging.setLogLevel(level)
    if array is None or array.ndim != 3 or array.shape[2] not in (3, 4) or array.dtype == np.uint8:
        return None
    return np.take(array, [2, 1, 0, 3][: array.shape[2]], 2)
