"""Formats, orientations, sizes, resizing, PNG maps; expected pixels come without the decoder."""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from saliency_core.imaging.decoding import decode_image
from saliency_core.imaging.guards import DecodeError, TooLargeError
from saliency_core.imaging.png import decode_png_map, encode_png
from saliency_core.imaging.resizing import resize_longest_side, resize_map, squash
from tests.support.image_files import (
    GRADIENT,
    GREY,
    ORIENTATION,
    Pixels,
    exif,
    gradient,
    png_chunk,
    save,
    save_tiff,
    textured,
    tiff_with_orientation,
)


@pytest.mark.parametrize(
    ("file_format", "options", "tolerance"),
    [
        ("PNG", {}, 0),
        ("BMP", {}, 0),
        ("TIFF", {}, 0),
        ("TIFF", {"compression": "tiff_lzw"}, 0),
        ("TIFF", {"compression": "tiff_adobe_deflate"}, 0),
        ("TIFF", {"compression": "packbits"}, 0),
        ("TIFF", {"compression": "jpeg", "quality": 98}, 6),
        ("WEBP", {"lossless": True}, 0),
        ("WEBP", {"quality": 98}, 12),
        ("JPEG", {"quality": 98, "subsampling": 0}, 6),
        ("JPEG", {"quality": 98, "subsampling": 0, "progressive": True}, 6),
    ],
)
def test_rgb_in_every_format(file_format: str, options: dict[str, Any], tolerance: int) -> None:
    smooth = (GRADIENT // 2).astype(np.uint8)
    smooth[..., 2] = 90
    decoded = decode_image(save(smooth, file_format, **options))
    assert decoded.format == file_format
    assert (decoded.width, decoded.height, decoded.orientation) == (53, 37, 1)
    assert (decoded.stored_width, decoded.stored_height) == (53, 37)
    assert decoded.pixels.dtype == np.uint8
    assert decoded.pixels.flags.writeable
    assert decoded.pixels.flags.c_contiguous
    assert np.abs(decoded.pixels.astype(int) - smooth).max() <= tolerance


def test_gif_is_exact_up_to_256_colours() -> None:
    colours = (GRADIENT // 64 * 64).astype(np.uint8)
    image = Image.fromarray(colours).convert("P", palette=Image.Palette.ADAPTIVE, colors=256)
    decoded = decode_image(save(image, "GIF"))
    assert decoded.format == "GIF"
    np.testing.assert_array_equal(decoded.pixels, colours)


@pytest.mark.parametrize("file_format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_first_frame_of_an_animation(file_format: str) -> None:
    red, blue = (Image.new("RGB", (8, 6), name) for name in ("red", "blue"))
    options = {"lossless": True} if file_format == "WEBP" else {}
    data = save(red, file_format, save_all=True, append_images=[blue, red], **options)
    decoded = decode_image(data)
    assert decoded.format == file_format
    np.testing.assert_array_equal(decoded.pixels, np.broadcast_to([255, 0, 0], (6, 8, 3)))


# displayed[y, x] = stored[...], H and W being the stored height and width (EXIF 2.32, tag 274).
STORED_PLACE: dict[int, Callable[[int, int, int, int], tuple[int, int]]] = {
    1: lambda y, x, h, w: (y, x),
    2: lambda y, x, h, w: (y, w - 1 - x),
    3: lambda y, x, h, w: (h - 1 - y, w - 1 - x),
    4: lambda y, x, h, w: (h - 1 - y, x),
    5: lambda y, x, h, w: (x, y),
    6: lambda y, x, h, w: (h - 1 - x, y),
    7: lambda y, x, h, w: (h - 1 - x, w - 1 - y),
    8: lambda y, x, h, w: (x, w - 1 - y),
}


def display(stored: Pixels, orientation: int) -> Pixels:
    h, w = stored.shape[:2]
    rows, columns = (w, h) if orientation >= 5 else (h, w)
    place = STORED_PLACE[orientation]
    return np.array([[stored[place(y, x, h, w)] for x in range(columns)] for y in range(rows)])


ORIENTED: dict[str, Callable[[Pixels, int], bytes]] = {
    "JPEG": lambda p, o: save(p, "JPEG", exif=exif(o), quality=98, subsampling=0),
    "PNG": lambda p, o: save(p, "PNG", exif=exif(o)),
    "WEBP": lambda p, o: save(p, "WEBP", exif=exif(o).tobytes(), lossless=True),
    "TIFF": tiff_with_orientation,
    "TIFF lzw": lambda p, o: tiff_with_orientation(p, o, compression="tiff_lzw"),
    "TIFF jpeg": lambda p, o: tiff_with_orientation(p, o, compression="jpeg", quality=98),
    "TIFF 16 bits": lambda p, o: save_tiff(
        p.astype(np.uint16) * 257, photometric="rgb", extratags=[(ORIENTATION, "H", 1, o, True)]
    ),
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ORIENTED)
def test_orientation(kind: str, orientation: int) -> None:
    stored = gradient(20, 28)
    stored[..., 2] = 60
    decoded = decode_image(ORIENTED[kind](stored, orientation))
    assert decoded.orientation == orientation
    assert (decoded.stored_height, decoded.stored_width) == (20, 28)
    expected = display(stored, orientation)
    assert (decoded.height, decoded.width) == expected.shape[:2]
    assert decoded.pixels.shape == expected.shape
    assert decoded.pixels.flags.c_contiguous
    tolerance = 8 if "JPEG" in kind.upper() else 0
    assert np.abs(decoded.pixels.astype(int) - expected).max() <= tolerance


def test_png_with_exif_after_the_pixels() -> None:
    data = save(GRADIENT, "PNG")
    late = data[:-12] + png_chunk(b"eXIf", exif(6).tobytes()[6:]) + data[-12:]
    decoded = decode_image(late)
    np.testing.assert_array_equal(decoded.pixels, display(GRADIENT, 6))


@pytest.mark.parametrize("entry", [(3, 1, 0), (3, 1, 9), (3, 1, 65535), (2, 4, 0x00616263)])
def test_invalid_orientation_counts_as_upright(entry: tuple[int, int, int]) -> None:
    content = b"II*\0" + struct.pack("<IHHHIII", 8, 1, ORIENTATION, *entry, 0)
    data = save(GRADIENT, "PNG")
    decoded = decode_image(data[:33] + png_chunk(b"eXIf", content) + data[33:])
    assert decoded.orientation == 1
    np.testing.assert_array_equal(decoded.pixels, GRADIENT)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=80))
def test_broken_exif_does_not_reject_the_picture(content: bytes) -> None:
    data = save(GRADIENT, "PNG")
    with_exif = data[:33] + png_chunk(b"eXIf", content) + data[33:]
    assert decode_image(with_exif).pixels.size == GRADIENT.size


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF"])
def test_one_pixel(file_format: str) -> None:
    options = {"lossless": True} if file_format == "WEBP" else {}
    decoded = decode_image(save(np.full((1, 1, 3), 255, np.uint8), file_format, **options))
    np.testing.assert_array_equal(decoded.pixels, [[[255, 255, 255]]])
    assert (decoded.width, decoded.height) == (1, 1)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "TIFF", "BMP", "GIF"])
def test_one_by_20000(file_format: str) -> None:
    for shape in ((1, 20000), (20000, 1)):
        decoded = decode_image(save(np.full((*shape, 3), 255, np.uint8), file_format), reduce_to=512)
        assert (decoded.height, decoded.width) == shape
        assert decoded.pixels.shape == (*shape, 3)  # a side of one pixel cannot be halved
        small = resize_longest_side(decoded.pixels, 512)
        assert small.shape == ((1, 512, 3) if shape[0] == 1 else (512, 1, 3))
        assert squash(decoded.pixels, 224).shape == (224, 224, 3)


def test_reduce_to_leaves_small_images_and_other_formats_alone() -> None:
    pixels = textured(300, 400)
    for data, wanted in (
        (save(pixels, "JPEG"), 400),
        (save(pixels, "JPEG"), 201),
        (save(pixels, "JPEG"), 5000),
        (save(pixels, "PNG"), 20),
    ):
        whole, reduced = decode_image(data), decode_image(data, reduce_to=wanted)
        np.testing.assert_array_equal(whole.pixels, reduced.pixels)


@pytest.mark.parametrize(
    ("wanted", "shape"),
    [(512, (300, 512)), (511, (300, 512)), (200, (150, 256)), (128, (75, 128)), (9, (75, 128))],
)
def test_reduce_to_halves_while_the_longest_side_suffices(wanted: int, shape: tuple[int, int]) -> None:
    data = save(gradient(600, 1024), "JPEG", quality=95, exif=exif(1))
    decoded = decode_image(data, reduce_to=wanted)
    assert decoded.pixels.shape[:2] == shape
    assert (decoded.height, decoded.width) == (600, 1024)
    assert (decoded.stored_height, decoded.stored_width) == (600, 1024)


def test_reduce_to_keeps_the_picture_and_the_orientation() -> None:
    y, x = np.mgrid[:600, :1024]
    smooth = np.stack([x // 5, y // 3, np.full_like(x, 40)], -1).astype(np.uint8)
    for orientation in (1, 6):
        data = save(smooth, "JPEG", quality=95, exif=exif(orientation))
        whole = resize_longest_side(decode_image(data).pixels, 256)
        decoded = decode_image(data, reduce_to=256)
        assert max(decoded.pixels.shape) == 256
        assert (decoded.height, decoded.width) == ((600, 1024) if orientation == 1 else (1024, 600))
        assert np.abs(decoded.pixels.astype(int) - whole).mean() < 1


def test_reduce_to_must_be_positive() -> None:
    with pytest.raises(ValueError, match="reduce_to must be at least 1"):
        decode_image(save(GRADIENT, "JPEG"), reduce_to=0)


@pytest.mark.parametrize(
    ("shape", "longest", "expected"),
    [
        ((300, 400), 512, (300, 400)),
        ((300, 400), 400, (300, 400)),
        ((300, 400), 200, (150, 200)),
        ((400, 300), 100, (100, 75)),
        ((333, 500), 256, (170, 256)),  # 170.496
        ((335, 500), 256, (172, 256)),  # 171.52
        ((1, 20000), 512, (1, 512)),
        ((20000, 3), 10, (10, 1)),
        ((7, 5), 1, (1, 1)),
    ],
)
def test_resize_longest_side_shape(shape: tuple[int, int], longest: int, expected: tuple[int, int]) -> None:
    pixels = np.zeros((*shape, 3), np.uint8)
    small = resize_longest_side(pixels, longest)
    assert small.shape == (*expected, 3)
    assert (small is pixels) == (max(shape) <= longest)


def test_resizing_is_antialiased_and_keeps_constants() -> None:
    stripes = np.zeros((64, 640, 3), np.uint8)
    stripes[:, ::2] = 255  # sampling single pixels would give 0 or 255
    for small in (resize_longest_side(stripes, 64), squash(stripes, 32)):
        assert np.abs(small[:, 4:-4].astype(int) - 127.5).max() <= 3
    constant = np.full((30, 50, 3), 77, np.uint8)
    assert (resize_longest_side(constant, 20) == 77).all()
    assert (squash(constant, (9, 80)) == 77).all()
    np.testing.assert_array_equal(resize_longest_side(stripes, 64), resize_longest_side(stripes, 64))


def torch_bilinear(array: NDArray[Any], height: int, width: int) -> NDArray[np.float64]:
    planes = torch.from_numpy(np.atleast_3d(array).astype(np.float64)).permute(2, 0, 1)[None]
    resized = torch.nn.functional.interpolate(
        planes, (height, width), mode="bilinear", align_corners=False, antialias=True
    )
    result: NDArray[np.float64] = resized[0].permute(1, 2, 0).numpy()
    return result if array.ndim == 3 else result[..., 0]


@pytest.mark.parametrize("size", [(224, 224), (20, 31), (37, 200), (1, 1)])
def test_squash_and_resize_map_are_antialiased_bilinear(size: tuple[int, int]) -> None:
    pixels = textured()
    assert np.abs(squash(pixels, size) - torch_bilinear(pixels, *size)).max() <= 1.01
    map_ = np.random.default_rng(1).random((37, 53)).astype(np.float32)
    resized = resize_map(map_, *size)
    assert resized.dtype == np.float32
    np.testing.assert_allclose(resized, torch_bilinear(map_, *size), atol=2e-6)


def test_squash_to_a_square_uses_the_whole_image() -> None:
    halves = np.zeros((100, 400, 3), np.uint8)
    halves[:, 200:] = 255
    square = squash(halves, 64)
    assert square.shape == (64, 64, 3)
    assert (square[:, :31] == 0).all()
    assert (square[:, 33:] == 255).all()
    np.testing.assert_array_equal(squash(GRADIENT, (37, 53)), GRADIENT)


@settings(max_examples=100, deadline=None)
@given(
    st.tuples(st.integers(1, 30), st.integers(1, 30)),
    st.tuples(st.integers(1, 60), st.integers(1, 60)),
    st.floats(0, 1e30),
    st.integers(0, 2**32 - 1),
)
def test_resize_map_stays_within_its_range(
    shape: tuple[int, int], size: tuple[int, int], scale: float, seed: int
) -> None:
    map_ = (np.random.default_rng(seed).random(shape) ** 8 * scale).astype(np.float32)
    map_[map_ < scale * 1e-3] = 0
    resized = resize_map(map_, *size)
    assert resized.shape == size
    assert resized.min() >= 0
    assert resized.min() >= map_.min() * (1 - 1e-5)
    assert resized.max() <= map_.max() * (1 + 1e-5)


def test_wrong_arrays_are_refused() -> None:
    for bad in (np.zeros((4, 5), np.uint8), np.zeros((4, 5, 4), np.uint8), np.zeros((4, 5, 3), np.float32)):
        with pytest.raises(ValueError, match=r"uint8 array \(H, W, 3\)"):
            resize_longest_side(bad)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=r"uint8 array \(H, W, 3\)"):
            squash(bad, 8)  # type: ignore[arg-type]
    for bad_map in (np.zeros((4, 5)), np.zeros((4, 5, 1), np.float32)):
        with pytest.raises(ValueError, match="float32 array"):
            resize_map(bad_map, 8, 8)  # type: ignore[arg-type]
    for bad_png in (np.zeros((4, 5)), np.zeros((4, 5, 4), np.uint8), np.zeros(4, np.uint8)):
        with pytest.raises(ValueError, match="PNG is written from a uint8 array"):
            encode_png(bad_png)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="longest_side must be at least 1"):
        resize_longest_side(GRADIENT, 0)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 20), st.integers(1, 20), st.integers(0, 9), st.integers(0, 2**32 - 1))
def test_png_map_round_trip(height: int, width: int, level: int, seed: int) -> None:
    map_ = np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)
    data = encode_png(map_, level)
    decoded = decode_png_map(data)
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, map_)
    np.testing.assert_array_equal(decode_image(data).pixels, np.repeat(map_[..., None], 3, 2))


def test_png_of_an_image_and_of_a_view() -> None:
    np.testing.assert_array_equal(decode_image(encode_png(GRADIENT)).pixels, GRADIENT)
    np.testing.assert_array_equal(decode_png_map(encode_png(GREY[::-1, ::2])), GREY[::-1, ::2])


def test_decode_png_map_refuses_other_files() -> None:
    with pytest.raises(DecodeError, match="mode RGB"):
        decode_png_map(encode_png(GRADIENT))
    with pytest.raises(DecodeError, match="not a PNG"):
        decode_png_map(save(GREY, "JPEG"))
    with pytest.raises(DecodeError):
        decode_png_map(encode_png(GREY)[:-60])
    with pytest.raises(TooLargeError):
        decode_png_map(encode_png(GREY), max_pixels=10)


@pytest.mark.real_data
def test_photographs(real_data: Path) -> None:
    paths = sorted((real_data / "ecssd" / "images").iterdir())[::20]
    assert paths
    for path in paths:
        with Image.open(path) as image:
            expected = np.asarray(image.convert("RGB"))
        decoded = decode_image(path.read_bytes())
        np.testing.assert_array_equal(decoded.pixels, expected)
        assert max(resize_longest_side(decoded.pixels, 200).shape) == 200
