"""A corpus of broken, hostile and odd image files and masks, each with the statuses that its row may have."""

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from tests.support.image_files import ALPHA, GRADIENT, GREY, build_png, exif, save, save_tiff, textured

FORMATS = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "TIFF": "tif", "BMP": "bmp", "GIF": "gif"}
ANY = frozenset({"ok", "decode_error", "too_large"})
BROKEN = frozenset({"decode_error"})
OK = frozenset({"ok"})
TOO_LARGE = frozenset({"too_large"})
# A frame of a GIF may end early where its last rows say so; a TIFF may hold its directory behind its pixels.
ODD = frozenset({"ok", "decode_error"})


@dataclass(frozen=True)
class BadFile:
    """A file of the corpus.

    Parameters
    ----------
    name : str
        Its path below the folder of images.
    content : bytes
    statuses : frozenset of str
        One of these its row must have.
    mask : bytes, optional
        Its ground truth mask, with the same name and ``.png``.
    """

    name: str
    content: bytes
    statuses: frozenset[str]
    mask: bytes | None = None


def corpus() -> Iterator[BadFile]:
    """Yield all files; always the same."""
    yield from _damaged()
    yield from _no_images()
    yield from _too_large()
    yield from _odd()
    yield from _keys()
    yield from _masks()


def write_corpus(folder: Path) -> list[BadFile]:
    """Write the corpus to ``images`` and ``masks`` below a folder."""
    files = list(corpus())
    for file in files:
        path = folder / "images" / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.content)
        if file.mask is not None:
            mask = (folder / "masks" / file.name).with_suffix(".png")
            mask.parent.mkdir(parents=True, exist_ok=True)
            mask.write_bytes(file.mask)
    return files


def _damaged() -> Iterator[BadFile]:
    generator = np.random.default_rng(0)
    for format_name, extension in FORMATS.items():
        whole = save(textured(90, 120), format_name)
        yield BadFile(f"whole {format_name}.{extension}", whole, OK)
        for share in (1, 10, 50, 90, 99):
            yield BadFile(f"truncated {format_name} {share}.{extension}", whole[: len(whole) * share // 100], BROKEN)
        for index in range(8):
            flipped = bytearray(whole)
            # In the header, where it hurts most, or anywhere.
            end = min(200, len(flipped)) if index % 2 else len(flipped)
            for place in generator.integers(4, end, 1 + index):
                flipped[place] ^= 1 << int(generator.integers(8))
            yield BadFile(f"flipped {format_name} {index}.{extension}", bytes(flipped), ANY)
        zeroed = bytearray(whole)
        zeroed[len(whole) // 3 : len(whole) // 2] = bytes(len(whole) // 2 - len(whole) // 3)
        yield BadFile(f"zeros within {format_name}.{extension}", bytes(zeroed), ANY)
        yield BadFile(f"more behind {format_name}.{extension}", whole + generator.bytes(5000), OK)
        other = "jpg" if extension != "jpg" else "gif"
        yield BadFile(f"wrong extension {format_name}.{other}", whole, OK)


def _no_images() -> Iterator[BadFile]:
    generator = np.random.default_rng(1)
    contents = {
        "empty": b"",
        "one byte": b"\xff",
        "zeros": bytes(10_000),
        "noise": generator.bytes(10_000),
        "text": b"Kein Bild, nur Text.\n" * 50,
        "page": b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
        "drawing": b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
        "archive": b"PK\x03\x04" + bytes(100),
        "document": b"%PDF-1.7\n" + bytes(100),
        "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n",
        "program": b"\x7fELF" + bytes(200),
        "signature only": b"\x89PNG\r\n\x1a\n",
        "markers only": b"\xff\xd8\xff\xd9",
        "pickle": b"\x80\x04\x95\x1b\0\0\0\0\0\0\0\x8c\x05posix\x94\x8c\x06system\x94\x93\x94.",
    }
    for name, content in contents.items():
        yield BadFile(f"{name}.jpg", content, BROKEN)


def _too_large() -> Iterator[BadFile]:
    side = 30_000
    rows = zlib.compress(bytes(3_000_000), 9)
    yield BadFile("bomb header.png", build_png(side, side, 8, 2, rows, packed=True), TOO_LARGE)
    jpeg = save(GRADIENT, "JPEG")
    frame = jpeg.index(b"\xff\xc0")
    header = jpeg[: frame + 5] + struct.pack(">HH", side, side) + jpeg[frame + 9 :]
    yield BadFile("bomb header.jpg", header, TOO_LARGE)
    bmp = save(GRADIENT, "BMP")
    yield BadFile("bomb header.bmp", bmp[:18] + struct.pack("<ii", side, side) + bmp[26:], TOO_LARGE)
    gif = save(GRADIENT, "GIF")
    yield BadFile("bomb header.gif", gif[:6] + struct.pack("<HH", side, side) + gif[10:], TOO_LARGE)
    # 99 million pixels in a few kilobytes: within the limit, so they are decoded.
    yield BadFile("flat bomb.png", build_png(9900, 10000, 1, 0, bytes(1239 * 10000)), OK)
    # A text and a colour profile that inflate to 100 MB beside a picture of one pixel.
    inflating = zlib.compress(bytes(100_000_000), 9)
    for kind, before in ((b"zTXt", b"Comment\0\0"), (b"iCCP", b"icc\0\0")):
        content = before + inflating
        chunk = struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        yield BadFile(f"{kind.decode()} bomb.png", build_png(1, 1, 8, 2, b"\0\1\2\3", chunk), ODD)
    frames = [Image.new("RGB", (40, 40), (index % 256, 0, 0)) for index in range(500)]
    animation = io.BytesIO()
    frames[0].save(animation, "GIF", save_all=True, append_images=frames[1:])
    yield BadFile("500 frames.gif", animation.getvalue(), OK)


def _odd() -> Iterator[BadFile]:
    grey16 = GREY.astype(np.uint16) * 257
    floating = GREY.astype(np.float32) / 255
    with_nan = floating.copy()
    with_nan[3, 4] = np.nan
    infinite = floating.copy()
    infinite[0, 0] = np.inf
    images: dict[str, tuple[bytes, frozenset[str]]] = {
        "one pixel.png": (save(np.full((1, 1, 3), 7, np.uint8), "PNG"), OK),
        "two pixels.png": (save(np.array([[[0, 0, 0], [255, 255, 255]]], np.uint8), "PNG"), OK),
        "1 x 20000.png": (save(np.full((20000, 1, 3), 200, np.uint8), "PNG"), OK),
        "20000 x 1.jpg": (save(np.tile(GRADIENT[:1], (1, 378, 1))[:, :20000], "JPEG"), OK),
        "cmyk.jpg": (save(Image.fromarray(GRADIENT).convert("CMYK"), "JPEG"), OK),
        "cmyk.tif": (save(Image.fromarray(GRADIENT).convert("CMYK"), "TIFF"), OK),
        "lab.tif": (save(Image.fromarray(GRADIENT).convert("LAB"), "TIFF", icc_profile=None), OK),
        "16 bits.png": (save(Image.fromarray(grey16), "PNG"), OK),
        "16 bits.tif": (save_tiff(grey16, photometric="minisblack"), OK),
        "16 bits rgb.tif": (save_tiff(GRADIENT.astype(np.uint16) * 257, photometric="rgb"), OK),
        "float.tif": (save_tiff(floating, photometric="minisblack"), OK),
        "nan.tif": (save_tiff(with_nan, photometric="minisblack"), BROKEN),
        "infinite.tif": (save_tiff(infinite, photometric="minisblack"), BROKEN),
        "complex.tif": (save_tiff(floating.astype(np.complex64), photometric="minisblack"), BROKEN),
        "grey.jpg": (save(GREY, "JPEG"), OK),
        "one bit.png": (save(Image.fromarray(GREY > 99), "PNG"), OK),
        "rgba.png": (save(np.dstack([GRADIENT, ALPHA]), "PNG"), OK),
        "transparent.png": (save(np.zeros((40, 40, 4), np.uint8), "PNG"), OK),
        "progressive.jpg": (save(textured(), "JPEG", progressive=True), OK),
        "turned.jpg": (save(GRADIENT, "JPEG", exif=exif(6)), OK),
        "wrong orientation.jpg": (save(GRADIENT, "JPEG", exif=exif(77)), OK),
        "checkers.png": (save((np.indices((60, 60)).sum(0) % 2 * 255).astype(np.uint8), "PNG"), OK),
    }
    for level in (0, 127, 255):
        images[f"uniform {level}.png"] = (save(np.full((50, 70, 3), level, np.uint8), "PNG"), OK)
    palette = Image.fromarray(GRADIENT).quantize(16)
    images["palette with alpha.png"] = (save(palette, "PNG", transparency=bytes(range(0, 256, 16))), OK)
    images["palette with a clear colour.gif"] = (save(palette, "GIF", transparency=3), OK)
    pages = io.BytesIO()
    turned = Image.fromarray(GRADIENT[::-1].copy())
    Image.fromarray(GRADIENT).save(pages, "WEBP", save_all=True, append_images=[turned])
    images["animated.webp"] = (pages.getvalue(), OK)
    for name, (content, statuses) in images.items():
        yield BadFile(name, content, statuses)


def _keys() -> Iterator[BadFile]:
    names = [
        "with space.png",
        " leading and trailing .png",
        "ünïcödé 写真 🖼.png",
        "100%.png",
        "percent%20encoded%2Fslash.png",
        "a[1]*?{x}.png",
        "quote'\"&<b>.png",
        "hash#query?token=1.png",
        "semi;colon,comma=and+plus@at:colon.png",
        "back\\slash.png",
        "new\nline.png",
        "UPPER.PNG",
        "dots...and..dots..png",
        "x" * 240 + ".png",
        "deep/" * 40 + "deep.png",
    ]
    for index, name in enumerate(names):
        yield BadFile(f"keys/{name}", save(np.full((20 + index, 30, 3), 10 * index, np.uint8), "PNG"), OK)


def _masks() -> Iterator[BadFile]:
    image = save(textured(40, 60), "PNG")
    unfitting = frozenset({"mask_error"})
    full, empty = np.full((40, 60), 255, np.uint8), np.zeros((40, 60), np.uint8)
    masks = {
        "other size": (save(full[:5, :5], "PNG"), unfitting),
        "turned": (save(full.T.copy(), "PNG"), unfitting),
        "empty": (save(empty, "PNG"), OK),
        "all foreground": (save(full, "PNG"), OK),
        "ones": (save(full // 255, "PNG"), OK),
        "no bytes": (b"", unfitting),
        "text": (b"no mask", unfitting),
        "truncated": (save(textured(40, 60)[..., 0], "PNG")[:300], unfitting),
        "colours": (save(textured(40, 60), "PNG"), unfitting),
        "bomb": (build_png(30000, 30000, 8, 0, bytes(100)), unfitting),
        "16 bits": (save(Image.fromarray(full.astype(np.uint16) * 257), "PNG"), OK),
        "float": (save_tiff(full.astype(np.float32), photometric="minisblack"), unfitting),
    }
    for name, (mask, statuses) in masks.items():
        yield BadFile(f"masks/mask {name}.png", image, statuses, mask)
    yield BadFile("masks/mask missing.png", image, OK)
