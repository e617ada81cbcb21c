"""What files are called whose formats are read, or known and not read. Nothing here needs a decoder."""

import importlib.util

__all__ = ["EXTENSIONS", "UNREAD_EXTENSIONS", "advice", "is_read"]

EXTRA = "clamped-erasure-saliency[formats]"
"""What is to be installed for the formats that need more than Pillow."""

_PACKAGES = {"HEIF": "pillow_heif", "JPEG XL": "pillow_jxl"}

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


def is_read(format_name: str) -> bool:
    """Say whether a format can be read here: always, or because its package is installed."""
    package = _PACKAGES.get(format_name)
    return package is None or importlib.util.find_spec(package) is not None


def advice(format_name: str) -> str:
    """Return what to do to have a format read that needs a package."""
    return f"{format_name} is read with pip install '{EXTRA}' on every machine"
