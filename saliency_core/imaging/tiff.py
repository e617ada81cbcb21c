"""TIFF files: deep uncompressed pages through tifffile, deep compressed colour through OpenCV, the rest by Pillow."""

import io
import math
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageChops

from saliency_core.imaging.bit_depth import read_deep_colour
from saliency_core.imaging.formats import open_format
from saliency_core.imaging.guards import DecodeError, require_pixel_limit
from saliency_core.imaging.modes import deep_to_image, to_rgb
from saliency_core.imaging.orientation import ORIENTATION_TAG, TRANSPOSES, exif_orientation, turned

__all__ = ["decode_tiff", "is_plain_deep_page", "read_grey_values", "read_plain_page"]

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


_CODECS_OF_OPENCV = frozenset(
    {
        tifffile.COMPRESSION.LZW,
        tifffile.COMPRESSION.DEFLATE,
        tifffile.COMPRESSION.ADOBE_DEFLATE,
        tifffile.COMPRESSION.PACKBITS,
    }
)


def decode_tiff(data: bytes, max_pixels: int) -> tuple[Image.Image, tuple[int, int], int]:
    """Decode a TIFF by the library that reads its kind of page rightly.

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
        _require_few_bands(page)
        black, white = _stated_range(page)
        tag = page.tags.get(ORIENTATION_TAG)
        orientation = tag.value if tag is not None and tag.value in TRANSPOSES else 1
        if is_plain_deep_page(page):
            image = read_plain_page(page, len(data), black, white)
            return turned(to_rgb(image), orientation), size, orientation
        if _is_packed_deep_colour(page, len(data), max_pixels):
            image = _read_packed_page(page, data, black, white)
            return to_rgb(image), size, orientation
        if not 1 <= page.bitspersample <= 64:  # a file may claim four billion: a power of that size takes minutes
            raise DecodeError(f"The TIFF file has samples of {page.bitspersample} bits.")
        if page.bitspersample < 16:
            white = white or 2**page.bitspersample - 1
        white_is_zero = page.photometric == tifffile.PHOTOMETRIC.MINISWHITE
        alpha_is_open = not page.extrasamples or page.extrasamples[0] == tifffile.EXTRASAMPLE.UNSPECIFIED
        big_endian = tiff.byteorder == ">"
        is_deep_colour = page.bitspersample == 16 and page.photometric == tifffile.PHOTOMETRIC.RGB

    image = open_format("TIFF", data, max_pixels)
    if image.mode == "I" or (image.mode == "F" and big_endian):  # Pillow swaps their bytes, or loses the sign
        raise DecodeError("The TIFF file holds compressed numbers of an unsupported kind; save it uncompressed.")
    orientation = exif_orientation(image)
    image.load()  # applies the orientation, for TIFF alone
    if is_deep_colour and max(high for _, high in image.convert("RGB").getextrema()) < 64:  # type: ignore[misc]
        raise DecodeError("The TIFF file holds compressed planes of fewer than 16 bits in 16; save it uncompressed.")
    rgb = to_rgb(image, white=white, black=black, white_is_zero=white_is_zero, alpha_is_open=alpha_is_open)
    return rgb, size, orientation


def _require_few_bands(page: tifffile.TiffPage) -> None:
    """Raise DecodeError if nobody can say which of many bands are the picture."""
    colours = _COLOUR_SAMPLES.get(int(page.photometric), page.samplesperpixel)
    extra = page.samplesperpixel - colours
    if extra > 1 and page.photometric != tifffile.PHOTOMETRIC.RGB:
        raise DecodeError(
            f"The TIFF file has {page.samplesperpixel} bands and does not say which of them are red, green and blue: "
            "write these three to a file of their own (gdal_translate -b 3 -b 2 -b 1 -co PHOTOMETRIC=RGB)."
        )


def _stated_range(page: tifffile.TiffPage) -> tuple[float, float | None]:
    """Return black and white as SMinSampleValue and SMaxSampleValue state them; 0 and None if they do not."""
    values = []
    for number, otherwise in ((340, 0.0), (341, None)):
        tag = page.tags.get(number)
        value = tag.value if tag is not None else otherwise
        values.append(value[0] if isinstance(value, tuple) and value else value)
    black, white = values
    if not isinstance(black, int | float) or not isinstance(white, int | float):
        return 0.0, None
    return (float(black), float(white)) if np.isfinite([black, white]).all() and black < white else (0.0, None)


def _is_packed_deep_colour(page: tifffile.TiffPage, file_size: int, max_pixels: int) -> bool:
    """Say whether a page holds compressed pixels of three or four samples that Pillow has no mode for."""
    is_deep = (page.bitspersample == 16 and page.sampleformat == tifffile.SAMPLEFORMAT.UINT) or (
        page.bitspersample in (32, 64) and page.sampleformat == tifffile.SAMPLEFORMAT.IEEEFP
    )
    return bool(
        is_deep
        and page.compression in _CODECS_OF_OPENCV
        and page.photometric == tifffile.PHOTOMETRIC.RGB
        and page.samplesperpixel in (3, 4)
        and page.planarconfig == tifffile.PLANARCONFIG.CONTIG
        and math.prod(page.chunks[:2]) <= max_pixels
        and all(offset + size <= file_size for offset, size in zip(page.dataoffsets, page.databytecounts, strict=True))
    )


def _read_packed_page(page: tifffile.TiffPage, data: bytes, black: float, white: float | None) -> Image.Image:
    samples = read_deep_colour(data)
    if samples is None or set(samples.shape[:2]) != {page.imagewidth, page.imagelength}:
        raise DecodeError("The TIFF file is damaged, or its compression is not supported; save it uncompressed.")
    alpha = page.extrasamples[0] if page.extrasamples else 0
    mode = _MODES.get((3, alpha), "RGB") if samples.shape[2] == 4 else "RGB"
    return deep_to_image(samples[..., : len(mode)], mode, white=white, black=black)


def is_plain_deep_page(page: tifffile.TiffPage) -> bool:
    """Say whether a TIFF page holds uncompressed samples other than unsigned ones of up to 8 bits.

    Pillow misreads such pages (16-bit planes, signed bytes) or refuses them (floating-point RGB). Compressed
    pages are better left to Pillow, which bounds what a strip may inflate to; tifffile does not.
    """
    deep = page.bitspersample > 8 or page.sampleformat != tifffile.SAMPLEFORMAT.UINT
    return deep and page.compression == tifffile.COMPRESSION.NONE and page.bitspersample in (8, 16, 32, 64)


def read_plain_page(
    page: tifffile.TiffPage, file_size: int, black: float = 0, white: float | None = None
) -> Image.Image:
    """Read an uncompressed TIFF page as an 8-bit image, each sample scaled by `scale_to_uint8`.

    Parameters
    ----------
    page : tifffile.TiffPage
        One that `is_plain_deep_page` accepts.
    file_size : int
        Length of the file in bytes: a page that claims more is refused before memory is taken.
    black, white : float, optional
        Values that the file states for black and white.

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
    samples = _plain_samples(page, file_size)
    colours = _COLOUR_SAMPLES.get(int(page.photometric), 0)
    alpha = page.extrasamples[0] if page.extrasamples else 0
    mode = _MODES.get((colours, alpha))
    if mode is None or page.samplesperpixel < len(mode):
        raise ValueError(f"photometric {page.photometric!r} with shape {page.shape} is not supported.")
    image = deep_to_image(samples[..., : len(mode)], mode, white=white, black=black)
    if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
        grey, *alphas = image.split()
        image = Image.merge(mode, [ImageChops.invert(grey), *alphas]) if alphas else ImageChops.invert(grey)
    return image


def read_grey_values(data: bytes, max_pixels: int) -> tuple[NDArray[Any], int] | None:
    """Read the values of an uncompressed greyscale page of more than 8 bits, which Pillow may have no mode for.

    Parameters
    ----------
    data : bytes
    max_pixels : int

    Returns
    -------
    values : array (H, W)
        As stored.
    orientation : int
        EXIF orientation, 1 to 8, not applied.

    None if the page is of another kind.
    """
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        page = tiff.pages.first
        require_pixel_limit(page.imagewidth, page.imagelength, max_pixels)
        if page.samplesperpixel != 1 or not is_plain_deep_page(page):
            return None
        tag = page.tags.get(ORIENTATION_TAG)
        orientation = tag.value if tag is not None and tag.value in TRANSPOSES else 1
        return _plain_samples(page, len(data))[..., 0], orientation


def _plain_samples(page: tifffile.TiffPage, file_size: int) -> NDArray[Any]:
    """Read the samples of an uncompressed page, (H, W, samples)."""
    segments = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    tile_size = math.prod(page.chunks) * page.bitspersample // 8 if page.is_tiled else 1
    # tifffile itself would pad a tile that is cut short.
    if sum(size for _, size in segments) < page.nbytes or any(
        size < tile_size or offset + size > file_size for offset, size in segments
    ):
        raise ValueError(f"it is truncated: {page.nbytes} bytes of pixels announced in {file_size} bytes.")
    if page.imagedepth != 1:
        raise ValueError(f"shape {page.shape} is not supported.")
    # (planes, depth 1, H, W, samples within a plane) -> (H, W, samples)
    stored = page.asarray(squeeze=False, maxworkers=1)[:, 0]
    return np.moveaxis(stored, 0, -1).reshape(*stored.shape[1:3], -1)
