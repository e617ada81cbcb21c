"""TIFF files: deep uncompressed pages through tifffile, all others through Pillow."""

import io
import math

import numpy as np
import tifffile
from PIL import Image

from saliency_core.imaging.bit_depth import scale_to_uint8
from saliency_core.imaging.formats import open_format
from saliency_core.imaging.guards import DecodeError, require_pixel_limit
from saliency_core.imaging.modes import to_rgb
from saliency_core.imaging.orientation import ORIENTATION_TAG, TRANSPOSES, exif_orientation, turned

__all__ = ["decode_tiff", "is_plain_deep_page", "read_plain_page"]

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


def decode_tiff(data: bytes, max_pixels: int) -> tuple[Image.Image, tuple[int, int], int]:
    """Decode a TIFF: deep uncompressed pages by tifffile, all others by Pillow.

    Parameters
    ----------
    data : bytes
    max_pixels : int

    Returns
    -------
    rgb : PIL.Image.Image
        As displayed, of mode RGB.
    stored_size : (int, int)
        Width and height of the stored pixels.
    orientation : int
        EXIF orientation, 1 to 8, which `rgb` has been turned by.

    Raises
    ------
    DecodeError
        If the file is too large or of an unsupported kind.
    Exception
        Whatever the libraries raise for damaged files: call it within `decoder_errors`.
    """
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        page = tiff.pages.first
        size = page.imagewidth, page.imagelength
        require_pixel_limit(*size, max_pixels)
        if page.is_reduced:
            raise DecodeError("The TIFF file's first page is only a preview, as in camera raw files.")
        if is_plain_deep_page(page):
            tag = page.tags.get(ORIENTATION_TAG)
            orientation = tag.value if tag is not None and tag.value in TRANSPOSES else 1
            return turned(to_rgb(read_plain_page(page, len(data))), orientation), size, orientation
        if not 1 <= page.bitspersample <= 64:  # a file may claim four billion: a power of that size takes minutes
            raise DecodeError(f"The TIFF file has samples of {page.bitspersample} bits.")
        white = 2**page.bitspersample - 1
        white_is_zero = page.photometric == tifffile.PHOTOMETRIC.MINISWHITE
        big_endian = tiff.byteorder == ">"

    image = open_format("TIFF", data, max_pixels)
    if image.mode == "I" or (image.mode == "F" and big_endian):  # Pillow swaps their bytes, or loses the sign
        raise DecodeError("The TIFF file holds compressed numbers of an unsupported kind; save it uncompressed.")
    orientation = exif_orientation(image)
    image.load()  # applies the orientation, for TIFF alone
    return to_rgb(image, white=white, white_is_zero=white_is_zero), size, orientation


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
