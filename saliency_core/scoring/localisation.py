"""Localisation scores: does the box of what is salient hit the object, does the map's maximum lie in it.

Boxes are ``(top, left, bottom, right)`` in pixels, bottom and right exclusive.

References
----------
Choe, Oh, Lee, Chun, Akata, Shim, "Evaluating Weakly Supervised Object Localization Methods Right", CVPR 2020
(MaxBoxAcc and MaxBoxAccV2). Zhang, Lin, Brandt, Shen, Sclaroff, "Top-down Neural Attention by Excitation Backprop",
ECCV 2016 (pointing game).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from saliency_core.errors import ArgumentError
from saliency_core.scoring.histograms import LEVELS, to_8bit

Box = tuple[int, int, int, int]

OVERLAPS = (0.3, 0.5, 0.7)
"""Intersections over union that MaxBoxAccV2 averages over; the first version asks for the middle one."""


def largest_box(map_8bit: NDArray[np.uint8], level: int) -> Box | None:
    """Return the box of the largest 8-connected part of a map.

    Parameters
    ----------
    map_8bit : uint8 array (H, W)
    level : int
        Pixels of this value and above count.

    Returns
    -------
    tuple of int or None
        (top, left, bottom, right), of the first one in reading order where several are largest; None where no pixel
        counts.

    Examples
    --------
    >>> largest_box(np.array([[9, 0, 0, 9], [0, 0, 9, 9]], np.uint8), 5)
    (0, 2, 2, 4)
    """
    count, _, statistics, _ = cv2.connectedComponentsWithStats((map_8bit >= level).astype(np.uint8), connectivity=8)
    if count == 1:
        return None
    left, top, width, height, _ = statistics[1 + int(statistics[1:, cv2.CC_STAT_AREA].argmax())].tolist()
    return top, left, top + height, left + width


def box_iou(one: Box, other: Box) -> float:
    """Return the intersection over union of two boxes.

    Examples
    --------
    >>> box_iou((0, 0, 2, 2), (0, 1, 2, 3))
    0.3333333333333333
    """
    height = min(one[2], other[2]) - max(one[0], other[0])
    width = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(height, 0) * max(width, 0)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return shared / (areas - shared)


@dataclass(frozen=True)
class LocalisationFigures:
    """Localisation scores of a set of images; every figure is NaN without an image.

    Parameters
    ----------
    images : int
    max_box_accuracy : float
        MaxBoxAcc: the largest share over thresholds of images whose box overlaps a true one by 0.5 and more, the class
        given (GT-known localisation at the best threshold of the set).
    threshold : int
        Where that is: a level of the 8-bit map, the lowest if there are several.
    max_box_accuracy_v2 : float
        MaxBoxAccV2: the mean over overlaps of 0.3, 0.5 and 0.7 of each one's largest share.
    top_1 : float
        Share of images whose class is right and whose box, at that threshold, overlaps by 0.5.
    pointing : float
        Pointing game: share of images whose map has its maximum in the object.
    """

    images: int
    max_box_accuracy: float
    threshold: int
    max_box_accuracy_v2: float
    top_1: float
    pointing: float


def _zero_hits() -> NDArray[np.int64]:
    return np.zeros((len(OVERLAPS), LEVELS), np.int64)


@dataclass(eq=False)
class Localisation:
    """Running counts over maps and true boxes.

    Examples
    --------
    >>> map_ = np.zeros((20, 30))
    >>> map_[5:15, 5:20] = 1
    >>> counts = Localisation()
    >>> counts.add(map_, [(5, 5, 15, 22)])
    >>> figures = counts.scores()
    >>> figures.max_box_accuracy, figures.threshold, figures.pointing
    (1.0, 1, 1.0)
    """

    images: int = 0
    pointed: int = 0
    hits: NDArray[np.int64] = field(default_factory=_zero_hits)
    hits_of_right_class: NDArray[np.int64] = field(default_factory=_zero_hits)

    def add(
        self,
        saliency_map: NDArray[Any],
        boxes: Sequence[Box],
        *,
        mask: NDArray[np.bool_] | None = None,
        is_class_right: bool = True,
    ) -> None:
        """Add an image, or one class of an image.

        Parameters
        ----------
        saliency_map : real array (H, W)
        boxes : sequence of (top, left, bottom, right)
            Of every instance of the class; one that is hit suffices.
        mask : bool array (H, W), optional
            The object itself, for the pointing game. Default: the insides of the boxes.
        is_class_right : bool
            Whether the network recognised the class, for the top-1 score.

        Raises
        ------
        ArgumentError
            If the map, a box or the mask cannot be used.
        """
        levels = to_8bit(np.asarray(saliency_map))
        checked = [_box(box, levels.shape) for box in boxes]
        if not checked:
            raise ArgumentError("an image needs one true box at least")
        inside = _insides(checked, levels.shape) if mask is None else np.asarray(mask)
        if inside.dtype != np.bool_ or inside.shape != levels.shape:
            raise ArgumentError(f"the mask must be a bool array {levels.shape}, not {inside.dtype} {inside.shape}")
        overlaps = np.zeros(LEVELS)
        present = np.unique(levels)
        last = 0
        for level in present.tolist():  # between two values of the map nothing changes
            box = largest_box(levels, level)
            assert box is not None
            overlaps[last : level + 1] = max(box_iou(box, true) for true in checked)
            last = level + 1
        found = overlaps[None] >= np.array(OVERLAPS)[:, None]
        self.images += 1
        # Not in place: arrays that came from another process may be read-only.
        self.hits = self.hits + found
        self.hits_of_right_class = self.hits_of_right_class + (found & is_class_right)
        self.pointed += bool(inside[np.unravel_index(int(levels.argmax()), levels.shape)])

    def merge(self, other: "Localisation") -> None:
        """Take over the images of another one, which stays as it is."""
        self.images += other.images
        self.pointed += other.pointed
        self.hits = self.hits + other.hits
        self.hits_of_right_class = self.hits_of_right_class + other.hits_of_right_class

    def scores(self) -> LocalisationFigures:
        """Compute the scores of the images added so far."""
        count = self.images or np.nan
        middle = OVERLAPS.index(0.5)
        threshold = int(self.hits[middle].argmax())
        return LocalisationFigures(
            images=self.images,
            max_box_accuracy=float(self.hits[middle, threshold] / count),
            threshold=threshold,
            max_box_accuracy_v2=float(self.hits.max(axis=1).mean() / count),
            top_1=float(self.hits_of_right_class[middle, threshold] / count),
            pointing=self.pointed / count,
        )


def _box(box: Box, shape: tuple[int, ...]) -> Box:
    try:
        top, left, bottom, right = (int(value) for value in box)
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"a box must be (top, left, bottom, right) in pixels, not {box!r}") from error
    if not (0 <= top < bottom <= shape[0] and 0 <= left < right <= shape[1]):
        raise ArgumentError(f"the box {(top, left, bottom, right)} does not lie in an image of {shape[0]} x {shape[1]}")
    return top, left, bottom, right


def _insides(boxes: Sequence[Box], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    inside = np.zeros(shape, bool)
    for top, left, bottom, right in boxes:
        inside[top:bottom, left:right] = True
    return inside
