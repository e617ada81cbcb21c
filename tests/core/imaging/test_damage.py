"""Files that are too large, truncated, damaged, or no images at all."""

import io
import logging
import struct
import sys
import time
import warnings
import zlib
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from saliency_core.imaging.decoding import decode_image
from saliency_core.imaging.guards import DecodeError, TooLargeError, decoder_errors, pillow_warnings_ignored
from tests.support.image_files import (
    GRADIENT,
    GREY,
    build_png,
    exif,
    gradient,
    png_chunk,
    save,
    save_tiff,
    textured,
    tiff_with_orientation,
)


def test_pixel_limit_is_inclusive() -> None:
    for file_format in ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF"):
        data = save(GRADIENT, file_format)
        assert decode_image(data, max_pixels=37 * 53).width == 53
        with pytest.raises(TooLargeError, match=f"53 x 37 = {37 * 53} pixels"):
            decode_image(data, max_pixels=37 * 53 - 1)


def headers_of_30000(side: int = 30000) -> dict[str, bytes]:
    """Files that announce 900 million pixels and hold next to none."""
    jpeg = save(GRADIENT, "JPEG")
    frame = jpeg.index(b"\xff\xc0")
    jpeg = jpeg[: frame + 5] + struct.pack(">HH", side, side) + jpeg[frame + 9 :]
    bmp = save(GRADIENT, "BMP")
    gif = save(GRADIENT, "GIF")
    tiff = save_tiff(GRADIENT, photometric="rgb")
    with tifffile.TiffFile(io.BytesIO(tiff)) as parsed:
        places = [parsed.pages.first.tags[tag].valueoffset for tag in (256, 257)]
    for place in places:
        tiff = tiff[:place] + struct.pack("<H", side) + tiff[place + 2 :]
    webp = save(GRADIENT, "WEBP", lossless=True)
    canvas = struct.pack("<I", side - 1)[:3]
    extended = b"VP8X" + struct.pack("<II", 10, 0) + canvas + canvas + webp[12:]
    return {
        "PNG": build_png(side, side, 8, 2, b"\0" * 100),
        "JPEG": jpeg,
        "BMP": bmp[:18] + struct.pack("<ii", side, side) + bmp[26:],
        "GIF": gif[:6] + struct.pack("<HH", side, side) + gif[10:],
        "TIFF": tiff,
        "WEBP": b"RIFF" + struct.pack("<I", 4 + len(extended)) + b"WEBP" + extended,
    }


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF"])
def test_announced_size_is_refused_from_the_header(file_format: str) -> None:
    with pytest.raises(TooLargeError, match="30000 x 30000 = 900000000 pixels, more than the limit of 100000000"):
        decode_image(headers_of_30000()[file_format])


@pytest.mark.parametrize("lossless", [True, False])
def test_simple_webp_headers_give_the_canvas(lossless: bool) -> None:
    for height, width in ((37, 53), (300, 2), (1, 1)):
        data = save(gradient(height, width), "WEBP", lossless=lossless)
        with pytest.raises(TooLargeError, match=f"{width} x {height} ="):
            decode_image(data, max_pixels=0)


def test_pixel_limit_of_deep_tiff() -> None:
    for dtype in (np.uint16, np.float32):
        with pytest.raises(TooLargeError, match=r"53 x 37 ="):
            decode_image(save_tiff(GREY.astype(dtype), photometric="minisblack"), max_pixels=37 * 53 - 1)


def test_pillows_own_limit_is_a_too_large_error_where_it_remains(monkeypatch: pytest.MonkeyPatch) -> None:
    gif = save(GRADIENT, "GIF")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(TooLargeError, match="exceeds limit of 20 pixels"):
        decode_image(gif[:6] + struct.pack("<HH", 1, 1) + gif[10:])  # the frame reaches beyond the screen


def test_pillows_own_limit_plays_no_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    for file_format in ("JPEG", "PNG", "BMP", "GIF"):
        assert decode_image(save(GRADIENT, file_format)).width == 53
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    with pytest.raises(TooLargeError):
        decode_image(save(GRADIENT, "PNG"), max_pixels=10)
    assert Image.MAX_IMAGE_PIXELS is None


def peak_megabytes(*, reset: bool = False) -> int:
    """Peak resident memory of this process since the last reset (Linux)."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of the memory can be reset on Linux only")
def test_data_that_inflate_beyond_the_picture_take_no_memory() -> None:
    deflater = zlib.compressobj(1)
    packed = b"".join(deflater.compress(bytes(2**20)) for _ in range(400)) + deflater.flush()
    tiff = bytearray(save_tiff(np.zeros((1, 1, 3), np.uint8), photometric="rgb", compression="zlib"))
    with tifffile.TiffFile(io.BytesIO(tiff)) as parsed:
        tags = parsed.pages.first.tags
        assert tags[273].dtype_name == tags[279].dtype_name == "LONG"
        struct.pack_into("<I", tiff, tags[273].valueoffset, len(tiff))
        struct.pack_into("<I", tiff, tags[279].valueoffset, len(packed))
    pixels = build_png(1, 1, 8, 2, packed, packed=True)
    text = build_png(1, 1, 8, 2, bytes(4), png_chunk(b"zTXt", b"k\0\0" + packed))
    before = peak_megabytes(reset=True)
    assert decode_image(pixels).pixels.tolist() == [[[0, 0, 0]]]
    assert decode_image(bytes(tiff) + packed).pixels.tolist() == [[[0, 0, 0]]]
    assert decode_image(text).pixels.tolist() == [[[0, 0, 0]]]
    assert peak_megabytes() - before < 40


def build_samples() -> dict[str, bytes]:
    pixels = textured()
    image = Image.fromarray(pixels)
    frames = {"save_all": True, "append_images": [image.transpose(Image.Transpose.ROTATE_180)] * 2}
    deep = pixels.astype(np.uint16) * 257
    return {
        "jpeg": save(image, "JPEG", exif=exif(6)),
        "jpeg progressive": save(image, "JPEG", progressive=True),
        "jpeg grey": save(image.convert("L"), "JPEG"),
        "jpeg cmyk": save(image.convert("CMYK"), "JPEG"),
        "png": save(image, "PNG", exif=exif(6)),
        "png palette": save(image.quantize(16), "PNG", transparency=3),
        "png 16": save(deep[..., 0], "PNG"),
        "png animated": save(image, "PNG", **frames),
        "webp": save(image, "WEBP", exif=exif(6).tobytes()),
        "webp lossless": save(image, "WEBP", lossless=True),
        "webp animated": save(image, "WEBP", **frames),
        "gif": save(image, "GIF"),
        "gif animated": save(image, "GIF", disposal=2, **frames),
        "bmp": save(image, "BMP"),
        "bmp palette": save(image.quantize(8), "BMP"),
        "tiff": tiff_with_orientation(pixels, 6),
        "tiff lzw": save(image, "TIFF", compression="tiff_lzw"),
        "tiff jpeg": save(image, "TIFF", compression="jpeg"),
        "tiff group 4": save(image.convert("1"), "TIFF", compression="group4"),
        "tiff 16": save_tiff(deep, photometric="rgb"),
        "tiff 16 planes": save_tiff(np.moveaxis(deep, -1, 0), photometric="rgb", planarconfig="separate"),
        "tiff float tiles": save_tiff(pixels / 255, photometric="rgb", tile=(16, 16)),
        "tiff float rgb deflate": save_tiff((pixels / 255).astype(np.float32), photometric="rgb", compression="zlib"),
        "tiff 16 deflate": save_tiff(deep, photometric="rgb", compression="zlib", rowsperstrip=8),
        "png 12 rgb": build_png(53, 37, 16, 2, b"".join(b"\0" + (row.astype(">u2") * 16).tobytes() for row in pixels)),
        "avif": save(image, "AVIF"),
        "jpeg 2000": save(image, "JPEG2000"),
        "ppm": save(image, "PPM"),
        "tiff float deflate": save_tiff((pixels[..., 0] / 255).astype(np.float32), compression="zlib"),
    }


SAMPLES = build_samples()
COMPLETE = {name: decode_image(data).pixels for name, data in SAMPLES.items()}


def require_error_or_complete(name: str, cut: int) -> None:
    try:
        decoded = decode_image(SAMPLES[name][:cut])
    except DecodeError as error:
        assert "\n" not in str(error)  # noqa: PT017
        return
    # Only what follows the pixels may be missing: end markers, later frames.
    np.testing.assert_array_equal(decoded.pixels, COMPLETE[name], f"{name} cut at {cut}")


@pytest.mark.parametrize("name", SAMPLES)
def test_truncated_files(name: str) -> None:
    size = len(SAMPLES[name])
    for cut in {*range(0, 40), *np.linspace(40, size - 1, 40).astype(int).tolist(), *range(size - 12, size)}:
        require_error_or_complete(name, cut)


def test_tiles_and_strips_that_are_cut_short() -> None:
    deep = gradient(20, 20).astype(np.uint16) * 257
    tiled = save_tiff(deep, photometric="rgb", tile=(16, 16))
    for cut in range(len(tiled) - 1600, len(tiled)):
        with pytest.raises(DecodeError):
            decode_image(tiled[:cut])
    for options in ({"tile": (16, 16)}, {"rowsperstrip": 10}):
        data = bytearray(save_tiff(deep, photometric="rgb", **options))
        with tifffile.TiffFile(io.BytesIO(data)) as parsed:
            counts = parsed.pages.first.tags[325 if "tile" in options else 279]
            place, kind = counts.valueoffset, {3: "<H", 4: "<I"}[int(counts.dtype)]
        for count in (0, 1, 300, 768):  # the whole has 1536 or 1200 bytes
            struct.pack_into(kind, data, place, count)
            with pytest.raises(DecodeError, match="truncated"):
                decode_image(bytes(data))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(SAMPLES)), st.floats(0, 1, exclude_max=True))
def test_truncated_anywhere(name: str, share: float) -> None:
    require_error_or_complete(name, int(share * len(SAMPLES[name])))


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(sorted(SAMPLES)),
    st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255), st.booleans()),
        min_size=1,
        max_size=4,
    ),
)
def test_damaged_bytes_give_an_image_or_decode_error(name: str, changes: list[tuple[float, int, bool]]) -> None:
    damaged = bytearray(SAMPLES[name])
    for share, value, in_header in changes:
        damaged[int(share * (min(300, len(damaged)) if in_header else len(damaged)))] = value
    try:
        decoded = decode_image(bytes(damaged), max_pixels=1_000_000)
    except DecodeError:
        return
    assert decoded.pixels.dtype == np.uint8
    assert decoded.pixels.shape == (decoded.height, decoded.width, 3)
    assert decoded.width * decoded.height <= 1_000_000


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from([b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"II*\0", b"MM\0*", b"II+\0"])
    | st.sampled_from([b"RIFF\x40\0\0\0WEBPVP8 ", b"RIFF\x40\0\0\0WEBPVP8X", b"RIFF\x40\0\0\0WEBPVP8L", b""]),
    st.binary(max_size=120),
)
def test_noise_after_a_signature(signature: bytes, noise: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_image(signature + noise)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"not an image",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        b"%PDF-1.7\n",
        b"8BPS\0\1",
        b"SIMPLE  =                    T",
        b"\0\0\1\0\1\0",
        b"P7 1 1 255\n\0\0\0",
        b"RIFF\x24\0\0\0WAVEfmt ",
    ],
)
def test_other_files_are_refused(data: bytes) -> None:
    with pytest.raises(DecodeError, match="none of JPEG, PNG, WEBP, TIFF, BMP, GIF") as caught:
        decode_image(data)
    assert not isinstance(caught.value, TooLargeError)


def test_formats_that_pillow_could_read_are_refused() -> None:
    for file_format in ("ICO", "TGA", "EPS", "PCX", "SGI", "DDS"):
        with pytest.raises(DecodeError):
            decode_image(save(GRADIENT, file_format))


def test_odd_files_print_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    palette = SAMPLES["png palette"]
    corrupt_exif = save(GRADIENT, "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\0" + bytes(40))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for data in (palette, corrupt_exif, SAMPLES["tiff 16"][:-5], SAMPLES["tiff"][:60], b"BM" + bytes(60)):
            try:
                decode_image(data)
            except DecodeError as error:
                assert not isinstance(error.__cause__, Warning)  # noqa: PT017
    assert capfd.readouterr() == ("", "")


def test_loggers_do_not_fall_back_to_stderr() -> None:
    for name in ("PIL", "tifffile"):
        assert any(isinstance(handler, logging.NullHandler) for handler in logging.getLogger(name).handlers)


def test_overlapping_users_leave_the_warning_filters_as_before() -> None:
    before = list(warnings.filters)
    first, second = pillow_warnings_ignored(), pillow_warnings_ignored()
    with ExitStack() as still_open:
        with first:
            still_open.enter_context(second)  # as two threads do: in before the first is out, out after it
            assert len(warnings.filters) == len(before) + 1
        assert len(warnings.filters) == len(before) + 1
    assert list(warnings.filters) == before


def test_messages_have_one_line() -> None:
    with pytest.raises(DecodeError, match=r"^The PNG file cannot be decoded: first second$"), decoder_errors("PNG"):
        raise OSError("first\n  second")
    with pytest.raises(DecodeError, match="MemoryError"), decoder_errors("PNG"):
        raise MemoryError


@pytest.mark.parametrize(("bits", "sound"), [(8, True), (2**31 - 1, False), (0, False)])
def test_a_tiff_that_claims_enormous_samples_is_refused_at_once(bits: int, sound: bool) -> None:
    """The fuzzer's find: two to the power of what the file claims took minutes and hundreds of megabytes."""
    short, long = 3, 4
    tags = [(256, short, 4), (257, short, 4), (258, long, bits), (259, short, 1), (262, short, 1), (273, long, 8)]
    tags += [(277, short, 1), (278, short, 4), (279, long, 16)]
    directory = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    content = b"II*\0" + struct.pack("<I", 24) + bytes(16) + struct.pack("<H", len(tags)) + directory + bytes(4)
    if sound:
        assert decode_image(content).pixels.shape == (4, 4, 3)
        return
    started = time.process_time()
    with pytest.raises(DecodeError):
        decode_image(content)
    assert time.process_time() - started < 1
