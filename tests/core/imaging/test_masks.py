import io
import struct
import zlib
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image, ImageOps

from saliency_core.imaging.masks import Mask, MaskError, decode_mask, match_mask, orient_mask, resize_mask
from saliency_core.imaging.options import MaskFormat
from tests.support.image_files import jpeg_xl

ORIENTATION_TAG = 0x0112
OBJECT = np.array([[0, 0, 1, 1], [0, 1, 1, 0], [0, 0, 0, 1]], np.uint8)  # (H, W) = (3, 4)
BRIGHT = OBJECT * np.uint8(255)
VOC_COLOURS = [(0, 0, 0), (128, 0, 0), (0, 128, 0)] + [(i, 255 - i, 7) for i in range(3, 255)] + [(224, 224, 192)]


def encode(image: Image.Image, file_format: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def encode_array(array: NDArray[Any], file_format: str = "PNG", **options: Any) -> bytes:
    return encode(Image.fromarray(array), file_format, **options)


def palette_image(indices: NDArray[np.uint8], colours: list[tuple[int, int, int]]) -> Image.Image:
    image = Image.fromarray(indices).convert("L")
    image.putpalette([channel for colour in colours for channel in colour])
    return image


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[ORIENTATION_TAG] = orientation
    return tags


def whole(foreground: NDArray[np.bool_]) -> Mask:
    return Mask(foreground, np.ones_like(foreground))


def assert_object(mask: Mask, expected: NDArray[Any] = OBJECT) -> None:
    np.testing.assert_array_equal(mask.foreground, expected.astype(bool))
    assert mask.foreground.dtype == mask.valid.dtype == np.bool_
    assert mask.valid.all()


# --- codings


@pytest.mark.parametrize(
    "array",
    [
        OBJECT,
        BRIGHT,
        np.where(OBJECT, 128, 127).astype(np.uint8),
        np.repeat(OBJECT[..., None], 3, axis=2),
        np.repeat(BRIGHT[..., None], 3, axis=2),
        OBJECT.astype(bool),
        OBJECT.astype(np.uint16),
        BRIGHT.astype(np.uint16),
        OBJECT.astype(np.uint16) * 65535,
        np.where(OBJECT, 127 * 257 + 1, 127 * 257).astype(np.uint16),
        np.dstack([BRIGHT, np.full_like(BRIGHT, 255)]),
        np.dstack([BRIGHT, BRIGHT, BRIGHT, np.full_like(BRIGHT, 255)]),
        np.dstack([np.full_like(BRIGHT, 255)] * 3 + [BRIGHT]),
    ],
    ids=[
        "L01",
        "L255",
        "L128",
        "RGB01",
        "RGB255",
        "1",
        "I01",
        "I255",
        "I65535",
        "I32640",
        "LA",
        "RGBA",
        "alpha",
    ],
)
@pytest.mark.parametrize("mask_format", ["auto", "binary"])
def test_binary_codings(array: NDArray[Any], mask_format: MaskFormat) -> None:
    if mask_format == "auto" and array.max() in (128, 127 * 257 + 1):  # half grey is no black and white
        with pytest.raises(MaskError, match=r"between black and white.*--mask-format voc.*--mask-format binary"):
            decode_mask(encode_array(array), format=mask_format)
        return
    assert_object(decode_mask(encode_array(array), format=mask_format))


@pytest.mark.parametrize(("file_format", "value"), [("BMP", 255), ("GIF", 255), ("TIFF", 255), ("PPM", 1)])
def test_file_formats(file_format: str, value: int) -> None:
    assert_object(decode_mask(encode_array(OBJECT * np.uint8(value), file_format)))


def test_jpeg_masks_lose_little() -> None:
    foreground = np.zeros((64, 64), bool)
    foreground[16:48, 16:48] = True
    for shape in [(64, 64), (64, 64, 3)]:
        array = np.broadcast_to((foreground * np.uint8(255)).reshape(64, 64, *[1] * (len(shape) - 2)), shape)
        mask = decode_mask(encode_array(np.ascontiguousarray(array), "JPEG", quality=60))
        np.testing.assert_array_equal(mask.foreground, foreground)


def test_all_zero_mask_is_empty() -> None:
    assert not decode_mask(encode_array(np.zeros((2, 2), np.uint8))).foreground.any()


@pytest.mark.parametrize(
    "colours", [[(i, i, i) for i in range(256)], [(0, 0, 0), (255, 255, 255)], [(0, 0, 0), (1, 1, 1)]]
)
def test_grey_palettes_are_read_by_brightness(colours: list[tuple[int, int, int]]) -> None:
    assert_object(decode_mask(encode(palette_image(OBJECT, colours))))


def test_white_may_be_the_first_colour_of_a_palette() -> None:
    assert_object(decode_mask(encode(palette_image(1 - OBJECT, [(255, 255, 255), (0, 0, 0)]))))


def test_colour_palettes_hold_indices_with_void() -> None:
    indices = np.array([[0, 1, 2], [254, 255, 0]], np.uint8)
    mask = decode_mask(encode(palette_image(indices, VOC_COLOURS)))
    np.testing.assert_array_equal(mask.foreground, [[False, True, True], [True, False, False]])
    np.testing.assert_array_equal(mask.valid, [[True, True, True], [True, False, True]])


def test_short_colour_palette() -> None:
    assert_object(decode_mask(encode(palette_image(OBJECT, VOC_COLOURS[:2]))))


def test_voc_indices_in_a_greyscale_image() -> None:
    indices = np.array([[0, 1, 20, 255]], np.uint8)
    mask = decode_mask(encode_array(indices), format="voc")
    np.testing.assert_array_equal(mask.foreground, [[False, True, True, False]])
    np.testing.assert_array_equal(mask.valid, [[True, True, True, False]])
    # by brightness only the void value would be above 127
    with pytest.raises(MaskError, match="--mask-format voc"):
        decode_mask(encode_array(indices))
    assert_object(decode_mask(encode_array(OBJECT.astype(bool)), format="voc"))


@pytest.mark.parametrize(
    ("array", "mask_format", "message"),
    [
        (np.zeros((2, 2, 3), np.uint8), "voc", "palette or greyscale"),
        (np.full((2, 2), 300, np.uint16), "voc", "up to 255, but this one has 300"),
        (np.full((2, 2, 3), [128, 0, 0], np.uint8), "auto", "colours"),
        (np.full((2, 2), np.nan, np.float32), "auto", "not finite"),
        (np.full((2, 2), -1, np.float32), "auto", "negative"),
        (np.full((2, 2), -1, np.int32), "auto", "negative"),
    ],
)
def test_codings_that_do_not_fit(array: NDArray[Any], mask_format: MaskFormat, message: str) -> None:
    with pytest.raises(MaskError, match=message):
        decode_mask(encode_array(array, "TIFF"), format=mask_format)


def test_colour_palette_is_no_binary_mask() -> None:
    with pytest.raises(MaskError, match="colours"):
        decode_mask(encode(palette_image(OBJECT + np.eye(3, 4, dtype=np.uint8), VOC_COLOURS)), format="binary")


# --- codings in use elsewhere


DISC = ((np.mgrid[:40, :60][0] - 20) ** 2 + (np.mgrid[:40, :60][1] - 25) ** 2 < 150).astype(np.uint8)
RING = ((np.mgrid[:40, :60][0] - 20) ** 2 + (np.mgrid[:40, :60][1] - 25) ** 2 < 200).astype(np.uint8) - DISC


@pytest.mark.parametrize(
    ("indices", "colours"),
    [
        (DISC, [(255, 255, 255), (0, 0, 0)]),
        (DISC, [(255, 255, 255), (0, 0, 0), (9, 9, 9), (0, 128, 0)]),
        (DISC, [(255, 0, 0), (0, 0, 0)]),
        (DISC * 3, [(255, 0, 0), (7, 7, 7), (8, 8, 8), (0, 0, 0)]),
    ],
)
def test_palettes_whose_colours_say_what_is_the_object(
    indices: NDArray[np.uint8], colours: list[tuple[int, int, int]]
) -> None:
    assert_object(decode_mask(encode(palette_image(indices, colours))), 1 - DISC)


def test_palettes_of_colours_that_say_nothing() -> None:
    picture = palette_image(np.arange(12, dtype=np.uint8).reshape(3, 4), VOC_COLOURS[20:32])
    with pytest.raises(MaskError, match="--mask-format voc"):
        decode_mask(encode(picture))
    assert decode_mask(encode(picture), format="voc").foreground.sum() == 11
    np.testing.assert_array_equal(decode_mask(encode(picture), format="ids").foreground.ravel(), [False] + [True] * 11)


@pytest.mark.parametrize("colour", [(255, 255, 255), (128, 0, 0), (0, 255, 0)])
def test_black_and_one_colour(colour: tuple[int, int, int]) -> None:
    assert_object(decode_mask(encode_array(DISC[..., None] * np.array(colour, np.uint8))), DISC)


def test_cut_outs_are_masks_by_their_alpha() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)
    cut_out = np.dstack([picture, DISC * np.uint8(255)])
    assert_object(decode_mask(encode_array(cut_out)), DISC)
    assert_object(decode_mask(encode_array(cut_out, "WEBP", lossless=True)), DISC)
    assert_object(decode_mask(encode(Image.fromarray(cut_out).quantize(64))), DISC)
    silhouette = np.dstack([np.zeros_like(DISC), DISC * np.uint8(255)])
    assert_object(decode_mask(encode_array(silhouette)), DISC)
    for alpha in (0, 255):  # says nothing
        black_and_white = np.dstack([DISC * np.uint8(255)] * 3 + [np.full_like(DISC, alpha)])
        assert_object(decode_mask(encode_array(black_and_white)), DISC)
    with pytest.raises(MaskError, match="colours"):
        decode_mask(encode_array(np.dstack([picture, np.full_like(DISC, 255)])))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("white", [1, 255, 65535])
def test_floating_point_masks(dtype: type, white: float) -> None:
    data = io.BytesIO()
    tifffile.imwrite(data, DISC.astype(dtype) * dtype(white))
    assert_object(decode_mask(data.getvalue()), DISC)
    soft = (DISC * 0.9 + RING * 0.4).astype(np.float32)
    with pytest.raises(MaskError, match="--mask-format binary"):
        decode_mask(encode_array(soft, "TIFF"))
    assert_object(decode_mask(encode_array(soft, "TIFF"), format="binary"), DISC)


@pytest.mark.parametrize("ids", [(300,), (1, 2, 900), (2, 3), (26001, 26002)])
@pytest.mark.parametrize("dtype", [np.uint16, np.int32])
def test_instance_ids_in_16_bits(ids: tuple[int, ...], dtype: type) -> None:
    array: NDArray[Any] = np.zeros((40, 60), dtype)
    for index, number in enumerate(ids):
        array[10:30, 10 * index + 5 : 10 * index + 14] = number
    for mask_format in ("auto", "ids"):
        data = encode_array(array, "TIFF" if dtype == np.int32 else "PNG")
        assert_object(decode_mask(data, format=mask_format), array > 0)


def test_a_grey_ramp_is_no_ids() -> None:
    ramp = np.arange(2400, dtype=np.uint16).reshape(40, 60) * 27
    with pytest.raises(MaskError, match=r"between black and white .* --mask-format ids"):
        decode_mask(encode_array(ramp))
    assert decode_mask(encode_array(ramp), format="binary").foreground.sum() == (ramp > 127 * 257).sum()
    assert decode_mask(encode_array(ramp), format="ids").foreground.sum() == 2399


@pytest.mark.parametrize("index", [2, 5, 7, 15, 20, 182])
@pytest.mark.parametrize("void", [True, False])
@pytest.mark.parametrize("channels", [1, 3])
def test_class_indices_in_grey_are_not_guessed(index: int, void: bool, channels: int) -> None:
    """The index masks of VOC and its kin, saved without their palette: only the void would be bright."""
    indices = DISC * np.uint8(index) + RING * np.uint8(255 * void)
    array = indices if channels == 1 else np.repeat(indices[..., None], 3, 2)
    with pytest.raises(MaskError, match=rf"such as {index} of 255.*--mask-format voc"):
        decode_mask(encode_array(array))
    if channels == 1:
        mask = decode_mask(encode_array(array), format="voc")
        np.testing.assert_array_equal(mask.foreground, DISC > 0)
        np.testing.assert_array_equal(mask.valid, (RING == 0) if void else np.ones_like(DISC, bool))


def test_smoothed_and_compressed_masks_are_still_black_and_white() -> None:
    large = np.asarray(Image.fromarray(DISC * np.uint8(255)).resize((240, 160), Image.Resampling.NEAREST))
    smooth = np.asarray(Image.fromarray(large).resize((60, 40), Image.Resampling.LANCZOS))
    for quality in (20, 60, 95):
        resaved = Image.open(io.BytesIO(encode_array(large, "JPEG", quality=quality)))
        found = decode_mask(encode(resaved)).foreground
        assert (found == (large > 127)).mean() > 0.995
    assert (decode_mask(encode_array(smooth)).foreground == (DISC > 0)).mean() > 0.97
    off = np.where(DISC, 252, 3).astype(np.uint8)
    assert_object(decode_mask(encode_array(off)), DISC)


def test_soft_masks_are_read_on_request() -> None:
    soft = (DISC * 200 + RING * 100).astype(np.uint8)  # levels of agreement, as in PASCAL-S
    with pytest.raises(MaskError, match="--mask-format binary"):
        decode_mask(encode_array(soft))
    assert_object(decode_mask(encode_array(soft), format="binary"), DISC)


def test_masks_of_other_formats_and_with_lost_ends() -> None:
    for data in (
        encode_array(DISC * np.uint8(255), "JPEG2000"),
        encode_array(np.repeat(DISC[..., None] * np.uint8(255), 3, 2), "AVIF", quality=95),
        encode_array(DISC * np.uint8(255), "JPEG", quality=95)[:-2],
        jpeg_xl(DISC * np.uint8(255), lossless=True),
    ):
        assert (decode_mask(data).foreground == (DISC > 0)).mean() > 0.99


# --- damaged and oversized files


def test_too_many_pixels() -> None:
    data = encode_array(BRIGHT)
    assert_object(decode_mask(data, max_pixels=12))
    with pytest.raises(MaskError, match="12 pixels, more than the limit of 11"):
        decode_mask(data, max_pixels=11)


def test_file_without_pixels() -> None:
    content = bytearray(encode_array(BRIGHT, "GIF"))
    content[6:10] = bytes(4)  # the screen's width and height
    image = content.index(b",")
    content[image + 5 : image + 9] = bytes(4)
    with pytest.raises(MaskError, match="cannot be decoded: not identified"):
        decode_mask(bytes(content))


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [10_500, 60_000])
def test_bombs_are_refused_by_their_header(side: int) -> None:
    header = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    png += struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    with pytest.raises(MaskError, match="pixels"):
        decode_mask(png)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow reports damaged tags
@pytest.mark.parametrize("data", [b"", b"no image", encode_array(BRIGHT)[:50], encode_array(BRIGHT, "TIFF")[:60]])
def test_damaged_data(data: bytes) -> None:
    with pytest.raises(MaskError, match="cannot be decoded"):
        decode_mask(data)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow reports damaged tags
@settings(max_examples=300, deadline=None)
@given(st.data())
def test_flipped_bytes_give_a_mask_or_a_mask_error(data: st.DataObject) -> None:
    file_format = data.draw(st.sampled_from(["PNG", "BMP", "GIF", "TIFF", "JPEG", "PPM"]))
    content = bytearray(encode_array(BRIGHT, file_format, **({"exif": exif(6)} if file_format == "PNG" else {})))
    for position in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=4)):
        content[position] = data.draw(st.integers(0, 255))
    try:
        mask = decode_mask(bytes(content), max_pixels=10_000)
    except MaskError:
        return
    assert mask.foreground.size <= 10_000


# --- EXIF orientation


def transposed(foreground: NDArray[np.bool_], orientation: int) -> NDArray[np.bool_]:
    """What Pillow makes of an image with this orientation."""
    image = Image.fromarray(foreground * np.uint8(255))
    image.getexif()[ORIENTATION_TAG] = orientation
    return np.asarray(ImageOps.exif_transpose(image)) > 0


@settings(deadline=None)
@given(
    hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, max_side=5)),
    hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, max_side=5)),
    st.integers(1, 8),
)
def test_orientation_as_pillow_applies_it(
    first: NDArray[np.bool_], second: NDArray[np.bool_], orientation: int
) -> None:
    valid = np.resize(second, first.shape)
    mask = orient_mask(Mask(first, valid), orientation)
    np.testing.assert_array_equal(mask.foreground, transposed(first, orientation))
    np.testing.assert_array_equal(mask.valid, transposed(valid, orientation))
    # 6 and 8 undo each other; every other orientation undoes itself
    back = orient_mask(mask, {6: 8, 8: 6}.get(orientation, orientation))
    np.testing.assert_array_equal(back.foreground, first)


@pytest.mark.parametrize("orientation", [0, 9, -1])
def test_unknown_orientation(orientation: int) -> None:
    with pytest.raises(MaskError, match=r"1\.\.8"):
        orient_mask(whole(OBJECT.astype(bool)), orientation)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_orientation_of_the_mask_file_itself(orientation: int, file_format: str) -> None:
    mask = decode_mask(encode_array(BRIGHT, file_format, exif=exif(orientation)))
    assert_object(mask, transposed(OBJECT.astype(bool), orientation))
    assert mask.upright == (orientation != 1)


def test_orientation_of_a_palette_mask() -> None:
    data = encode(palette_image(np.array([[0, 3, 255]], np.uint8), VOC_COLOURS), exif=exif(6))
    mask = decode_mask(data)
    np.testing.assert_array_equal(mask.foreground, [[False], [True], [False]])
    np.testing.assert_array_equal(mask.valid, [[True], [True], [False]])


# --- matching with the image


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("drawn_on", ["stored", "displayed"])
def test_masks_drawn_in_either_geometry_match(orientation: int, drawn_on: Literal["stored", "displayed"]) -> None:
    stored = OBJECT.astype(bool)
    displayed = transposed(stored, orientation)
    mask = whole(stored if drawn_on == "stored" else displayed)
    sizes: Any = (stored.shape, displayed.shape, orientation)
    matched = match_mask(mask, *sizes, orientation_of_ambiguous=drawn_on)
    np.testing.assert_array_equal(matched.foreground, displayed)
    if orientation >= 5:  # a quarter turn of an oblong: the size tells
        np.testing.assert_array_equal(match_mask(mask, *sizes).foreground, displayed)


def test_ambiguous_masks_follow_the_stored_pixels() -> None:
    square = np.array([[True, False], [False, False]])
    for orientation in range(2, 9):
        matched = match_mask(whole(square), (2, 2), (2, 2), orientation)
        np.testing.assert_array_equal(matched.foreground, transposed(square, orientation))


def test_upright_masks_are_as_displayed() -> None:
    mask = decode_mask(encode_array(BRIGHT, exif=exif(3)))
    assert match_mask(mask, (3, 4), (3, 4), 3) is mask
    turned = decode_mask(encode_array(BRIGHT, exif=exif(6)))
    assert match_mask(turned, (3, 4), (4, 3), 6) is turned
    with pytest.raises(MaskError, match="after its own EXIF orientation"):
        match_mask(turned, (4, 3), (3, 4), 6)


def test_mask_of_another_size() -> None:
    with pytest.raises(MaskError, match=r"3 x 4 .* 6 x 8;"):
        match_mask(whole(OBJECT.astype(bool)), (6, 8), (6, 8), 1)
    with pytest.raises(MaskError, match=r"3 x 4 .* 8 x 6 as displayed and 6 x 8 as stored"):
        match_mask(whole(OBJECT.astype(bool)), (6, 8), (8, 6), 6)
    with pytest.raises(ValueError, match="cannot be displayed"):
        match_mask(whole(OBJECT.astype(bool)), (3, 4), (3, 4), 6)


# --- resizing


@settings(deadline=None)
@given(
    hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, max_side=6)),
    st.integers(1, 9),
    st.integers(1, 9),
)
def test_resize_takes_the_pixel_under_the_centre(foreground: NDArray[np.bool_], height: int, width: int) -> None:
    mask = Mask(foreground, ~foreground)
    resized = resize_mask(mask, height, width)
    assert resized.shape == (height, width)
    for row, column in np.ndindex(height, width):
        source = (
            int((row + 0.5) * foreground.shape[0] / height),
            int((column + 0.5) * foreground.shape[1] / width),
        )
        assert resized.foreground[row, column] == foreground[source]
    np.testing.assert_array_equal(resized.valid, ~resized.foreground)


def test_resize_as_pillow_does() -> None:
    foreground = np.random.default_rng(0).random((61, 83)) > 0.5
    expected = Image.fromarray(foreground * np.uint8(255)).resize((40, 120), Image.Resampling.NEAREST)
    np.testing.assert_array_equal(resize_mask(whole(foreground), 120, 40).foreground, np.asarray(expected) > 0)


def test_resize_to_nothing() -> None:
    with pytest.raises(MaskError, match="0 x 3"):
        resize_mask(whole(OBJECT.astype(bool)), 0, 3)


def test_parts_of_a_mask_have_one_shape() -> None:
    with pytest.raises(MaskError, match="one shape"):
        Mask(np.zeros((2, 3), bool), np.ones((3, 2), bool))


# --- real masks


@pytest.mark.real_data
@pytest.mark.parametrize("folder", ["SegmentationClass", "SegmentationObject"])
def test_voc_masks(real_data: Path, folder: str) -> None:
    root = real_data / "leeds_voc"
    names = (root / "ImageSets" / "Segmentation" / "val.txt").read_text().split()
    assert len(names) == 160
    for name in names:
        file = root / folder / f"{name}.png"
        mask = decode_mask(file.read_bytes())
        indices = np.asarray(Image.open(file))
        np.testing.assert_array_equal(mask.foreground, (indices > 0) & (indices < 255))
        np.testing.assert_array_equal(mask.valid, indices != 255)
        assert mask.foreground.any()
        assert not mask.valid.all()
        with Image.open(root / "JPEGImages" / f"{name}.jpg") as image:
            size = image.height, image.width
        assert match_mask(mask, size, size, 1).foreground is mask.foreground


@pytest.mark.real_data
def test_ecssd_masks(real_data: Path) -> None:
    for file in sorted((real_data / "ecssd" / "ground_truth_mask").glob("*.png"))[::10]:
        mask = decode_mask(file.read_bytes())
        np.testing.assert_array_equal(mask.foreground, np.asarray(Image.open(file)) > 127)
        assert mask.valid.all()
