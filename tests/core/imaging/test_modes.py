"""Pixel modes of the formats, against values computed by hand."""

import struct
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from saliency_core.imaging.bit_depth import scale_to_uint8
from saliency_core.imaging.decoding import decode_image
from saliency_core.imaging.guards import DecodeError
from tests.support.image_files import ALPHA, GRADIENT, GREY, GREY_RGB, build_png, on_white, png_chunk, save, save_tiff


@pytest.mark.parametrize("file_format", ["PNG", "BMP", "TIFF", "GIF", "WEBP"])
def test_bilevel(file_format: str) -> None:
    bits = GREY > 90
    options = {"lossless": True} if file_format == "WEBP" else {}
    image = Image.fromarray(bits)
    decoded = decode_image(save(image.convert("L") if file_format == "WEBP" else image, file_format, **options))
    np.testing.assert_array_equal(decoded.pixels, np.repeat(bits[..., None] * np.uint8(255), 3, 2))


@pytest.mark.parametrize("file_format", ["PNG", "BMP", "TIFF", "GIF"])
def test_greyscale(file_format: str) -> None:
    np.testing.assert_array_equal(decode_image(save(GREY, file_format)).pixels, GREY_RGB)


def test_greyscale_jpeg() -> None:
    decoded = decode_image(save(GREY, "JPEG", quality=98))
    assert np.abs(decoded.pixels.astype(int) - GREY_RGB).max() <= 4


def test_white_is_zero_tiff() -> None:
    for compression in (None, "zlib"):
        for data, full in (((255 - GREY).astype(np.uint8), 1), (65535 - GREY.astype(np.uint16) * 257, 257)):
            decoded = decode_image(
                save_tiff(
                    data.astype(np.uint16 if full > 1 else np.uint8),
                    photometric="miniswhite",
                    compression=compression,
                )
            )
            np.testing.assert_array_equal(decoded.pixels, GREY_RGB)


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "WEBP"])
def test_rgba_on_white(file_format: str) -> None:
    options = {"lossless": True, "exact": True} if file_format == "WEBP" else {}
    decoded = decode_image(save(np.dstack([GRADIENT, ALPHA]), file_format, **options))
    assert np.abs(decoded.pixels - on_white(GRADIENT, ALPHA)).max() <= 1
    assert (decoded.pixels[0] == 255).all()
    np.testing.assert_array_equal(decoded.pixels[-1], GRADIENT[-1])


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_grey_and_alpha_on_white(file_format: str) -> None:
    decoded = decode_image(save(Image.fromarray(np.dstack([GREY, ALPHA])), file_format))
    assert np.abs(decoded.pixels - on_white(GREY_RGB, ALPHA)).max() <= 1


def test_premultiplied_alpha() -> None:
    share = np.maximum(ALPHA, 1).astype(float)[..., None] / 255
    for scale, dtype in ((1, np.uint8), (257, np.uint16)):
        premultiplied = np.rint(np.dstack([GRADIENT * share, share * 255]) * scale).astype(dtype)
        decoded = decode_image(save_tiff(premultiplied, photometric="rgb", extrasamples=["assocalpha"]))
        assert np.abs(decoded.pixels - on_white(GRADIENT, share[..., 0] * 255)).max() <= 2
    grey = np.rint(np.dstack([GREY[..., None] * share, share * 255]) * 257).astype(np.uint16)
    decoded = decode_image(save_tiff(grey, photometric="minisblack", extrasamples=["assocalpha"]))
    assert np.abs(decoded.pixels - on_white(GREY_RGB, share[..., 0] * 255)).max() <= 2


def test_palette_with_and_without_transparency() -> None:
    indices = (np.mgrid[:6, :8][1] % 4).astype(np.uint8)
    palette = np.array([[10, 20, 30], [200, 0, 0], [0, 180, 0], [0, 0, 160]], np.uint8)
    image = Image.fromarray(indices).convert("P")
    image.putpalette(palette.tobytes())
    for file_format in ("PNG", "GIF", "BMP", "TIFF"):
        np.testing.assert_array_equal(decode_image(save(image, file_format)).pixels, palette[indices])
    one_white = palette.copy()
    one_white[2] = 255
    for file_format in ("PNG", "GIF"):
        decoded = decode_image(save(image, file_format, transparency=2))
        np.testing.assert_array_equal(decoded.pixels, one_white[indices])
    alphas = np.array([0, 85, 170, 255])
    decoded = decode_image(save(image, "PNG", transparency=bytes(alphas.tolist())))
    assert np.abs(decoded.pixels - on_white(palette, alphas)[indices]).max() <= 1


def test_transparent_colour_key() -> None:
    rows = b"\0" + bytes([9, 8, 7, 1, 2, 3])
    decoded = decode_image(build_png(2, 1, 8, 2, rows, png_chunk(b"tRNS", struct.pack(">3H", 9, 8, 7))))
    np.testing.assert_array_equal(decoded.pixels, [[[255, 255, 255], [1, 2, 3]]])
    rows = b"\0" + struct.pack(">2H", 0xFE34, 0xFE33)
    decoded = decode_image(build_png(2, 1, 16, 0, rows, png_chunk(b"tRNS", struct.pack(">H", 0xFE34))))
    np.testing.assert_array_equal(decoded.pixels, [[[255] * 3, [253] * 3]])


CMYK_COLOURS = {  # (C, M, Y, K) -> R = (1 - C)(1 - K) ...
    (0, 0, 0, 0): (255, 255, 255),
    (0, 0, 0, 255): (0, 0, 0),
    (255, 0, 0, 0): (0, 255, 255),
    (0, 255, 0, 0): (255, 0, 255),
    (0, 0, 255, 0): (255, 255, 0),
    (0, 255, 255, 0): (255, 0, 0),
    (128, 64, 0, 128): (63, 95, 127),
}


@pytest.mark.parametrize(("cmyk", "rgb"), CMYK_COLOURS.items())
def test_cmyk(cmyk: tuple[int, ...], rgb: tuple[int, ...]) -> None:
    image = Image.new("CMYK", (16, 16), cmyk)
    for data in (
        save(image, "JPEG", quality=95),
        save(image, "TIFF"),
        save(image, "TIFF", compression="tiff_lzw"),
        save_tiff(np.asarray(image).astype(np.uint16) * 257, photometric="separated"),
    ):
        assert np.abs(decode_image(data).pixels.astype(int) - rgb).max() <= 2


@pytest.mark.parametrize(("cmyk", "rgb"), CMYK_COLOURS.items())
def test_ycck_jpeg(cmyk: tuple[int, ...], rgb: tuple[int, ...]) -> None:
    # Adobe's YCCK: C, M, Y as if they were R, G, B in Y, Cb, Cr, and the inverted K (transform 2 in APP14).
    cyan, magenta, yellow, black = (float(value) for value in cmyk)
    luma = 0.299 * cyan + 0.587 * magenta + 0.114 * yellow
    stored = [luma, 128 + 0.564 * (yellow - luma), 128 + 0.713 * (cyan - luma), 255 - black]
    written = tuple(255 - round(float(np.clip(value, 0, 255))) for value in stored)  # Pillow inverts on writing
    data = save(Image.new("CMYK", (16, 16), written), "JPEG", quality=98)
    marker = data.index(b"Adobe")
    assert data[marker + 11] == 0
    patched = data[: marker + 11] + b"\2" + data[marker + 12 :]
    assert np.abs(decode_image(patched).pixels.astype(int) - rgb).max() <= 4


@pytest.mark.parametrize(
    ("lab", "rgb"),
    [  # by the CIE formulas, Bradford's adaptation from D50 to D65 and the sRGB matrix and curve
        ((54.29, 80.81, 69.89), (255, 0, 0)),
        ((50, 20, -30), (133, 108, 170)),
        ((70, -30, 20), (121, 186, 133)),
        ((100, 0, 0), (255, 255, 255)),
        ((53.585, 0, 0), (128, 128, 128)),
        ((0, 0, 0), (0, 0, 0)),
    ],
)
def test_lab_tiff(lab: tuple[float, ...], rgb: tuple[int, ...]) -> None:
    stored = np.array([round(lab[0] * 2.55), round(lab[1]), round(lab[2])]).astype(np.uint8)  # a, b signed
    data = save_tiff(np.tile(stored, (4, 5, 1)), photometric="cielab")
    assert np.abs(decode_image(data).pixels.astype(int) - rgb).max() <= 6


def test_16_bit_grey_is_scaled_not_clipped() -> None:
    values = np.array([[0, 128, 129, 257, 1000, 32768, 65406, 65407, 65535]], np.uint16)
    expected = np.floor(values / 257 + 0.5)
    big = values.astype(">u2")
    for data in (
        save(values, "PNG"),
        save(values, "TIFF"),
        save(values, "TIFF", compression="tiff_lzw"),
        save(values.astype(np.int32), "TIFF"),  # Pillow's mode I
        save_tiff(values, photometric="minisblack", compression="zlib"),
        save_tiff(big, photometric="minisblack", byteorder=">"),
        save_tiff(big, photometric="minisblack", byteorder=">", compression="zlib"),
    ):
        np.testing.assert_array_equal(decode_image(data).pixels[..., 0], expected)


def test_16_bit_grey_and_alpha_png() -> None:
    rows = b"\0" + struct.pack(">4H", 0x4040, 0xFFFF, 0x4040, 0)
    np.testing.assert_array_equal(decode_image(build_png(2, 1, 16, 4, rows)).pixels[..., 0], [[0x40, 255]])


def test_12_bit_grey_tiff() -> None:
    values = np.array([[0, 8, 9, 2048, 4094, 4095]])
    packed = b"".join(bytes([a >> 4, (a & 15) << 4 | b >> 8, b & 255]) for a, b in values.reshape(-1, 2).tolist())
    tags = [
        (256, 6),
        (257, 1),
        (258, 12),
        (259, 1),
        (262, 1),
        (273, 122),
        (277, 1),
        (278, 1),
        (279, len(packed)),
    ]
    directory = b"".join(struct.pack("<HHIHH", tag, 3, 1, value, 0) for tag, value in tags)
    data = b"II*\0" + struct.pack("<IH", 8, len(tags)) + directory + b"\0" * 4
    data += b"\0" * (122 - len(data)) + packed
    np.testing.assert_array_equal(decode_image(data).pixels[0, :, 0], np.floor(values[0] * 255 / 4095 + 0.5))


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("layout", ["contig", "separate", "tiled"])
def test_16_bit_rgb_tiff(byteorder: Any, compression: str | None, layout: str) -> None:
    deep = GRADIENT.astype(np.uint16) * 257
    options: dict[str, Any] = {"photometric": "rgb", "byteorder": byteorder, "compression": compression}
    if layout == "separate":
        deep, options["planarconfig"] = np.moveaxis(deep, -1, 0).copy(), "separate"
    if layout == "tiled":
        options["tile"] = (16, 32)
    np.testing.assert_array_equal(decode_image(save_tiff(deep, **options)).pixels, GRADIENT)


def test_16_bit_colour_png_and_rgba_tiff() -> None:
    rows = b"".join(b"\0" + (row.astype(">u2") * 257).tobytes() for row in GRADIENT)
    np.testing.assert_array_equal(decode_image(build_png(53, 37, 16, 2, rows)).pixels, GRADIENT)
    deep = np.dstack([GRADIENT, ALPHA]).astype(np.uint16) * 257
    for extra in ("unassalpha", "unspecified"):
        decoded = decode_image(save_tiff(deep, photometric="rgb", extrasamples=[extra]))
        expected = on_white(GRADIENT, ALPHA) if extra == "unassalpha" else GRADIENT
        assert np.abs(decoded.pixels - expected).max() <= 1


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_float_tiff(dtype: str) -> None:
    unit = (GRADIENT / 255).astype(dtype)
    np.testing.assert_array_equal(decode_image(save_tiff(unit, photometric="rgb")).pixels, GRADIENT)
    wide = np.array([[-2, 0, 2, 6]], dtype)
    decoded = decode_image(save_tiff(wide, photometric="minisblack"))
    np.testing.assert_array_equal(decoded.pixels[0, :, 0], [0, 64, 128, 255])  # 63.75, 127.5 to even


def test_compressed_float_tiff() -> None:
    unit = (GREY / 255).astype(np.float32)
    for data in (
        save_tiff(unit, photometric="minisblack", compression="zlib"),
        save(unit, "TIFF", compression="tiff_lzw"),
    ):
        np.testing.assert_array_equal(decode_image(data).pixels, GREY_RGB)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite(bad: float) -> None:
    unit = np.full((4, 5), 0.5, np.float32)
    unit[2, 3] = bad
    for compression in (None, "zlib"):
        with pytest.raises(DecodeError, match="not finite"):
            decode_image(save_tiff(unit, photometric="minisblack", compression=compression))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([0, 127], np.int8), [0, 255]),
        (np.array([-128, 127], np.int8), [0, 255]),
        (np.array([0, 32767], np.int16), [0, 255]),
        (np.array([0, 257, 65535], np.int32), [0, 1, 255]),
        (np.array([0, 65536], np.uint32), [0, 255]),
        (np.array([2**32 - 1, 2**31, 0], np.uint32), [255, 128, 0]),
        (np.array([2**63, 0], np.uint64), [255, 0]),
        (np.array([-5, -5], np.int32), [0, 0]),
        (np.array([7.5, 7.5]), [0, 0]),
        (np.array([0.0, 1.0]), [0, 255]),
        (np.array([0.0, 5e-324, 1.5]), [0, 0, 255]),
        (np.array([-5e-324, 0.0]), [0, 255]),
    ],
)
def test_scale_to_uint8(values: NDArray[Any], expected: list[int]) -> None:
    assert scale_to_uint8(values).tolist() == expected
    if values.dtype != np.float16:
        data = save_tiff(values[None], photometric="minisblack")
        np.testing.assert_array_equal(decode_image(data).pixels[0, :, 0], expected)


def test_values_too_far_apart() -> None:
    with pytest.raises(ValueError, match="too far apart"):
        scale_to_uint8(np.array([-1e308, 1e308]))


def test_tiff_kinds_that_would_be_misread_are_refused() -> None:
    for data in (
        save_tiff((GREY / 255).astype(np.float32), photometric="minisblack", compression="zlib", byteorder=">"),
        save_tiff(GREY.astype(np.int16), photometric="minisblack", compression="zlib"),
        save_tiff((np.dstack([GRADIENT, ALPHA]) / 255), photometric="rgb", extrasamples=["unassalpha"]),
        save_tiff(GRADIENT.astype(np.uint16), photometric="cielab"),
        save_tiff(GRADIENT, photometric="rgb", subfiletype=1),
        save_tiff(GREY.astype(np.complex64)),
    ):
        with pytest.raises(DecodeError):
            decode_image(data)
