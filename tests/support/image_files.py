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
