"""The formats that are read: told apart by their first bytes, opened with their announced size checked."""

import importlib
import importlib.util
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

from saliency_core.imaging.guards import DecodeError, require_pixel_limit
from saliency_core.imaging.headers import jpeg2000_size, jpeg_xl_size, webp_size

__all__ = ["EXTENSIONS", "FORMATS", "UNREAD_EXTENSIONS", "advice", "is_read", "open_format", "sniff_format"]

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

EXTRA = "clamped-erasure-saliency[formats]"
"""What is to be installed for the formats that need more than Pillow."""

# Module, class and the package that brings them, by the names of the other formats.
_EXTRA_READERS = {
    "HEIF": ("pillow_heif.as_plugin", "HeifImageFile", "pillow_heif"),
    "JPEG XL": ("pillow_jxl.JpegXLImagePlugin", "JXLImageFile", "pillow_jxl"),
}

EXTENSIONS = {
    extension: format_name
    for format_name, extensions in {
        "JPEG": ".jpg .jpeg .jpe .jfif .mpo",
        "PNG": ".png .apng",
        "WEBP": ".webp",
        "TIFF": ".tif .tiff",
        "BMP": ".bmp .dib",
        "GIF": ".gif",
        "AVIF": ".avif .avifs",
        "JPEG2000": ".jp2 .j2k .j2c .jpc .jpf .jpx",
        "PPM": ".ppm .pgm .pbm .pnm",
        "HEIF": ".heic .heif .heics .heifs .hif",
        "JPEG XL": ".jxl",
    }.items()
    for extension in extensions.split()
}
"""Format by extension; the extension only decides which files of a folder are listed, never how one is decoded."""

_CONVERT = "export it as PNG or TIFF"
_DEVELOP = "develop it to JPEG or TIFF"
UNREAD_EXTENSIONS = {
    extension: (kind, what_to_do)
    for kind, extensions, what_to_do in (
        ("a Photoshop document", ".psd .psb", _CONVERT),
        ("a vector drawing", ".svg .svgz .eps .ai .wmf .emf", "render it to PNG"),
        ("a document", ".pdf .djvu", "extract its pictures"),
        ("a camera's raw file", ".cr2 .cr3 .crw .nef .arw .dng .raf .orf .rw2 .pef .srw .raw", _DEVELOP),
        ("an icon", ".ico .icns .cur", _CONVERT),
        ("a picture of high dynamic range", ".exr .hdr .pfm", "tone-map it to PNG or TIFF"),
        ("a medical or scientific image", ".dcm .nii .fits .fit .mha .czi .lif .svs .ndpi", _CONVERT),
        ("an old or rare format", ".tga .pcx .xcf .jxr .wdp .hdp .xbm .xpm .sgi .ras .bpg .qoi .flif .dds", _CONVERT),
        ("a video", ".mp4 .mov .avi .mkv .webm .m4v .gifv", "extract frames"),
    )
    for extension in extensions.split()
}
"""What files with these extensions are, and what to do with them: image formats by their names that are not read."""

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


def is_read(format_name: str) -> bool:
    """Say whether a format can be read here: always, or because its package is installed."""
    return format_name in _READERS or (
        format_name in _EXTRA_READERS and importlib.util.find_spec(_EXTRA_READERS[format_name][2]) is not None
    )


def advice(format_name: str) -> str:
    """Return what to do to have a format read that needs a package."""
    return f"{format_name} is read with pip install '{EXTRA}' on every machine"


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
    module_name, class_name, package = _EXTRA_READERS[format_name]
    module = importlib.import_module(module_name)
    if package == "pillow_heif":
        options = importlib.import_module("pillow_heif.options")
        options.DECODE_THREADS = 1  # type: ignore[attr-defined]
        options.THUMBNAILS = options.DEPTH_IMAGES = options.AUX_IMAGES = False  # type: ignore[attr-defined]
    else:
        module.DECODE_THREADS = 0  # type: ignore[attr-defined]
    reader: type[ImageFile.ImageFile] = getattr(module, class_name)
    return reader
