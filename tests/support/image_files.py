"""Image files made for the tests, by Pillow, tifffile or by hand."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

Pixels = NDArray[np.uint8]
ORIENTATION = 274


def save(image: Image.Image | NDArray[Any], file_format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, file_format, **options)
    return buffer.getvalue()


def save_tiff(array: NDArray[Any], **options: Any) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, **options)
    return buffer.getvalue()


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def build_png(
    width: int,
    height: int,
    bits: int,
    colour_type: int,
    rows: bytes,
    extra: bytes = b"",
    *,
    packed: bool = False,
) -> bytes:
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0))
    content = png_chunk(b"IDAT", rows if packed else zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + header + extra + content + png_chunk(b"IEND", b"")


def png_rows(samples: NDArray[Any]) -> bytes:
    """Rows of a PNG without filters, of samples of 8 or 16 bits."""
    big = samples.astype(">u2") if samples.dtype.itemsize == 2 else samples
    return b"".join(b"\0" + row.tobytes() for row in big)


def bmp_with_alpha(pixels: Pixels, alpha: NDArray[np.uint8], header_size: int = 108) -> bytes:
    """A BMP of 32 bits with bit fields, of the header V3 (56 bytes), V4 (108) or V5 (124)."""
    height, width = alpha.shape
    rows = np.dstack([pixels[..., ::-1], alpha])[::-1].tobytes()
    header = struct.pack("<IiiHHIIiiII", header_size, width, height, 1, 32, 3, len(rows), 0, 0, 0, 0)
    header += struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    header = header.ljust(header_size, b"\0")
    offset = 14 + header_size
    return b"BM" + struct.pack("<IHHI", offset + len(rows), 0, 0, offset) + header + rows


def heif(pixels: NDArray[Any], **options: Any) -> bytes:
    from pillow_heif.as_plugin import _save_heif

    buffer = io.BytesIO()
    image = Image.fromarray(pixels)
    image.encoderinfo = options
    _save_heif(image, buffer, "")
    return buffer.getvalue()


def jpeg_xl(pixels: NDArray[Any], **options: Any) -> bytes:
    from pillow_jxl.JpegXLImagePlugin import _save

    buffer = io.BytesIO()
    image = Image.fromarray(pixels)
    image.encoderinfo = options
    _save(image, buffer, "")
    return buffer.getvalue()


def gradient(height: int = 37, width: int = 53) -> Pixels:
    """A smooth image without symmetry, so that any wrong flip shows."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 200 // width, y * 250 // height, (2 * x + y) % 256], -1).astype(np.uint8)


def textured(height: int = 37, width: int = 53) -> Pixels:
    noise = np.random.default_rng(0).integers(0, 120, (height, width, 3))
    return (gradient(height, width) // 2 + noise).astype(np.uint8)


GRADIENT = gradient()
GREY = GRADIENT[..., 0]
GREY_RGB = np.repeat(GREY[..., None], 3, 2)
ALPHA = (np.mgrid[:37, :53][0] * 255 // 36).astype(np.uint8)


def on_white(colour: NDArray[Any], alpha: NDArray[Any]) -> NDArray[np.float64]:
    share = alpha[..., None].astype(float) / 255
    return colour * share + 255 * (1 - share)


def exif(orientation: Any) -> Image.Exif:
    tags = Image.Exif()
    tags[ORIENTATION] = orientation
    return tags


def tiff_with_orientation(pixels: Pixels, orientation: int, **options: Any) -> bytes:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[ORIENTATION] = orientation
    return save(pixels, "TIFF", tiffinfo=tags, **options)
