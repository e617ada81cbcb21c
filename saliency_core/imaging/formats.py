"""The formats that are read: told apart by their first bytes, opened with their announced size checked."""

import importlib
import io

from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    ImageFile,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from saliency_core.imaging.extensions import UNREAD_EXTENSIONS, advice, is_read
from saliency_core.imaging.guards import DecodeError, require_pixel_limit
from saliency_core.imaging.headers import jpeg2000_size, jpeg_xl_size, webp_size

__all__ = ["FORMATS", "open_format", "sniff_format"]

# The classes are called directly. Image.open() would judge the size by Pillow's process-wide limit.
_READERS: dict[str, type[ImageFile.ImageFile]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "AVIF": AvifImagePlugin.AvifImageFile,
    "JPEG2000": Jpeg2KImagePlugin.Jpeg2KImageFile,
    "PPM": PpmImagePlugin.PpmImageFile,
}
FORMATS = tuple(_READERS)
"""Names of the formats that are always read, as `saliency_core.imaging.decoding.DecodedImage.format` gives them."""

# Module and class, by the names of the formats that need a package of their own.
_EXTRA_READERS = {
    "HEIF": ("pillow_heif.as_plugin", "HeifImageFile"),
    "JPEG XL": ("pillow_jxl.JpegXLImagePlugin", "JXLImageFile"),
}

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
    b"\xff\x4f\xff\x51": "JPEG2000",
    b"\0\0\0\x0cjP  \r\n\x87\n": "JPEG2000",
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cJXL \r\n\x87\n": "JPEG XL",
}
_UNREAD_SIGNATURES = {
    b"8BPS": ".psd",
    b"<svg": ".svg",
    b"%PDF": ".pdf",
    b"%!PS": ".eps",
    b"\0\0\1\0": ".ico",
    b"v/1\1": ".exr",
    b"#?RADIANCE": ".hdr",
    b"SIMPLE  =": ".fits",
    b"II\xbc": ".jxr",
    b"FUJIFILM": ".raf",
    b"IIRO": ".orf",
    b"IIU\0": ".rw2",
}
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"})

# One thread a decoder: the job runs as many as there are cores.
AvifImagePlugin.DEFAULT_MAX_THREADS = 1


def sniff_format(data: bytes) -> str:
    """Tell the format of a file by its first bytes.

    Raises
    ------
    DecodeError
        If it is none of those that can be read.
    """
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[4:8] == b"ftyp":
        return _box_format(data)
    for signature, format_name in _SIGNATURES.items():
        if data.startswith(signature):
            return _available(format_name)
    if data[:1] == b"P" and data[1:2] in b"123456" and data[2:3] in b" \t\r\n#" and len(data) > 2:
        return "PPM"
    formats = ", ".join(FORMATS)
    for signature, extension in _UNREAD_SIGNATURES.items():
        if data.lstrip()[: len(signature)] == signature or data.startswith(signature):
            kind, what_to_do = UNREAD_EXTENSIONS[extension]
            raise DecodeError(f"The file is {kind}, none of {formats}: {what_to_do}.")
    start = f"starts with {data[:8]!r}" if data else "is empty"
    raise DecodeError(f"The file {start}; it is none of {formats}.")


def _box_format(data: bytes) -> str:
    """Tell AVIF from HEIF and from videos, by the brands of an ISO base media file (ISO 14496-12)."""
    end = min(int.from_bytes(data[:4], "big"), 1024, len(data))
    brands = {data[8:12]} | {data[place : place + 4] for place in range(16, end - 3, 4)}
    if brands & _AVIF_BRANDS:
        return "AVIF"
    if brands & _HEIF_BRANDS:
        return _available("HEIF")
    raise DecodeError(f"The file is a video or of another kind ({data[8:12]!r}), none of {', '.join(FORMATS)}.")


def _available(format_name: str) -> str:
    if not is_read(format_name):
        raise DecodeError(f"The file is none of {', '.join(FORMATS)}: {advice(format_name)}.")
    return format_name


def open_format(format_name: str, data: bytes, max_pixels: int) -> ImageFile.ImageFile:
    """Read the header of a file of the given format, and no pixels.

    JPEG XL is the exception: its reader decodes at once. Its size is read here first, as is that of other formats
    whose reader takes memory by the header.

    Raises
    ------
    TooLargeError
        If it announces more than `max_pixels` pixels.
    Exception
        Whatever Pillow raises for damaged files: call it within `decoder_errors`.
    """
    sizes = {"WEBP": webp_size, "JPEG XL": jpeg_xl_size, "JPEG2000": jpeg2000_size}
    if format_name in sizes:
        require_pixel_limit(*sizes[format_name](data), max_pixels)
    image = _reader(format_name)(io.BytesIO(data))
    require_pixel_limit(*image.size, max_pixels)
    return image


def _reader(format_name: str) -> type[ImageFile.ImageFile]:
    if format_name in _READERS:
        return _READERS[format_name]
    module_name, class_name = _EXTRA_READERS[format_name]
    module = importlib.import_module(module_name)
    if format_name == "HEIF":
        options = importlib.import_module("pillow_heif.options")
        options.DECODE_THREADS = 1  # type: ignore[attr-defined]
        options.THUMBNAILS = options.DEPTH_IMAGES = options.AUX_IMAGES = False  # type: ignore[attr-defined]
    else:
        module.DECODE_THREADS = 0  # type: ignore[attr-defined]
    reader: type[ImageFile.ImageFile] = getattr(module, class_name)
    return reader
