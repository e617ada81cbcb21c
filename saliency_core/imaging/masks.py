"""Ground-truth masks: decoding the codings in use, and bringing a mask into the geometry of its image."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from saliency_core.errors import SaliencyError
from saliency_core.imaging.options import MaskFormat

BoolArray = NDArray[np.bool_]

VOID_INDEX = 255
MAX_PIXELS = 100_000_000

_FILE_FORMATS = ("PNG", "BMP", "GIF", "JPEG", "TIFF", "WEBP", "PPM")
# Lossy compression moves the channels of a black-and-white image apart by a few levels, colours by far more.
_GREY_TOLERANCE = 32


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
        PNG, BMP, GIF, JPEG, TIFF, WebP or PPM file; of several frames the first is taken.
    format
        How values are read:

        "auto"
            A palette image with a colour in its palette is read as "voc", anything else as "binary".
        "binary"
            Brightness decides. If the largest value is at most 1 the mask is coded 0/1 and every 1 is
            foreground; else it is coded 0/255 and every value above 127 is foreground. A 16-bit mask is
            scaled to 0..255 first, unless its values all fit into 8 bits. Pixels that an alpha channel makes
            transparent are background.
        "voc"
            Pascal VOC's indices, in a palette image or in a greyscale one: 0 is background, 1..254 are
            foreground, 255 is void.
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
    >>> file = io.BytesIO()
    >>> Image.fromarray(np.array([[0, 200, 255]], np.uint8)).save(file, "PNG")
    >>> decode_mask(file.getvalue()).foreground
    array([[False,  True,  True]])
    >>> voc = decode_mask(file.getvalue(), format="voc")
    >>> voc.foreground, voc.valid
    (array([[False,  True, False]]), array([[ True,  True, False]]))
    """
    image, upright = _load(data, max_pixels)
    if format == "voc" or (format == "auto" and image.mode == "P" and not _has_grey_palette(image)):
        if image.mode not in ("P", "L", "1"):
            raise MaskError(f"a VOC mask must be a palette or greyscale image, but this one has mode {image.mode}")
        indices = np.asarray(image)
        valid = indices != VOID_INDEX
        return Mask((indices > 0) & valid, valid, upright)
    foreground = _bright(image)
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
        image = Image.open(io.BytesIO(data), formats=_FILE_FORMATS)
        width, height = image.size
        if width * height <= max_pixels:
            orientation = image.getexif().get(ExifTags.Base.Orientation)
            image.load()
            return ImageOps.exif_transpose(image), orientation in range(2, 9)
    except UnidentifiedImageError as error:
        raise MaskError(f"the mask cannot be decoded: it is no {', '.join(_FILE_FORMATS)} file") from error
    except Image.DecompressionBombError as error:
        raise MaskError("the mask has too many pixels to be decoded safely") from error
    except Exception as error:  # damaged bytes make Pillow raise nearly anything, MemoryError too
        raise MaskError(f"the mask cannot be decoded: {str(error) or type(error).__name__}") from error
    raise MaskError(f"the mask has {width * height} pixels, more than the {max_pixels} allowed")


def _has_grey_palette(image: Image.Image) -> bool:
    palette = np.asarray(image.getpalette("RGB")).reshape(-1, 3)
    return bool((palette == palette[:, :1]).all())


def _bright(image: Image.Image) -> BoolArray:
    """Foreground of a mask that is coded by brightness."""
    if image.mode == "1":
        return np.array(image)
    if image.mode == "L" or image.mode.startswith("I"):
        return _above_half(np.asarray(image))
    if image.mode not in ("P", "LA", "RGB", "RGBA"):
        raise MaskError(f"a mask must be a greyscale, RGB or palette image, but this one has mode {image.mode}")
    channels = np.asarray(image.convert("RGBA"))
    colours, alpha = channels[..., :3], channels[..., 3]
    if np.ptp(colours, axis=-1).max() > _GREY_TOLERANCE:
        raise MaskError(
            "the mask has colours where black and white were expected; if they stand for classes, give the "
            "palette image with the class indices"
        )
    return _above_half(colours[..., 0]) & _above_half(alpha)


def _above_half(values: NDArray[Any]) -> BoolArray:
    largest = values.max()
    if largest <= 1:
        return values > 0
    # 65535 = 257 * 255, so a 16-bit value above 127 * 257 is one above 127 on the scale of 8 bits.
    return values > (127 if largest <= 255 else 127 * 257)


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
