"""Files as people have them: what every viewer shows is read, and read rightly; each kind is made by a few lines."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from saliency_core.imaging.decoding import decode_image
from saliency_core.imaging.guards import DecodeError, TooLargeError
from tests.support.image_files import (
    ALPHA,
    GRADIENT,
    GREY,
    GREY_RGB,
    bmp_with_alpha,
    build_png,
    exif,
    heif,
    jpeg_xl,
    on_white,
    png_chunk,
    png_rows,
    save,
    save_tiff,
    textured,
)


def mean_error(data: bytes, expected: NDArray[Any] = GRADIENT) -> float:
    return float(np.abs(decode_image(data).pixels.astype(int) - expected).mean())


# --- an alpha channel that nobody has written


@pytest.mark.parametrize("header", [56, 108, 124])
def test_alpha_of_a_bmp_that_is_zero_everywhere_is_none(header: int) -> None:
    np.testing.assert_array_equal(decode_image(bmp_with_alpha(GRADIENT, np.zeros_like(ALPHA), header)).pixels, GRADIENT)
    seen = decode_image(bmp_with_alpha(GRADIENT, ALPHA, header)).pixels
    assert np.abs(seen - on_white(GRADIENT, ALPHA)).max() <= 1


def test_alpha_of_a_tiff_counts_where_the_file_says_what_it_is() -> None:
    clear = np.dstack([GRADIENT, np.zeros_like(ALPHA)])
    for compression in (None, "zlib"):
        unsaid = save_tiff(clear, photometric="rgb", extrasamples=["unspecified"], compression=compression)
        np.testing.assert_array_equal(decode_image(unsaid).pixels, GRADIENT)
        said = save_tiff(clear, photometric="rgb", extrasamples=["unassalpha"], compression=compression)
        assert (decode_image(said).pixels == 255).all()
    assert (decode_image(save(clear, "PNG")).pixels == 255).all()
    assert (decode_image(save(clear, "WEBP", lossless=True, exact=True)).pixels == 255).all()


# --- files that end early


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"quality": 30}, {"restart_marker_blocks": 4}])
@pytest.mark.parametrize("grey", [False, True])
def test_a_jpeg_without_its_end_marker_is_whole(options: dict[str, Any], grey: bool) -> None:
    pixels = textured(90, 120)[..., 0] if grey else textured(90, 120)
    data = save(pixels, "JPEG", **options)
    whole = decode_image(data)
    for rest in (b"", b"\xff", bytes(3000)):
        decoded = decode_image(data[:-2] + rest)
        np.testing.assert_array_equal(decoded.pixels, whole.pixels)
        assert decoded.share_read == 1
    reduced = decode_image(data[:-2], reduce_to=30).pixels
    np.testing.assert_array_equal(reduced, decode_image(data, reduce_to=30).pixels)
    for cut in (-20, len(data) // 2):
        with pytest.raises(DecodeError):
            decode_image(data[:cut])


def test_a_progressive_jpeg_that_lacks_whole_scans_is_not_whole() -> None:
    data = save(textured(90, 120), "JPEG", progressive=True)
    scans = [place for place in range(len(data)) if data[place : place + 2] == b"\xff\xda"]
    with pytest.raises(DecodeError):
        decode_image(data[: scans[-1]])
    coarse = decode_image(data[: scans[-1]], accept_truncated=True)
    assert coarse.share_read == 1
    assert 0 < np.abs(coarse.pixels.astype(int) - decode_image(data).pixels).mean() < 25


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "BMP"])
def test_truncated_files_are_read_on_request_only(file_format: str) -> None:
    data = save(textured(90, 120), file_format)
    whole = decode_image(data).pixels
    with pytest.raises(DecodeError):
        decode_image(data[: len(data) * 6 // 10])
    decoded = decode_image(data[: len(data) * 6 // 10], accept_truncated=True)
    assert 0.3 < decoded.share_read < 0.7
    rows = round(decoded.share_read * 90)
    there = slice(90 - rows, 90) if file_format == "BMP" else slice(0, rows)
    np.testing.assert_array_equal(decoded.pixels[there], whole[there])
    missing = np.delete(decoded.pixels, there, 0)
    assert len(missing) == 90 - rows
    assert (missing == 128).all()
    assert decode_image(data, accept_truncated=True).share_read == 1
    with pytest.raises(DecodeError):
        decode_image(data[:60], accept_truncated=True)


def test_a_turned_truncated_jpeg_lacks_its_stored_rows() -> None:
    data = save(textured(90, 120), "JPEG", exif=exif(6))
    decoded = decode_image(data[: len(data) * 6 // 10], accept_truncated=True)
    assert decoded.pixels.shape == (120, 90, 3)
    assert (decoded.pixels[:, 0] == 128).all()
    assert not (decoded.pixels[:, -1] == 128).all()


# --- PNG and WebP containers


@pytest.mark.parametrize("kind", [b"tEXt", b"tIME", b"iCCP", b"gAMA", b"zTXt", b"pHYs", b"tRNS"])
def test_ancillary_chunks_of_a_png_may_be_broken(kind: bytes) -> None:
    chunk = png_chunk(kind, b"Comment\0\0 and some text")
    wrong = chunk[:-4] + bytes(4)
    rows = png_rows(GRADIENT)
    np.testing.assert_array_equal(decode_image(build_png(53, 37, 8, 2, rows, wrong)).pixels, GRADIENT)
    if kind in (b"iCCP", b"gAMA", b"zTXt", b"pHYs"):  # nonsense within
        np.testing.assert_array_equal(decode_image(build_png(53, 37, 8, 2, rows, chunk)).pixels, GRADIENT)


@pytest.mark.parametrize("kind", [b"IHDR", b"PLTE", b"IDAT"])
def test_critical_chunks_of_a_png_may_not(kind: bytes) -> None:
    data = bytearray(save(Image.fromarray(GRADIENT).quantize(16), "PNG"))
    place = data.index(kind)
    (length,) = struct.unpack_from(">I", data, place - 4)
    data[place + 4 + length] ^= 1
    with pytest.raises(DecodeError, match=f"checksum of its chunk {kind.decode()} is wrong"):
        decode_image(bytes(data))


def test_orientations_in_texts_of_a_png_are_kept() -> None:
    tags = exif(6).tobytes()
    raw = b"\nexif\n" + str(len(tags)).encode().rjust(8) + b"\n" + tags.hex().encode() + b"\n"
    text = png_chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(raw))
    assert decode_image(build_png(53, 37, 8, 2, png_rows(GRADIENT), text)).orientation == 6
    xmp = b"XML:com.adobe.xmp\0\0\0\0\0" + b'<x tiff:Orientation="3"/>'
    assert decode_image(build_png(53, 37, 8, 2, png_rows(GRADIENT), png_chunk(b"iTXt", xmp))).orientation == 3


def test_apples_own_png_gets_a_sentence() -> None:
    plain = build_png(53, 37, 8, 2, png_rows(GRADIENT))
    with pytest.raises(DecodeError, match="pngcrush"):
        decode_image(plain[:8] + png_chunk(b"CgBI", b"\x50\0\x20\2") + plain[8:])


def with_riff_length(data: bytes, change: int) -> bytes:
    (length,) = struct.unpack_from("<I", data, 4)
    return data[:4] + struct.pack("<I", max(0, length + change)) + data[8:]


@pytest.mark.parametrize("lossless", [True, False])
def test_riff_lengths_of_webp(lossless: bool) -> None:
    data = save(GRADIENT, "WEBP", lossless=lossless)
    whole = decode_image(data).pixels
    for change in (2, 1000, 2**31):
        np.testing.assert_array_equal(decode_image(with_riff_length(data, change)).pixels, whole)
        with pytest.raises(DecodeError):  # a length beyond the end does not excuse missing pixels
            decode_image(with_riff_length(data[: len(data) * 3 // 4], change))
    for change in (-100, -(len(data) - 8)):
        with pytest.raises(DecodeError):
            decode_image(with_riff_length(data, change))
    followed = save(GRADIENT, "WEBP", lossless=lossless, xmp=b"<x/>" * 10)
    np.testing.assert_array_equal(decode_image(with_riff_length(followed, -20)).pixels, whole)
    turned = save(GRADIENT, "WEBP", lossless=lossless, exif=exif(6).tobytes())
    assert decode_image(with_riff_length(turned, 100)).orientation == 6
    with pytest.raises(DecodeError):  # which way up it was is lost
        decode_image(with_riff_length(turned, -8))


# --- depths


def bits_in_16(bits: int, pixels: NDArray[np.uint8] = GRADIENT) -> NDArray[np.uint16]:
    return np.rint(pixels / 255 * (2**bits - 1)).astype(np.uint16)


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_sensors_in_16_bits(bits: int, compression: str | None) -> None:
    # The brightest value of GRADIENT needs all bits.
    colour, grey = bits_in_16(bits), bits_in_16(bits, GRADIENT[..., 2])
    grey_rgb = np.repeat(GRADIENT[..., 2:], 3, 2)
    assert mean_error(save_tiff(colour, photometric="rgb", compression=compression)) <= 0.5
    assert mean_error(save_tiff(grey, photometric="minisblack", compression=compression), grey_rgb) <= 0.5
    planes = np.moveaxis(colour, -1, 0).copy()
    separate = save_tiff(planes, photometric="rgb", planarconfig="separate", compression=compression)
    if compression and bits < 14:
        with pytest.raises(DecodeError, match="save it uncompressed"):
            decode_image(separate)
    elif bits != 14 or not compression:
        assert mean_error(separate) <= 1
    assert mean_error(build_png(53, 37, 16, 2, png_rows(colour))) <= 0.5
    assert mean_error(save(grey, "PNG"), grey_rgb) <= 0.5


def test_alpha_beside_12_bits() -> None:
    deep = np.dstack([bits_in_16(12), ALPHA.astype(np.uint16) * 257])
    expected = on_white(GRADIENT, ALPHA)
    assert mean_error(build_png(53, 37, 16, 6, png_rows(deep)), expected) <= 1
    for compression in (None, "zlib"):
        data = save_tiff(deep, photometric="rgb", extrasamples=["unassalpha"], compression=compression)
        assert mean_error(data, expected) <= 1


def test_what_a_file_states_comes_before_its_maximum() -> None:
    dark = bits_in_16(12) // 8  # fits into 10 bits
    expected = np.rint(dark / 4095 * 255)
    stated = png_chunk(b"sBIT", b"\x0c\x0c\x0c")
    assert mean_error(build_png(53, 37, 16, 2, png_rows(dark), stated), expected) <= 0.5
    assert (
        mean_error(build_png(53, 37, 16, 0, png_rows(dark[..., 0]), png_chunk(b"sBIT", b"\x0c")), expected[..., :1])
        <= 0.5
    )
    full = png_chunk(b"sBIT", b"\x10\x10\x10")
    assert mean_error(build_png(53, 37, 16, 2, png_rows(dark), full), dark / 257) <= 1
    # Scaled to 16 bits, as PNG asks for.
    scaled = build_png(53, 37, 16, 2, png_rows(GRADIENT.astype(np.uint16) * 257), stated)
    assert mean_error(scaled) == 0
    for compression in (None, "zlib"):
        tags = [(340, "H", 3, (100, 100, 100), True), (341, "H", 3, (4095, 4095, 4095), True)]
        data = save_tiff(bits_in_16(12), photometric="rgb", compression=compression, extratags=tags)
        assert mean_error(data, np.clip((bits_in_16(12) - 100.0) / 3995 * 255, 0, 255)) <= 0.5
        wrong = [(340, "H", 1, 4095, True), (341, "H", 1, 100, True)]
        data = save_tiff(bits_in_16(12, GREY), photometric="minisblack", compression=compression, extratags=wrong)
        assert mean_error(data, GREY_RGB) < 200


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"compression": "zlib", "tile": (16, 16)}])
def test_floating_point_colour(dtype: type, options: dict[str, Any]) -> None:
    assert mean_error(save_tiff((GRADIENT / 255).astype(dtype), photometric="rgb", **options)) == 0
    broken: NDArray[Any] = (GRADIENT / 255).astype(dtype)
    broken[3, 4, 1] = np.nan
    with pytest.raises(DecodeError, match="not finite"):
        decode_image(save_tiff(broken, photometric="rgb", **options))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_many_bands_get_a_sentence(dtype: type, compression: str | None) -> None:
    bands: NDArray[Any] = np.repeat(GREY[..., None], 5, 2).astype(dtype)
    data = save_tiff(bands, photometric="minisblack", planarconfig="contig", compression=compression)
    with pytest.raises(DecodeError, match=r"5 bands .*gdal_translate"):
        decode_image(data)


def test_compressed_deep_colour_is_turned_once() -> None:
    tags = [(274, "H", 1, 6, True)]
    data = save_tiff(bits_in_16(12), photometric="rgb", compression="zlib", extratags=tags)
    decoded = decode_image(data)
    assert (decoded.width, decoded.height, decoded.orientation) == (37, 53, 6)
    assert mean_error(data, np.rot90(GRADIENT, -1)) <= 0.5


# --- formats


@pytest.mark.parametrize(
    ("name", "data", "tolerance"),
    [
        ("AVIF", save(GRADIENT, "AVIF", quality=95), 3),
        ("JPEG2000", save(GRADIENT, "JPEG2000"), 0),
        ("JPEG2000", save(GRADIENT, "JPEG2000", no_jp2=True), 0),
        ("PPM", save(GRADIENT, "PPM"), 0),
        ("HEIF", heif(GRADIENT, quality=95), 3),
        ("JPEG XL", jpeg_xl(GRADIENT, lossless=True), 0),
        ("JPEG XL", jpeg_xl(GRADIENT, lossless=True, use_container=True), 0),
    ],
)
def test_formats_beside_the_usual_ones(name: str, data: bytes, tolerance: float) -> None:
    decoded = decode_image(data, max_pixels=37 * 53)
    assert decoded.format == name
    assert np.abs(decoded.pixels.astype(int) - GRADIENT).mean() <= tolerance
    with pytest.raises(TooLargeError, match=r"53 x 37 = 1961 pixels|64 x 64 = 4096 pixels"):
        decode_image(data, max_pixels=37 * 53 - 1)
    for cut in (12, 30, len(data) // 3, len(data) * 2 // 3):
        with pytest.raises(DecodeError):
            decode_image(data[:cut])


def test_alpha_depth_and_orientation_of_those_formats() -> None:
    clear = np.dstack([GRADIENT, ALPHA])
    for data in (
        save(clear, "AVIF", quality=98),
        jpeg_xl(clear, lossless=True),
        save(clear, "JPEG2000"),
        heif(clear, quality=98),
    ):
        assert mean_error(data, on_white(GRADIENT, ALPHA)) < 3
    deep = save(bits_in_16(12, GREY), "JPEG2000")
    assert np.abs(decode_image(deep).pixels - bits_in_16(12, GREY)[..., None] / 257).max() <= 1
    assert decode_image(save(GRADIENT, "AVIF", exif=exif(6))).pixels.shape == (53, 37, 3)
    assert decode_image(heif(GRADIENT, exif=exif(6).tobytes())).pixels.shape == (53, 37, 3)
    # JPEG XL's own orientation, none here, overrules the EXIF data beside it.
    assert decode_image(jpeg_xl(GRADIENT, exif=exif(6).tobytes())).pixels.shape == (37, 53, 3)


def test_headers_that_announce_too_much() -> None:
    j2k = bytearray(save(GRADIENT, "JPEG2000", no_jp2=True))
    struct.pack_into(">II", j2k, 8, 30000, 30000)
    boxed = bytearray(save(GRADIENT, "JPEG2000"))
    place = boxed.index(b"\xff\x4f\xff\x51")
    struct.pack_into(">II", boxed, place + 8, 30000, 30000)  # the box before it still says 53 x 37
    avif = bytearray(save(GRADIENT, "AVIF"))
    place = avif.index(b"ispe")
    struct.pack_into(">II", avif, place + 8, 15000, 15000)
    # 30000 x 30000 in 2 + 30 bits of height, and the ratio 1:1.
    bits = (0 | 2 << 1 | (30000 - 1) << 3 | 1 << 21).to_bytes(8, "little")
    for data in (bytes(j2k), bytes(boxed), bytes(avif), b"\xff\x0a" + bits + bytes(40), b"P6 30000 30000 255\n"):
        with pytest.raises(TooLargeError, match=r"30000 x 30000|15000 x 15000"):
            decode_image(data)


@pytest.mark.parametrize(("data", "name"), [(heif(GRADIENT), "HEIF"), (jpeg_xl(GRADIENT), "JPEG XL")])
def test_a_format_without_its_package_gets_a_sentence(data: bytes, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(DecodeError, match=rf"{name} is read with pip install 'clamped-erasure-saliency\[formats\]'"):
        decode_image(data)
    assert decode_image(save(GRADIENT, "AVIF")).format == "AVIF"


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"8BPS\0\1", "Photoshop"),
        (b"  <svg xmlns='http://www.w3.org/2000/svg'/>", "render it"),
        (b"%PDF-1.7\n", "extract its pictures"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0isom", "video"),
        (b"FUJIFILMCCD-RAW ", "develop it"),
    ],
)
def test_other_kinds_get_a_sentence(data: bytes, sentence: str) -> None:
    with pytest.raises(DecodeError, match=sentence):
        decode_image(data)


def test_broken_metadata_cost_no_picture() -> None:
    image = Image.fromarray(GRADIENT)
    for data in (
        save(image, "JPEG", xmp=b"\xff\xfe\xa8 not UTF-8"),
        save(image, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x1a\0\5\0\0\0\1\0\0\0\x1a" + bytes(12)),
        save(image, "JPEG", icc_profile=b"no profile"),
        save(image, "PNG", exif=b"no tags"),
    ):
        decoded = decode_image(data)
        assert decoded.orientation == 1
        assert np.abs(decoded.pixels.astype(int) - GRADIENT).mean() < 8


def test_frames_behind_the_first_and_bytes_behind_the_picture() -> None:
    second = Image.fromarray(GRADIENT[::-1].copy())
    pages = io.BytesIO()
    Image.fromarray(GRADIENT).save(pages, "MPO", save_all=True, append_images=[second], quality=95)
    assert mean_error(pages.getvalue()) < 3
    gif = save(Image.fromarray(GREY), "GIF")
    np.testing.assert_array_equal(decode_image(gif[:-1]).pixels, GREY_RGB)  # without its trailer
    png = save(GRADIENT, "PNG")
    np.testing.assert_array_equal(decode_image(png[:-12]).pixels, GRADIENT)  # without IEND
    np.testing.assert_array_equal(decode_image(png + png).pixels, GRADIENT)
