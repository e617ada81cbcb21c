"""What the values of a mask mean: which of them are the object."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["GREY_TOLERANCE", "ids_to_foreground", "palette_to_foreground", "values_to_foreground"]

BoolArray = NDArray[np.bool_]
Numbers = NDArray[Any]

GREY_TOLERANCE = 32
"""Levels by which the channels of a grey pixel may differ: lossy compression moves them apart, colours are farther."""

_NEAR = 8  # levels that a white or black area may be off: resaved JPEG masks
_FEW_VALUES = 24
_VOC = "give --mask-format voc if they are class indices (0 background, 255 void)"
_IDS = "--mask-format ids if every value but 0 is the object"
_BINARY = "--mask-format binary if the mask is soft, or grey, and above half is the object"
_ADVICE = f"{_VOC}, {_IDS}, {_BINARY}"


def values_to_foreground(values: Numbers, *, strict: bool) -> BoolArray:
    """Find the object in a mask of numbers.

    If the largest value is at most 1 the mask is coded 0/1, numbers with a fraction by half. Else it is coded 0/255,
    or 0/65535 if a value is above 255, and every value above half of that is the object.

    Parameters
    ----------
    values : array (H, W)
        Of integers or floating-point numbers.
    strict : bool
        Whether the coding was guessed. Then values between black and white are an error, unless they are few, as at
        smoothed edges; in more than 8 bits they may be ids, which `ids_to_foreground` describes.

    Returns
    -------
    bool array (H, W)

    Raises
    ------
    ValueError
        If the values are negative or not finite, or are no binary mask and `strict` holds.
    """
    if values.dtype.kind == "f":
        if not np.isfinite(values).all():
            raise ValueError("the mask has values that are not finite")
        if values.max() <= 1:  # fractions
            return _bright(np.rint(values * 255).astype(np.int16), 255, strict=strict, may_be_ids=False)
        values = np.rint(np.minimum(values, 2.0**31)).astype(np.int64)
    largest = int(values.max())
    if largest <= 1:
        _require_positive(values)
        return np.asarray(values > 0)
    return _bright(values, 255 if largest <= 255 else 65535, strict=strict, may_be_ids=values.dtype.itemsize > 1)


def _bright(values: Numbers, white: int, *, strict: bool, may_be_ids: bool) -> BoolArray:
    _require_positive(values)
    if strict and (stray := _stray_values(values, white)):
        if may_be_ids and _are_ids(values):
            return ids_to_foreground(values)
        raise ValueError(f"the mask has values between black and white (such as {stray[0]} of {white}): {_ADVICE}")
    # 65535 = 257 * 255, so a 16-bit value above 127 * 257 is one above 127 on the scale of 8 bits.
    return np.asarray(values > (127 if white == 255 else 127 * 257))


def _require_positive(values: Numbers) -> None:
    if values.min() < 0:
        raise ValueError(f"the mask has negative values ({values.min()}); give one with 0 for the background")


def ids_to_foreground(values: Numbers) -> BoolArray:
    """Take every value above 0 for the object: ids of instances or segments."""
    return np.asarray(values > 0)


def _stray_values(values: Numbers, white: int) -> list[int]:
    """Return values that cannot be those of a black-and-white mask, the most frequent first.

    Smoothed edges and the noise of lossy compression are narrow: hardly a pixel there equals its neighbours. Areas of
    one value in between are classes, ids or a soft mask.
    """
    bright = int((values > white // 2).sum())
    near = _NEAR * white // 255
    distinct = np.unique(values)
    # Of few different values even those next to black are on purpose: 5 beside 0 is a class.
    lowest = 1 if distinct[0] == 0 and len(distinct) <= _FEW_VALUES else near + 1
    between = ((values >= lowest) & (values < white - near)) | (values > white)
    if not between.any():
        return []
    flat = between.copy()
    flat[:, :-1] &= values[:, 1:] == values[:, :-1]
    flat[:-1] &= values[1:] == values[:-1]
    flat[:, -1] = flat[-1] = False
    if flat.sum() * 10 <= bright and between.sum() * 2 <= bright:
        return []
    found, numbers = np.unique(values[between], return_counts=True)
    return [int(value) for value in found[np.argsort(-numbers, kind="stable")]]


def _are_ids(values: Numbers) -> bool:
    """Tell ids from a grey ramp: 0 is there, and most pixels above it have the value of their neighbours.

    255 beside other values may be void, and is not guessed.
    """
    is_object = values > 0
    if is_object.all() or (values == 255).any():
        return False
    equal = is_object.copy()
    equal[:, :-1] &= values[:, 1:] == values[:, :-1]
    equal[:-1] &= values[1:] == values[:-1]
    return bool(equal.sum() * 2 > is_object.sum())


def palette_to_foreground(image: Image.Image) -> BoolArray | None:
    """Find the object in a palette image whose colours say it.

    A grey palette is read by brightness. Of a palette that has, or of which the picture uses, black and one colour
    that colour is the object, wherever in the palette they stand.

    Parameters
    ----------
    image : PIL.Image.Image
        Of mode P.

    Returns
    -------
    bool array (H, W), or None for a palette of classes, whose indices count: it begins with black, and has more than
    two colours.

    Raises
    ------
    ValueError
        If the palette is neither.
    """
    palette = np.asarray(image.getpalette("RGB"), np.int64).reshape(-1, 3)
    indices = np.asarray(image)
    counts = np.bincount(indices.ravel(), minlength=256)
    used = np.flatnonzero(counts)
    if used.max() >= len(palette):
        palette = np.concatenate([palette, np.zeros((256 - len(palette), 3), np.int64)])
    is_grey = np.ptp(palette, axis=1) == 0
    if is_grey.all():
        return values_to_foreground(palette[indices, 0], strict=False)
    colours = np.unique(palette, axis=0)
    is_dark = palette.max(1) <= GREY_TOLERANCE
    begins_with_black = bool(is_dark[0]) and len(colours) > 2
    if begins_with_black:
        return None
    if is_grey[used].all():
        return values_to_foreground(palette[indices, 0], strict=False)
    bright = used[~is_dark[used]]
    if len(np.unique(palette[bright], axis=0)) == 1 and (len(bright) < len(used) or len(colours) == 2):
        return np.asarray(~is_dark[indices])
    raise ValueError(
        "the palette of the mask has colours, but does not begin with black for the background: "
        f"{_VOC}, whatever their colours, or {_IDS}"
    )
