"""8-bit PNG files of saliency maps."""

import cv2
import numpy as np
from numpy.typing import NDArray

from saliency_core.imaging.formats import open_format, sniff_format
from saliency_core.imaging.guards import DecodeError, decoder_errors, pillow_warnings_ignored
from saliency_core.imaging.options import DEFAULT_MAX_PIXELS

__all__ = ["decode_png_map", "encode_png"]


def encode_png(array: NDArray[np.uint8], compress_level: int = 3) -> bytes:
    """Encode an 8-bit map or an image as PNG.

    Parameters
    ----------
    array : uint8 array (H, W) or (H, W, 3)
    compress_level : int
        0 (none) to 9; docs/performance.md has the sizes and times of maps.

    Returns
    -------
    bytes
        The PNG file: greyscale or RGB, 8 bits.

    Examples
    --------
    >>> decode_png_map(encode_png(np.array([[0, 128, 255]], np.uint8))).tolist()
    [[0, 128, 255]]
    """
    if array.dtype != np.uint8 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)):
        raise ValueError(f"A PNG is written from a uint8 array (H, W) or (H, W, 3), not {array.dtype} {array.shape}.")
    pixels = array if array.ndim == 2 else cv2.cvtColor(array, cv2.COLOR_RGB2BGR)
    # No row filter: maps are flat or smooth, and PNG's filters make them both slower to write and larger.
    options = [cv2.IMWRITE_PNG_COMPRESSION, compress_level, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_NONE]
    written, data = cv2.imencode(".png", np.ascontiguousarray(pixels), options)
    if not written:
        raise ValueError(f"OpenCV could not write a PNG of {array.shape}")
    return bytes(data)


def decode_png_map(data: bytes, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> NDArray[np.uint8]:
    """Decode an 8-bit greyscale PNG, value for value.

    Parameters
    ----------
    data : bytes
        The file's content.
    max_pixels : int
        Largest width * height accepted.

    Returns
    -------
    uint8 array (H, W)

    Raises
    ------
    DecodeError
        If the bytes are not a complete 8-bit greyscale PNG.
    """
    if sniff_format(data) != "PNG":
        raise DecodeError("The map is not a PNG file.")
    with decoder_errors("PNG"), pillow_warnings_ignored():
        image = open_format("PNG", data, max_pixels)
        if image.mode != "L":
            raise DecodeError(f"The map is a PNG of mode {image.mode}, not of 8-bit greyscale.")
        return np.array(image)
