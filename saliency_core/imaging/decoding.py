"""Encoded image files in, uint8 sRGB arrays out; resizing; 8-bit PNG files of saliency maps.

Untrusted files are expected. The content alone decides the format, only the formats of `FORMATS` are ever
tried, the announced size is checked before any pixel is decoded, and whatever goes wrong in a decoder is
raised as `DecodeError`.
"""

import io
import struct
from dataclasses import dataclass

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageCms,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from saliency_core._arrays import check_rgb
from saliency_core.imaging.bit_depth import is_plain_deep_page, read_plain_page, scale_to_uint8
from saliency_core.imaging.guards import DecodeError, TooLargeError, decoder_errors, pillow_warnings_ignored

__all__ = [
    "DEFAULT_MAX_PIXELS",
    "FORMATS",
    "DecodeError",
    "DecodedImage",
    "TooLargeError",
    "decode_image",
    "decode_png_map",
    "encode_png",
    "resize_longest_side",
    "resize_map",
    "squash",
]

DEFAULT_MAX_PIXELS = 100_000_000
"""Largest width * height read by default; decoding that many takes 1.4 GB of memory (2.2 GB from WebP)."""

# The classes are called directly. Image.open() would judge the size by Pillow's process-wide limit.
_READERS: dict[str, type[ImageFile.ImageFile]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "GIF": GifImagePlugin.GifImageFile,
}
FORMATS = tuple(_READERS)
"""Names of the formats read, as `DecodedImage.format` gives them."""

_SIGNATURES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",  # BigTIFF
    b"MM\0+": "TIFF",
}

# What turns the stored image into the displayed one, by the EXIF orientation.
_TRANSPOSES = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION_TAG = 274


@dataclass(frozen=True, eq=False)
class DecodedImage:
    """A decoded image as it is to be displayed.

    Attributes
    ----------
    pixels : uint8 array (H, W, 3)
        sRGB, EXIF orientation applied. (H, W) is (height, width), or less where `decode_image` reduced it.
    width, height : int
        Size of the whole image as displayed, in pixels.
    stored_width, stored_height : int
        Size as the file stores it, before the orientation is applied.
    orientation : int
        EXIF orientation, 1 to 8; 1 where the file gives none or an invalid one.
    format : str
        One of `FORMATS`.
    """

    pixels: NDArray[np.uint8]
    width: int
    height: int
    stored_width: int
    stored_height: int
    orientation: int
    format: str


def decode_image(data: bytes, *, max_pixels: int = DEFAULT_MAX_PIXELS, reduce_to: int | None = None) -> DecodedImage:
    """Decode an encoded image file to sRGB pixels.

    Every mode of the formats becomes 8-bit RGB by these rules:

    - transparency is composited on white (the page an image is usually seen on); a transparent colour key in
      a PNG of 2, 4 or 3 x 16 bits is ignored;
    - embedded ICC profiles are ignored, as in the training of the usual classifiers; CMYK is converted as
      ``R = (1 - C)(1 - K)``, and four-component JPEG values are taken as inverted (Adobe's convention, which
      viewers assume for every such file); 8-bit CIE Lab in TIFF is converted from D50;
    - numbers of more than 8 bits are scaled to 0..255 as `saliency_core.imaging.bit_depth.scale_to_uint8` says:
      16 bits by 1 / 257, floating point within 0..1 by 255 (16-bit colour read by Pillow keeps the high byte,
      at most one level less);
    - of an animation or a TIFF of several pages the first frame is read.

    A file that ends early is an error, never padded, as long as nobody sets Pillow's process-wide
    ``LOAD_TRUNCATED_IMAGES``. Damage that the format's own rules allow cannot be seen: flipped bits, or bytes
    lost in the middle of a JPEG that still ends in its end marker.

    Parameters
    ----------
    data : bytes
        The file's content.
    max_pixels : int
        Largest width * height accepted, judged by the header before pixels are decoded. Pillow's process-wide
        limit plays no part, except that WebP, GIF and TIFF above twice ``PIL.Image.MAX_IMAGE_PIXELS`` (179 million)
        are always too large.
    reduce_to : int, optional
        Longest side wanted, in pixels. A JPEG is then decoded at 1/2, 1/4 or 1/8 of its size while its
        longest side stays >= `reduce_to`, sizes rounded up: for 12 million pixels that takes a tenth of the
        time, and the image at 512 pixels differs by 2 to 3 grey levels on average. Other formats, and
        images not at least twice as large, are not touched by it.

    Returns
    -------
    DecodedImage
        The pixels, writeable, with the sizes, the orientation and the format.

    Raises
    ------
    TooLargeError
        If the image announces more than `max_pixels` pixels.
    DecodeError
        If the bytes are no image of these formats, are damaged or truncated, or are of an unsupported kind.

    Examples
    --------
    >>> image = decode_image(encode_png(np.zeros((2, 3, 3), np.uint8)))
    >>> image.pixels.shape, image.width, image.height, image.format
    ((2, 3, 3), 3, 2, 'PNG')
    """
    if reduce_to is not None and reduce_to < 1:
        raise ValueError(f"reduce_to must be at least 1 pixel, not {reduce_to}.")
    format_name = _sniff_format(data)
    with decoder_errors(format_name), pillow_warnings_ignored():
        if format_name == "TIFF":
            return _decode_tiff(data, max_pixels)
        image = _open(format_name, data, max_pixels)
        width, height = image.size
        if reduce_to is not None and format_name == "JPEG":
            # Pillow halves while both sides stay >= the given ones, so the shorter side is asked for 1 pixel.
            image.draft(None, (reduce_to, 1) if width >= height else (1, reduce_to))
        image.load()  # before the orientation: a PNG may hold its EXIF data after the pixels
        return _finish(_to_rgb(image), (width, height), _exif_orientation(image), format_name)


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
        raise ValueError(f"longest_side must be at least 1 pixel, not {longest_side}.")
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
        raise ValueError(f"The map must be a float32 array (h, w), not {map_.dtype} {map_.shape}.")
    return np.array(Image.fromarray(map_).resize((width, height), Image.Resampling.BILINEAR))


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
    if _sniff_format(data) != "PNG":
        raise DecodeError("The map is not a PNG file.")
    with decoder_errors("PNG"), pillow_warnings_ignored():
        image = _open("PNG", data, max_pixels)
        if image.mode != "L":
            raise DecodeError(f"The map is a PNG of mode {image.mode}, not of 8-bit greyscale.")
        return np.array(image)


def _sniff_format(data: bytes) -> str:
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    for signature, format_name in _SIGNATURES.items():
        if data.startswith(signature):
            return format_name
    start = f"starts with {data[:8]!r}" if data else "is empty"
    raise DecodeError(f"The file {start}; it is none of {', '.join(FORMATS)}.")


def _require_pixel_limit(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise TooLargeError(
            f"The image announces {width} x {height} = {width * height} pixels, more than the limit of "
            f"{max_pixels}; raise max_pixels to read it."
        )


def _open(format_name: str, data: bytes, max_pixels: int) -> ImageFile.ImageFile:
    """Read the header, and no pixels."""
    if format_name == "WEBP":
        # Pillow's reader allocates the canvas at once.
        _require_pixel_limit(*_webp_canvas(data), max_pixels)
    image = _READERS[format_name](io.BytesIO(data))
    _require_pixel_limit(*image.size, max_pixels)
    return image


def _webp_canvas(data: bytes) -> tuple[int, int]:
    """Width and height from a WebP header (RFC 9649, sections 2.5 to 2.7)."""
    kind = data[12:16]
    if kind == b"VP8X":
        low_w, high_w, low_h, high_h = struct.unpack_from("<HBHB", data, 24)
        return (high_w << 16 | low_w) + 1, (high_h << 16 | low_h) + 1
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    raise DecodeError(f"The WEBP file has an unknown first chunk {kind!r}.")


def _exif_orientation(image: Image.Image) -> int:
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG)
    except Exception:
        return 1  # broken EXIF data are no reason to reject a sound picture
    return orientation if isinstance(orientation, int) and orientation in _TRANSPOSES else 1


def _decode_tiff(data: bytes, max_pixels: int) -> DecodedImage:
    """Decode a TIFF: deep uncompressed pages by tifffile, all others by Pillow."""
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        page = tiff.pages.first
        size = page.imagewidth, page.imagelength
        _require_pixel_limit(*size, max_pixels)
        if page.is_reduced:
            raise DecodeError("The TIFF file's first page is only a preview, as in camera raw files.")
        if is_plain_deep_page(page):
            tag = page.tags.get(_ORIENTATION_TAG)
            orientation = tag.value if tag is not None and tag.value in _TRANSPOSES else 1
            return _finish(_to_rgb(read_plain_page(page, len(data))), size, orientation, "TIFF")
        if not 1 <= page.bitspersample <= 64:  # a file may claim four billion: a power of that size takes minutes
            raise DecodeError(f"The TIFF file has samples of {page.bitspersample} bits.")
        white = 2**page.bitspersample - 1
        white_is_zero = page.photometric == tifffile.PHOTOMETRIC.MINISWHITE
        big_endian = tiff.byteorder == ">"

    image = _open("TIFF", data, max_pixels)
    if image.mode == "I" or (image.mode == "F" and big_endian):  # Pillow swaps their bytes, or loses the sign
        raise DecodeError("The TIFF file holds compressed numbers of an unsupported kind; save it uncompressed.")
    orientation = _exif_orientation(image)
    image.load()  # applies the orientation, for TIFF alone
    rgb = _to_rgb(image, white=white, white_is_zero=white_is_zero)
    return _finish(rgb, size, orientation, "TIFF", oriented=True)


def _to_rgb(image: Image.Image, *, white: int = 65535, white_is_zero: bool = False) -> Image.Image:
    """Convert a loaded image of any mode; the keywords concern greyscale of more than 8 bits."""
    if image.mode.startswith("I") or image.mode == "F":
        samples = np.asarray(image)
        grey = scale_to_uint8(samples, white)
        if white_is_zero:
            grey = 255 - grey
        if isinstance(key := image.info.get("transparency"), int):
            grey[samples == key] = 255
        return Image.fromarray(grey).convert("RGB")
    if image.mode == "LAB":
        lab, srgb = (ImageCms.ImageCmsProfile(ImageCms.createProfile(name)) for name in ("LAB", "sRGB"))
        return ImageCms.ImageCmsTransform(lab, srgb, "LAB", "RGB").apply(image)
    if image.has_transparency_data:
        rgba = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        page = Image.new("RGB", image.size, "white")
        page.paste(rgba, mask=rgba)
        return page
    return image.convert("RGB")


def _finish(
    rgb: Image.Image, stored: tuple[int, int], orientation: int, format_name: str, *, oriented: bool = False
) -> DecodedImage:
    if orientation in _TRANSPOSES and not oriented:
        rgb = rgb.transpose(_TRANSPOSES[orientation])
    width, height = stored[::-1] if orientation >= 5 else stored
    return DecodedImage(np.array(rgb), width, height, *stored, orientation, format_name)
