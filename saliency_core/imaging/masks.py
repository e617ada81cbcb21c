"""Ground-truth masks: decoding the codings in use, and bringing a mask into the geometry of its image."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from saliency_core.errors import SaliencyError
from saliency_core.imaging.formats import open_format, sniff_format
from saliency_core.imaging.guards import DecodeError, TooLargeError, decoder_errors, pillow_warnings_ignored
from saliency_core.imaging.mask_values import (
    GREY_TOLERANCE,
    ids_to_foreground,
    palette_to_foreground,
    values_to_foreground,
)
from saliency_core.imaging.options import VOID_INDEX, MaskFormat
from saliency_core.imaging.orientation import exif_orientation, is_turned_by_decoder, turned
from saliency_core.imaging.repairs import REPAIRS
from saliency_core.imaging.tiff import read_grey_values
from saliency_core.imaging.truncation import salvage_jpeg

BoolArray = NDArray[np.bool_]

MAX_PIXELS = 100_000_000


class MaskError(SaliencyError, ValueError):
    """A mask cannot be read, or does not fit its image."""


@dataclass(frozen=True, eq=False)
class Mask:
    """A salient-object mask.

    Attributes
    ----------
    foreground
        bool array (H, W), True on the object; always False on void pixels.
    valid
        bool array (H, W), False on void pixels, which every score leaves out.
    upright
        True if the mask file carried an EXIF orientation of its own, which decoding has applied: the mask
        then has the geometry in which the image is displayed.
    """

    foreground: BoolArray
    valid: BoolArray
    upright: bool = False

    def __post_init__(self) -> None:
        if self.foreground.ndim != 2 or self.foreground.shape != self.valid.shape:
            raise MaskError(
                f"foreground and valid must have one shape (H, W), but they have {self.foreground.shape} and "
                f"{self.valid.shape}"
            )

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        height, width = self.foreground.shape
        return height, width


def decode_mask(data: bytes, *, format: MaskFormat = "auto", max_pixels: int = MAX_PIXELS) -> Mask:
    """Decode the bytes of a mask file.

    Parameters
    ----------
    data
        A file of one of the formats of images; of several frames the first is taken.
    format
        How values are read:

        "auto"
            Found out: a palette of classes (it begins with black and has more than two colours) as "voc", ids in more
            than 8 bits as "ids", anything else as "binary", if it is black and white. What cannot be told is an error
            that names the formats below.
        "binary"
            Brightness decides. If the largest value is at most 1 the mask is coded 0/1 and every 1 (of fractions what
            is above one half) is foreground; else it is coded 0/255, or in more than 8 bits 0/65535, and every value
            above half is foreground: also the way to read soft masks. Black and one colour are black and white.
            Where an alpha channel is not constant it is the mask, as in cut-outs, unless the colours are
            black and white: then what is transparent is background.
        "voc"
            Pascal VOC's indices, in a palette image or in a greyscale one: 0 is background, 255 is void, all others
            are foreground.
        "ids"
            Every value but 0 is foreground: ids of instances or segments, in 8 bits or more.
    max_pixels
        Largest number of pixels accepted. It is checked against the header before anything is decoded.

    Returns
    -------
    The mask, with an EXIF orientation of the mask file itself (2..8) applied.

    Raises
    ------
    MaskError
        If the data is no such image, is damaged or too large, or its coding does not fit `format`: colours in
        a mask to be read by brightness (class colours would be misread silently), or no indices for "voc".

    Examples
    --------
    >>> import io
    >>> file = io.BytesIO()
    >>> Image.fromarray(np.array([[0, 200, 255]], np.uint8)).save(file, "PNG")
    >>> decode_mask(file.getvalue(), format="binary").foreground
    array([[False,  True,  True]])
    >>> voc = decode_mask(file.getvalue(), format="voc")
    >>> voc.foreground, voc.valid
    (array([[False,  True, False]]), array([[ True,  True, False]]))
    """
    image, upright = _load(data, max_pixels)
    try:
        if format == "voc" or (format == "auto" and _has_classes(image)):
            return _indexed(image, upright)
        foreground = _foreground(image, format)
    except MaskError:
        raise
    except ValueError as error:
        raise MaskError(str(error)) from error
    return Mask(foreground, np.ones_like(foreground), upright)


def resize_mask(mask: Mask, height: int, width: int) -> Mask:
    """Resize a mask to (height, width), each pixel taking the value of the nearest one.

    Parameters
    ----------
    mask
        Mask (H, W).
    height, width
        New size in pixels, at least 1.

    Returns
    -------
    Mask (height, width).

    Examples
    --------
    >>> wide = Mask(np.array([[True, False]]), np.array([[True, True]]))
    >>> resize_mask(wide, 1, 4).foreground
    array([[ True,  True, False, False]])
    """
    if height < 1 or width < 1:
        raise MaskError(f"a mask cannot be resized to {height} x {width} pixels")
    # The source pixel under each new pixel's centre, in integer arithmetic.
    rows = (2 * np.arange(height) + 1) * mask.shape[0] // (2 * height)
    columns = (2 * np.arange(width) + 1) * mask.shape[1] // (2 * width)
    nearest = np.ix_(rows, columns)
    return Mask(mask.foreground[nearest], mask.valid[nearest], mask.upright)


def orient_mask(mask: Mask, orientation: int) -> Mask:
    """Turn a mask from stored to displayed geometry by an EXIF orientation.

    Parameters
    ----------
    mask
        Mask (H, W) in the geometry of the stored pixels.
    orientation
        Value 1..8 of the image's EXIF tag 0x0112.

    Returns
    -------
    Mask (H, W) for 1..4, (W, H) for 5..8.

    Raises
    ------
    MaskError
        If the orientation is not one of 1..8.

    References
    ----------
    CIPA DC-008 (Exif 2.32), tag Orientation.

    Examples
    --------
    >>> row = Mask(np.array([[True, False, False]]), np.ones((1, 3), bool))
    >>> orient_mask(row, 8).foreground.ravel()
    array([False, False,  True])
    """
    return Mask(_orient(mask.foreground, orientation), _orient(mask.valid, orientation), mask.upright)


def match_mask(
    mask: Mask,
    stored_size: tuple[int, int],
    displayed_size: tuple[int, int],
    orientation: int,
    *,
    orientation_of_ambiguous: Literal["stored", "displayed"] = "stored",
) -> Mask:
    """Bring a mask into the geometry in which its image is displayed.

    A photograph with an EXIF orientation has two geometries, that of the pixels in the file and that on the
    screen, and a mask may have been drawn in either. The sizes tell which where they can. Where both fit
    (half turns, mirror images, squares) `orientation_of_ambiguous` decides.

    Parameters
    ----------
    mask
        The mask as `decode_mask` returned it.
    stored_size, displayed_size
        (height, width) of the image before and after its EXIF orientation is applied.
    orientation
        EXIF orientation 1..8 of the image; 1 if it has none.
    orientation_of_ambiguous
        Geometry assumed for a mask that fits both: "stored", for labels drawn on raw arrays, or "displayed".
        A mask with an EXIF orientation of its own (`Mask.upright`) is never ambiguous: it is as displayed.

    Returns
    -------
    Mask of `displayed_size`.

    Raises
    ------
    MaskError
        If the mask fits neither geometry.
    ValueError
        If the two sizes contradict the orientation.
    """
    if displayed_size != (stored_size[::-1] if orientation >= 5 else stored_size):
        raise ValueError(
            f"an image stored as {_size(stored_size)} with EXIF orientation {orientation} cannot be "
            f"displayed as {_size(displayed_size)}"
        )
    fits_stored = mask.shape == stored_size and not mask.upright
    fits_displayed = mask.shape == displayed_size
    if fits_stored and not (fits_displayed and orientation_of_ambiguous == "displayed"):
        return orient_mask(mask, orientation)
    if fits_displayed:
        return mask
    sizes = _size(displayed_size)
    if stored_size != displayed_size:
        sizes += f" as displayed and {_size(stored_size)} as stored"
    turned = " after its own EXIF orientation" if mask.upright else ""
    raise MaskError(
        f"the mask has {_size(mask.shape)} pixels (height x width){turned}, but its image has {sizes}; "
        "give a mask of the image's size"
    )


def _load(data: bytes, max_pixels: int) -> tuple[Image.Image, bool]:
    """Decode a file: the image turned upright, and whether it had to be turned."""
    try:
        format_name = sniff_format(data)
        with pillow_warnings_ignored(), decoder_errors(format_name):
            if format_name in REPAIRS:
                data = REPAIRS[format_name](data)
            if format_name == "TIFF" and (grey := read_grey_values(data, max_pixels)) is not None:
                return turned(_image_of_values(grey[0]), grey[1]), grey[1] != 1
            image: Image.Image = open_format(format_name, data, max_pixels)
            # Pillow turns a TIFF as it loads it, and takes the tag away; what others have turned says so no more.
            orientation = exif_orientation(image)
            try:
                image.load()
            except OSError:
                salvage = salvage_jpeg(data, None) if format_name == "JPEG" else None
                if salvage is None or not salvage.is_whole:
                    raise
                image = open_format(format_name, salvage.content, max_pixels)
                image.load()
            if format_name == "TIFF":
                _require_plain(image)
                return image, orientation != 1
            if is_turned_by_decoder(format_name, image):
                return image, False  # whether it had to is not known
            return turned(image, orientation), orientation != 1
    except TooLargeError as error:
        raise MaskError(f"the mask has too many pixels: {error}") from error
    except DecodeError as error:
        reason = re.sub(r"^The [\w ]+ file cannot be decoded: ", "", str(error))
        raise MaskError(f"the mask cannot be decoded: {reason}") from error


def _image_of_values(values: NDArray[Any]) -> Image.Image:
    """Return an image of mode F, I;16 or I."""
    if values.dtype.kind == "f":
        return Image.fromarray(values.astype(np.float32))
    if values.dtype.kind == "u" and values.dtype.itemsize == 2:
        return Image.fromarray(values.astype(np.uint16))
    if values.dtype.kind not in "iu":
        raise DecodeError(f"{values.dtype} values are not supported")
    return Image.fromarray(np.clip(values, -1, 2**31 - 1).astype(np.int32))


def _require_plain(image: Image.Image) -> None:
    """Raise DecodeError for a TIFF whose numbers Pillow misreads (see `saliency_core.imaging.tiff`)."""
    tags: Any = getattr(image, "tag_v2", {})
    is_packed = tags.get(259, 1) != 1
    is_big = getattr(tags, "prefix", b"II") == b"MM"
    if is_packed and (image.mode == "I" or (image.mode == "F" and is_big)):
        raise DecodeError("it holds compressed numbers of an unsupported kind; save it uncompressed")


def _indexed(image: Image.Image, upright: bool) -> Mask:
    if image.mode not in ("P", "L", "1") and not image.mode.startswith("I"):
        raise MaskError(f"a VOC mask must be a palette or greyscale image, but this one has mode {image.mode}")
    indices = np.asarray(image)
    if indices.max() > VOID_INDEX:
        raise MaskError(f"a VOC mask has indices up to 255, but this one has {indices.max()}: give --mask-format ids")
    valid = indices != VOID_INDEX
    return Mask((indices > 0) & valid, valid, upright)


def _has_classes(image: Image.Image) -> bool:
    """Say whether a mask is an image with a palette of classes; what has transparent colours is a cut-out."""
    return image.mode == "P" and not image.has_transparency_data and palette_to_foreground(image) is None


def _foreground(image: Image.Image, format: MaskFormat) -> BoolArray:
    """Foreground of a mask that has no void pixels."""
    if image.mode == "1":
        return np.array(image)
    if image.mode in ("L", "F", "P") or image.mode.startswith("I"):
        if format == "ids":
            return ids_to_foreground(np.asarray(image))
        if image.mode != "P":
            return values_to_foreground(np.asarray(image), strict=format == "auto")
        if not image.has_transparency_data and (foreground := palette_to_foreground(image)) is not None:
            return foreground
    if image.mode not in ("P", "LA", "RGB", "RGBA") or format == "ids":
        raise MaskError(f"a mask must be a greyscale, RGB or palette image, but this one has mode {image.mode}")
    channels = np.asarray(image.convert("RGBA"))
    colours, alpha = channels[..., :3], channels[..., 3]
    if alpha.min() != alpha.max():
        if _is_black_and_white(colours[alpha > 127]):
            return (colours[..., 0] > 127) & (alpha > 127)
        return np.asarray(alpha > 127)
    if np.ptp(colours, axis=-1).max() <= GREY_TOLERANCE:
        return values_to_foreground(colours[..., 0], strict=format == "auto")
    return _one_colour(colours)


def _is_black_and_white(colours: NDArray[np.uint8]) -> bool:
    """Say whether pixels (N, 3) are black and white, and both."""
    levels = colours[:, 0]
    if not len(levels) or np.ptp(colours, axis=-1).max() > GREY_TOLERANCE:
        return False
    is_black, is_white = levels <= GREY_TOLERANCE, levels >= 255 - GREY_TOLERANCE
    return bool(is_black.any() and is_white.any() and (is_black | is_white).mean() > 0.9)


def _one_colour(colours: NDArray[np.uint8]) -> BoolArray:
    """Foreground of a mask in black and one colour."""
    is_object = colours.max(-1) > GREY_TOLERANCE
    shades = colours[is_object].astype(np.int64)
    if is_object.all() or len(np.unique(shades @ [65536, 256, 1])) > 1:
        raise MaskError(
            "the mask has colours where black and white were expected; if they stand for classes, give the "
            "palette image with the class indices"
        )
    return np.asarray(is_object)


def _orient(array: BoolArray, orientation: int) -> BoolArray:
    match orientation:
        case 1:
            return array
        case 2:
            turned = array[:, ::-1]
        case 3:
            turned = array[::-1, ::-1]
        case 4:
            turned = array[::-1]
        case 5:
            turned = array.T
        case 6:
            turned = array.T[:, ::-1]
        case 7:
            turned = array[::-1, ::-1].T
        case 8:
            turned = array.T[::-1]
        case _:
            raise MaskError(f"an EXIF orientation must be one of 1..8, not {orientation}")
    return np.ascontiguousarray(turned)


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"
