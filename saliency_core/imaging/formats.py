"""The formats that are read: told apart by their first bytes, opened with their announced size checked."""

import io
import struct

from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from saliency_core.imaging.guards import DecodeError, require_pixel_limit

__all__ = ["FORMATS", "open_format", "sniff_format"]

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
"""Names of the formats read, as `saliency_core.imaging.decoding.DecodedImage.format` gives them."""

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


def sniff_format(data: bytes) -> str:
    """Tell the format of a file by its first bytes.

    Raises
    ------
    DecodeError
        If it is none of `FORMATS`.
    """
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    for signature, format_name in _SIGNATURES.items():
        if data.startswith(signature):
            return format_name
    start = f"starts with {data[:8]!r}" if data else "is empty"
    raise DecodeError(f"The file {start}; it is none of {', '.join(FORMATS)}.")


def open_format(format_name: str, data: bytes, max_pixels: int) -> ImageFile.ImageFile:
    """Read the header of a file of the given format, and no pixels.

    Raises
    ------
    TooLargeError
        If it announces more than `max_pixels` pixels.
    Exception
        Whatever Pillow raises for damaged files: call it within `decoder_errors`.
    """
    if format_name == "WEBP":
        # Pillow's reader allocates the canvas at once.
        require_pixel_limit(*_webp_canvas(data), max_pixels)
    image = _READERS[format_name](io.BytesIO(data))
    require_pixel_limit(*image.size, max_pixels)
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
