"""A corpus of broken, hostile and odd image files and masks, each with the statuses that its row may have."""

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from tests.support.image_files import (
    ALPHA,
    GRADIENT,
    GREY,
    bmp_with_alpha,
    build_png,
    exif,
    heif,
    jpeg_xl,
    png_chunk,
    png_rows,
    save,
    save_tiff,
    textured,
)

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
    yield from _reported()
    yield from _other_formats()
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


def _reported() -> Iterator[BadFile]:
    """Yield kinds of files that the trackers of other tools tell of."""
    jpeg = save(textured(), "JPEG")
    rows = png_rows(GRADIENT)
    broken = png_chunk(b"tEXt", b"Comment\0text")[:-4] + bytes(4)
    deep = GRADIENT.astype(np.uint16) * 16
    webp = save(GRADIENT, "WEBP")
    xmp = b"http://ns.adobe.com/xap/1.0/\0" + b"\xa8 no UTF-8"
    mpo = io.BytesIO()
    Image.fromarray(GRADIENT).save(mpo, "MPO", save_all=True, append_images=[Image.fromarray(GRADIENT[::-1].copy())])
    animation = io.BytesIO()
    Image.fromarray(GRADIENT).save(animation, "PNG", save_all=True, append_images=[Image.fromarray(255 - GRADIENT)])
    palette = Image.fromarray(GRADIENT).quantize(16)
    images: dict[str, tuple[bytes, frozenset[str]]] = {
        # Pillow 6843: a wrong checksum beside the picture; 6118, 4414: pixels that are missing.
        "checksum of a text.png": (build_png(53, 37, 8, 2, rows, broken), OK),
        "checksum of pixels.png": (_with_wrong_pixels_checksum(build_png(53, 37, 8, 2, rows)), BROKEN),
        # Pillow 4414, 889: the end marker is missing, or some of the pixels.
        "without end marker.jpg": (jpeg[:-2], OK),
        "without last block.jpg": (jpeg[:-40], BROKEN),
        "progressive without end marker.jpg": (save(textured(), "JPEG", progressive=True)[:-2], OK),
        # Pillow 630, 1337, 1977: bytes between the segments.
        "junk between segments.jpg": (jpeg[:20] + b"\0" * 7 + jpeg[20:], OK),
        "ff00 between segments.jpg": (jpeg[:20] + b"\xff\0" * 2 + jpeg[20:], OK),
        # nothings/stb pull 422, two images of ImageNet: a byte between the pixels and the end marker.
        "junk before end marker.jpg": (jpeg[:-2] + b"\x7f" + jpeg[-2:], OK),
        # Pillow 7456, datasets 7668, 8165: EXIF and XMP data that cannot be read.
        "malformed exif.jpg": (save(textured(), "JPEG", exif=b"Exif\0\0garbage and more"), OK),
        "xmp no utf-8.jpg": (jpeg[:20] + b"\xff\xe1" + struct.pack(">H", len(xmp) + 2) + xmp + jpeg[20:], OK),
        # Pillow 1138, 1198, 7879: a preview behind the photograph.
        "two pictures.jpg": (mpo.getvalue(), OK),
        # stb 1456, pngjs 7: Apple's own kind of PNG.
        "apple.png": (b"\x89PNG\r\n\x1a\n" + png_chunk(b"CgBI", bytes(4)) + build_png(53, 37, 8, 2, rows)[8:], BROKEN),
        # img2dataset 191: animations.
        "animated.png": (animation.getvalue(), OK),
        # Pillow 3634, zopfli 132: chunks behind the end.
        "twice.png": (build_png(53, 37, 8, 2, rows) + build_png(53, 37, 8, 2, rows), OK),
        "text behind the end.png": (build_png(53, 37, 8, 2, rows) + broken, OK),
        # Pillow 5403, 2157: 10 and 12 bits in 16.
        "12 bits.png": (build_png(53, 37, 16, 2, png_rows(deep)), OK),
        "12 bits.tif": (save_tiff(deep, photometric="rgb", compression="zlib"), OK),
        "10 bits.pgm": (b"P5 53 37 1023\n" + (GREY.astype(">u2") * 4).tobytes(), OK),
        "float rgb.tif": (save_tiff((GRADIENT / 255).astype(np.float32), photometric="rgb", compression="zlib"), OK),
        "five bands.tif": (
            save_tiff(np.zeros((9, 9, 5), np.uint8), photometric="minisblack", planarconfig="contig"),
            BROKEN,
        ),
        # Windows programs; browsers take such an alpha channel for none.
        "alpha of zeros.bmp": (bmp_with_alpha(GRADIENT, np.zeros_like(ALPHA)), OK),
        "riff length.webp": (webp[:4] + struct.pack("<I", len(webp) + 92) + webp[8:], OK),
        "short riff length.webp": (webp[:4] + struct.pack("<I", 99) + webp[8:], BROKEN),
        # WebKit pull 1678: a GIF without its trailer.
        "without trailer.gif": (save(palette, "GIF")[:-1], OK),
        "indexed with grey alpha.tif": (save(Image.fromarray(np.dstack([GREY, ALPHA])), "TIFF"), OK),
        # ms-swift 10095: CMYK photographs.
        "cmyk progressive.jpg": (save(Image.fromarray(GRADIENT).convert("CMYK"), "JPEG", progressive=True), OK),
    }
    for name, (content, statuses) in images.items():
        yield BadFile(f"reported/{name}", content, statuses)


def _with_wrong_pixels_checksum(png: bytes) -> bytes:
    place = png.rindex(b"IEND") - 5  # the last byte before the length of IEND
    return png[:place] + bytes([png[place] ^ 1]) + png[place + 1 :]


def _other_formats() -> Iterator[BadFile]:
    generator = np.random.default_rng(2)
    pixels = textured()
    wholes = {
        "avif": save(pixels, "AVIF"),
        "jp2": save(pixels, "JPEG2000"),
        "j2k": save(pixels, "JPEG2000", no_jp2=True),
        "heic": heif(pixels),
        "jxl": jpeg_xl(pixels, use_container=True),
        "ppm": save(pixels, "PPM"),
    }
    for extension, whole in wholes.items():
        yield BadFile(f"others/whole {extension}.jpg", whole, OK)
        yield BadFile(f"others/truncated {extension}.jpg", whole[: len(whole) // 2], BROKEN)
        for index in range(4):
            flipped = bytearray(whole)
            for place in generator.integers(12, len(flipped), 1 + 3 * index):
                flipped[place] ^= 1 << int(generator.integers(8))
            yield BadFile(f"others/flipped {extension} {index}.jpg", bytes(flipped), ANY)
    j2k = bytearray(wholes["j2k"])
    struct.pack_into(">II", j2k, 8, 30_000, 30_000)
    avif = bytearray(wholes["avif"])
    struct.pack_into(">II", avif, avif.index(b"ispe") + 8, 15_000, 15_000)
    heic = bytearray(wholes["heic"])
    struct.pack_into(">II", heic, heic.index(b"ispe") + 8, 30_000, 30_000)
    bits = (2 << 1 | 29_999 << 3 | 1 << 21).to_bytes(8, "little")
    yield BadFile("others/bomb header j2k.jpg", bytes(j2k), TOO_LARGE)
    yield BadFile("others/bomb header avif.jpg", bytes(avif), TOO_LARGE)
    yield BadFile("others/bomb header heic.jpg", bytes(heic), TOO_LARGE | BROKEN)
    yield BadFile("others/bomb header jxl.jpg", b"\xff\x0a" + bits + bytes(40), TOO_LARGE)
    yield BadFile("others/bomb header ppm.jpg", b"P6 30000 30000 255\n" + bytes(99), TOO_LARGE)
    yield BadFile("others/video.jpg", b"\0\0\0\x18ftypmp42\0\0\0\0isommp42" + bytes(99), BROKEN)
    yield BadFile("others/photoshop.jpg", b"8BPS\0\1" + bytes(99), BROKEN)


def _two_colours(first: tuple[int, int, int], second: tuple[int, int, int]) -> Image.Image:
    image = Image.fromarray(np.triu(np.ones((40, 60), np.uint8)))
    image.putpalette([*first, *second])
    return image


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
        "float": (save_tiff(full.astype(np.float32), photometric="minisblack"), OK),
        # rembg: the cut-out instead of its mask (issue 186 asks for the mask alone).
        "cut-out": (save(np.dstack([textured(40, 60), full]), "PNG"), unfitting),
        "cut-out with alpha": (save(np.dstack([textured(40, 60), np.triu(full)]), "PNG"), OK),
        # Pillow 2574, 3011 and 5991: numbers of 16 bits that 8 bits cut off.
        "ids": (save((np.triu(full) > 0).astype(np.uint16) * 300, "PNG"), OK),
        "ramp": (save(np.arange(2400, dtype=np.uint16).reshape(40, 60) * 27, "PNG"), unfitting),
        # VOC's indices without their palette.
        "indices in grey": (save(np.triu(full) // 17 + np.tril(full), "PNG"), unfitting),
        # SysCV/sam-hq 42, BASNet 44, sal_eval_toolbox 5: ground truth that is not black and white.
        "half grey": (save(np.triu(full) // 2, "PNG"), unfitting),
        "three levels": (save(np.triu(full) // 3 + np.tril(full) // 3, "PNG"), unfitting),
        # PoolNet 67, COD-Rank-Localize-and-Segment 2: a few pixels larger than the photograph.
        "two pixels larger": (save(np.full((42, 61), 255, np.uint8), "PNG"), unfitting),
        "white first": (save(_two_colours((255, 255, 255), (0, 0, 0)), "PNG"), OK),
        "red first": (save(_two_colours((255, 0, 0), (0, 0, 0)), "GIF"), OK),
        "jpeg": (save(np.triu(full), "JPEG", quality=40), OK),
        "jpeg without end": (save(np.triu(full), "JPEG")[:-2], OK),
        "avif": (save(np.repeat(np.triu(full)[..., None], 3, 2), "AVIF"), OK),
        "jpeg 2000": (save(np.triu(full), "JPEG2000"), OK),
        "not a number": (save_tiff(np.full((40, 60), np.nan, np.float32), photometric="minisblack"), unfitting),
    }
    for name, (mask, statuses) in masks.items():
        yield BadFile(f"masks/mask {name}.png", image, statuses, mask)
    yield BadFile("masks/mask missing.png", image, OK)
