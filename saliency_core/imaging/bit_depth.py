"""Pixels of more than 8 bits a sample: their scaling to 8 bits, and the TIFF pages that hold them."""

import math

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

__all__ = ["is_plain_deep_page", "read_plain_page", "scale_to_uint8"]

# TIFF's photometric interpretation -> colour samples: white is zero, black is zero, RGB, CMYK.
_COLOUR_SAMPLES = {0: 1, 1: 1, 2: 3, 5: 4}
# (colour samples, TIFF's extra sample: 0 no alpha, 1 premultiplied, 2 alpha) -> Pillow mode.
_MODES = {
    (1, 0): "L",
    (1, 1): "La",
    (1, 2): "LA",
    (3, 0): "RGB",
    (3, 1): "RGBa",
    (3, 2): "RGBA",
    (4, 0): "CMYK",
}


def scale_to_uint8(samples: NDArray[np.integer] | NDArray[np.floating], white: int = 65535) -> NDArray[np.uint8]:
    """Scale numbers to 0..255, rounded.

    Parameters
    ----------
    samples : array of any real dtype and shape
        Unsigned 16-bit integers are multiplied by ``255 / white``. Other types have no agreed white: values
        within 0..1 (floating point), 0..127 (int8), 0..32767 (int16) or 0..65535 (wider integers) are scaled
        from that range; values that leave it are stretched from their own minimum..maximum, and are black if
        they are all the same.
    white : int
        Largest value of unsigned 16-bit samples: 65535, or 4095 for 12 bits stored in 16.

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
    >>> scale_to_uint8(np.array([-1.0, 0.0, 3.0])).tolist()
    [0, 64, 255]
    """
    if samples.dtype.kind == "u" and samples.dtype.itemsize == 2:
        table = np.minimum((np.arange(65536) * 255 + white // 2) // white, 255).astype(np.uint8)
        return table[samples]
    if samples.dtype.kind not in "iuf":
        raise ValueError(f"{samples.dtype} values are not supported.")
    low, high = float(samples.min()), float(samples.max())  # NaN if any value is
    if not np.isfinite(high - low):
        raise ValueError(f"its values are not finite or too far apart: {low} to {high}.")
    end = float(min(np.iinfo(samples.dtype.str).max, 65535)) if samples.dtype.kind in "iu" else 1.0
    if low >= 0 and high <= end:
        low, high = 0.0, end
    scaled = np.zeros(samples.shape, np.uint8)
    if high > low:
        for row, values in enumerate(samples):  # row by row, to keep the float64 copies small
            scaled[row] = np.rint((values.astype(np.float64) - low) / (high - low) * 255)
    return scaled


def is_plain_deep_page(page: tifffile.TiffPage) -> bool:
    """Say whether a TIFF page holds uncompressed samples other than unsigned ones of up to 8 bits.

    Pillow misreads such pages (16-bit planes, signed bytes) or refuses them (floating-point RGB). Compressed
    pages are better left to Pillow, which bounds what a strip may inflate to; tifffile does not.
    """
    deep = page.bitspersample > 8 or page.sampleformat != tifffile.SAMPLEFORMAT.UINT
    return deep and page.compression == tifffile.COMPRESSION.NONE and page.bitspersample in (8, 16, 32, 64)


def read_plain_page(page: tifffile.TiffPage, file_size: int) -> Image.Image:
    """Read an uncompressed TIFF page as an 8-bit image, each sample scaled by `scale_to_uint8`.

    Parameters
    ----------
    page : tifffile.TiffPage
        One that `is_plain_deep_page` accepts.
    file_size : int
        Length of the file in bytes: a page that claims more is refused before memory is taken.

    Returns
    -------
    PIL.Image.Image
        Of mode L, La, LA, RGB, RGBa, RGBA or CMYK. Extra samples other than transparency are dropped.

    Raises
    ------
    ValueError
        If the page is truncated or of another layout, or has transparency beside samples that are not
        unsigned 16-bit ones.
    """
    segments = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    tile_size = math.prod(page.chunks) * page.bitspersample // 8 if page.is_tiled else 1
    # tifffile itself would pad a tile that is cut short.
    if sum(size for _, size in segments) < page.nbytes or any(
        size < tile_size or offset + size > file_size for offset, size in segments
    ):
        raise ValueError(f"it is truncated: {page.nbytes} bytes of pixels announced in {file_size} bytes.")
    colours = _COLOUR_SAMPLES.get(int(page.photometric), 0)
    alpha = page.extrasamples[0] if page.extrasamples else 0
    mode = _MODES.get((colours, alpha))
    if mode is None or page.samplesperpixel < len(mode) or page.imagedepth != 1:
        raise ValueError(f"photometric {page.photometric!r} with shape {page.shape} is not supported.")
    if alpha and page.dtype != np.uint16:
        raise ValueError(f"transparency beside {page.dtype} values is not supported.")
    # (planes, depth 1, H, W, samples within a plane) -> (H, W, samples)
    stored = page.asarray(squeeze=False, maxworkers=1)[:, 0]
    samples = np.moveaxis(stored, 0, -1).reshape(*stored.shape[1:3], -1)
    pixels = scale_to_uint8(samples[..., : len(mode)])
    if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
        pixels[..., 0] = 255 - pixels[..., 0]
    return Image.frombytes(mode, (page.imagewidth, page.imagelength), pixels.tobytes())
