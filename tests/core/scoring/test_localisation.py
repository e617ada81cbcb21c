import numpy as np
import pytest

from saliency_core import Localisation
from saliency_core.errors import ArgumentError
from saliency_core.scoring.localisation import OVERLAPS, box_iou, largest_box


def two_parts() -> np.ndarray:
    """A weak part of 6 x 10 pixels and, apart from it, a strong one of 3 x 4."""
    map_ = np.zeros((20, 30), np.uint8)
    map_[2:8, 3:13] = 100
    map_[12:15, 20:24] = 255
    return map_


def test_the_largest_part_changes_with_the_level() -> None:
    map_ = two_parts()
    assert largest_box(map_, 1) == largest_box(map_, 100) == (2, 3, 8, 13)
    assert largest_box(map_, 101) == largest_box(map_, 255) == (12, 20, 15, 24)
    assert largest_box(map_, 0) == (0, 0, 20, 30)
    assert largest_box(np.zeros((3, 4), np.uint8), 1) is None


def test_parts_that_touch_at_a_corner_are_one() -> None:
    assert largest_box(np.eye(4, dtype=np.uint8), 1) == (0, 0, 4, 4)


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ((0, 0, 10, 10), 1.0),
        ((0, 0, 10, 5), 0.5),
        ((5, 5, 15, 15), 25 / 175),
        ((10, 0, 20, 10), 0.0),
        ((11, 11, 12, 12), 0.0),
        ((2, 2, 4, 4), 0.04),
    ],
)
def test_overlap_of_boxes_by_hand(other: tuple[int, int, int, int], expected: float) -> None:
    assert box_iou((0, 0, 10, 10), other) == pytest.approx(expected)
    assert box_iou(other, (0, 0, 10, 10)) == pytest.approx(expected)


def test_accuracies_by_hand() -> None:
    counts = Localisation()
    counts.add(two_parts(), [(2, 3, 8, 13)])  # hit at levels 1..100
    counts.add(two_parts(), [(12, 20, 15, 24)], is_class_right=False)  # at 101..255
    # IoU 60 / 100 at 1..100: hit by two of the three overlaps.
    counts.add(two_parts(), [(2, 3, 12, 13)])
    found = counts.scores()
    assert (found.images, found.threshold) == (3, 1)
    assert found.max_box_accuracy == pytest.approx(2 / 3)
    assert OVERLAPS == (0.3, 0.5, 0.7)
    assert found.max_box_accuracy_v2 == pytest.approx((2 / 3 + 2 / 3 + 1 / 3) / 3)
    assert found.top_1 == pytest.approx(2 / 3)
    assert found.pointing == pytest.approx(1 / 3)
    counts.add(two_parts(), [(12, 20, 15, 24)], is_class_right=False)
    counts.add(two_parts(), [(12, 20, 15, 24)])
    assert counts.scores().threshold == 101
    assert counts.scores().max_box_accuracy == pytest.approx(3 / 5)
    assert counts.scores().top_1 == pytest.approx(1 / 5)


def test_one_of_several_instances_suffices_and_a_mask_decides_the_pointing() -> None:
    map_ = two_parts()
    several = Localisation()
    several.add(map_, [(0, 0, 1, 1), (2, 3, 8, 13), (11, 19, 16, 26)])
    assert several.scores().max_box_accuracy == 1.0
    assert several.scores().pointing == 1.0
    masked = Localisation()
    masked.add(map_, [(11, 19, 16, 26)], mask=map_ == 100)
    assert masked.scores().pointing == 0.0


def test_every_level_agrees_with_a_plain_loop() -> None:
    map_ = np.random.default_rng(0).random((12, 15)).round(1)
    true = (2, 3, 10, 13)
    counts = Localisation()
    counts.add(map_, [true])
    levels = np.rint((map_ - map_.min()) / np.ptp(map_) * 255).astype(np.uint8)
    for level in range(256):
        box = largest_box(levels, level)
        assert box is not None
        assert counts.hits[:, level].tolist() == [box_iou(box, true) >= overlap for overlap in OVERLAPS]


def test_merging_is_adding() -> None:
    whole, first, second = Localisation(), Localisation(), Localisation()
    for counts in (whole, first):
        counts.add(two_parts(), [(2, 3, 8, 13)])
    for counts in (whole, second):
        counts.add(two_parts(), [(12, 20, 15, 24)], is_class_right=False)
    first.merge(second)
    assert first.scores() == whole.scores()
    assert np.isnan(Localisation().scores().max_box_accuracy)


@pytest.mark.parametrize(
    ("boxes", "sentence"),
    [
        ([], "one true box at least"),
        ([(0, 0, 0, 5)], "does not lie in an image of 20 x 30"),
        ([(0, 0, 21, 5)], "does not lie in an image"),
        ([(-1, 0, 5, 5)], "does not lie in an image"),
        ([(0, 0, 5)], "a box must be"),
    ],
)
def test_boxes_that_are_none(boxes: list, sentence: str) -> None:
    with pytest.raises(ArgumentError, match=sentence):
        Localisation().add(two_parts(), boxes)


def test_masks_that_are_none() -> None:
    with pytest.raises(ArgumentError, match="mask must be a bool array"):
        Localisation().add(two_parts(), [(0, 0, 5, 5)], mask=np.ones((3, 3), bool))
