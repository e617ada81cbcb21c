"""Tests of SaliencyCut."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from saliency_core.segmentation import saliency_cut as saliency_cut_module
from saliency_core.segmentation.saliency_cut import largest_part, saliency_cut


def scene() -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A noisy disc on a noisy ground, and the disc's mask."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:120, :160]
    disc = (y - 55) ** 2 + (x - 70) ** 2 < 30**2
    colours = np.where(disc[..., None], (200.0, 60, 50), (80.0, 110, 90))
    return (colours + rng.normal(0, 12, colours.shape)).clip(0, 255).astype(np.uint8), disc


def intersection_over_union(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    return float((first & second).sum() / (first | second).sum())


def test_finds_the_outline_that_the_map_only_hints_at() -> None:
    image, disc = scene()
    y, x = np.mgrid[:120, :160]
    saliency = np.exp(-((y - 52) ** 2 + (x - 74) ** 2) / (2 * 18.0**2))
    mask = saliency_cut(image, saliency)
    assert mask.dtype == np.bool_
    assert mask.shape == disc.shape
    assert intersection_over_union(mask, disc) > 0.97
    assert intersection_over_union(saliency >= 0.5, disc) < 0.7


def test_range_and_dtype_of_the_map_do_not_matter() -> None:
    image, disc = scene()
    mask = saliency_cut(image, disc.astype(np.float32))
    np.testing.assert_array_equal(mask, saliency_cut(image, 40.0 * disc + 3))
    np.testing.assert_array_equal(mask, saliency_cut(image, np.where(disc, 255, 0).astype(np.uint8)))


def test_same_result_whatever_the_state_of_the_random_generator() -> None:
    image, disc = scene()
    saliency = np.asarray(cv2.GaussianBlur(disc.astype(np.float32), (0, 0), 9))
    cv2.setRNGSeed(1)
    first = saliency_cut(image, saliency)
    cv2.setRNGSeed(99)
    np.testing.assert_array_equal(first, saliency_cut(image, saliency))


@pytest.mark.parametrize("value", [0.0, 0.7])
def test_constant_map_gives_an_empty_mask(value: float) -> None:
    image, _ = scene()
    assert not saliency_cut(image, np.full((120, 160), value)).any()


def test_too_small_a_part_gives_an_empty_mask() -> None:
    image, _ = scene()
    saliency = np.zeros((120, 160))
    saliency[60, 80] = 1  # blurred, above 70 / 255 on a few pixels only: below 0.5 % of 19200
    assert not saliency_cut(image, saliency).any()


def test_salient_border_alone_gives_an_empty_mask() -> None:
    image, _ = scene()
    saliency = np.ones((120, 160))
    saliency[1:-1, 1:-1] = 0
    assert not saliency_cut(image, saliency).any()


def test_only_the_largest_object_is_kept() -> None:
    image, disc = scene()
    image[95:115, 130:155] = (200, 60, 50)
    saliency = disc.astype(float)
    saliency[95:115, 130:155] = 1
    mask = saliency_cut(image, saliency)
    assert intersection_over_union(mask, disc) > 0.97
    assert not mask[95:115, 130:155].any()


def test_everything_salient_leaves_the_border_band() -> None:
    # The background has too few pixels for a colour model there: the foreground of the map stands.
    image = np.random.default_rng(1).integers(0, 256, (12, 12, 3), np.uint8)
    saliency = np.ones((12, 12))
    saliency[0] = 0
    assert saliency_cut(image, saliency).any()


def test_largest_part_is_4_connected_and_weighted() -> None:
    weights = np.zeros((4, 4))
    weights[0, 0] = weights[1, 1] = 0.875  # touch at a corner: two parts
    weights[3, 1:] = 0.5
    np.testing.assert_array_equal(largest_part(weights, 0), weights == 0.5)
    weights[1, 1] = 0
    weights[0, 1] = 0.875
    np.testing.assert_array_equal(largest_part(weights, 0), weights == 0.875)
    assert not largest_part(weights, 1.75 / 16).any()
    assert largest_part(weights, 1.74 / 16).any()
    assert not largest_part(np.zeros((2, 2)), 0).any()


@pytest.mark.parametrize(
    ("image", "saliency", "message"),
    [
        (np.zeros((4, 4), np.uint8), np.zeros((4, 4)), "uint8 array"),
        (np.zeros((4, 4, 3)), np.zeros((4, 4)), "uint8 array"),
        (np.zeros((4, 4, 3), np.uint8), np.zeros((4, 5)), "shape"),
        (np.zeros((4, 4, 3), np.uint8), np.full((4, 4), np.nan), "NaN"),
    ],
)
def test_refuses_other_input(image: NDArray[np.uint8], saliency: NDArray[np.float64], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        saliency_cut(image, saliency)


@pytest.mark.real_data
@pytest.mark.slow
def test_cuts_photographs_from_the_authors_maps(real_data: Path) -> None:
    overlaps, thresholded = [], []
    for path in sorted((real_data / "ecssd" / "images").glob("*.jpg"))[::25]:
        with (
            Image.open(path) as photograph,
            Image.open(real_data / "ecssd" / "rc_authors" / f"{path.stem}.png") as map_image,
            Image.open(real_data / "ecssd" / "ground_truth_mask" / f"{path.stem}.png") as mask_image,
        ):
            image = np.array(photograph.convert("RGB"))
            saliency = np.array(map_image.convert("L"))
            foreground = np.array(mask_image.convert("L")) > 127
        overlaps.append(intersection_over_union(saliency_cut(image, saliency), foreground))
        thresholded.append(intersection_over_union(saliency >= 2 * saliency.mean(), foreground))
    assert len(overlaps) == 20
    # The cut has to add something to what a threshold on the map gives.
    assert np.mean(overlaps) > np.mean(thresholded) + 0.03


# --- the steps by hand


class Calls:
    """Stands in for a function, notes its arguments, and answers from a list."""

    def __init__(self, answers: list[NDArray[np.bool_]]) -> None:
        self.answers = answers
        self.given: list[tuple[Any, ...]] = []

    def __call__(self, *arguments: Any) -> NDArray[np.bool_]:
        self.given.append(tuple(value.copy() if isinstance(value, np.ndarray) else value for value in arguments))
        return self.answers[min(len(self.given), len(self.answers)) - 1]


def gaussian_9x9() -> NDArray[np.float64]:
    """OpenCV's kernel of 9 pixels where no sigma is given."""
    line = np.array([4, 13, 30, 51, 60, 51, 30, 13, 4]) / 256
    return np.outer(line, line)


def test_blur_range_border_and_window_of_what_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    cut = Calls([np.ones((1, 1), bool)])
    monkeypatch.setattr(saliency_cut_module, "_cut_in_rounds", cut)
    height, width = 200, 150
    saliency = np.zeros((height, width))
    saliency[:40, :30] = 3.0  # in a corner, so that the window shows the border of both sides
    saliency[:, 140:] = 1.5
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    saliency_cut(image, saliency)
    padded = np.pad(saliency, 4, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (9, 9))
    expected = np.einsum("yxij,ij->yx", windows, gaussian_9x9()) / 3.0
    # 2 % of 200 rows and of 150 columns.
    border = np.ones((height, width), bool)
    border[4:196, 3:147] = False
    expected[border] = 0
    # The part from 70 / 255 on, and 20 pixels on all sides of it.
    part = expected >= 70 / 255
    part[:, 120:] = False
    rows, columns = np.flatnonzero(part.any(axis=1)), np.flatnonzero(part.any(axis=0))
    assert (rows[0], columns[0]) == (4, 3)
    window = (slice(0, rows[-1] + 21), slice(0, columns[-1] + 21))
    pixels, values, outside, threshold = cut.given[0]
    np.testing.assert_array_equal(pixels, image[window])
    np.testing.assert_allclose(values, expected[window], atol=1e-12)
    np.testing.assert_array_equal(outside, border[window])
    assert threshold == 0.9


def test_tries_with_lower_and_lower_thresholds(monkeypatch: pytest.MonkeyPatch) -> None:
    image, disc = scene()
    nothing = Calls([np.zeros((1, 1), bool)])
    monkeypatch.setattr(saliency_cut_module, "_cut_in_rounds", nothing)
    assert not saliency_cut(image, disc.astype(float)).any()
    assert [given[3] for given in nothing.given] == [0.9, 0.7, 0.5, 0.3]


def test_the_first_trimap_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    cut = Calls([np.zeros((4, 7), bool)])
    monkeypatch.setattr(saliency_cut_module, "_grab_cut", cut)
    below = np.nextafter(70 / 255, 0)
    row = [0.0, 0.0999, 0.1, below, 70 / 255, 0.7, 0.7001]
    image = np.zeros((4, 7, 3), np.uint8)
    saliency_cut_module._cut_in_rounds(image, np.array([row] * 4), np.zeros((4, 7), bool), 0.7)
    known = [cv2.GC_BGD, cv2.GC_BGD, cv2.GC_PR_BGD, cv2.GC_PR_BGD, cv2.GC_PR_FGD, cv2.GC_PR_FGD, cv2.GC_FGD]
    np.testing.assert_array_equal(cut.given[0][1], [known] * 4)


def square(top: int, size: int = 20) -> NDArray[np.bool_]:
    mask = np.zeros((60, 60), bool)
    mask[top : top + size, 15 : 15 + size] = True
    return mask


@pytest.mark.parametrize(
    ("answers", "calls"),
    [
        ([square(10), square(12), square(14), square(16), square(18)], 4),
        ([square(10), square(10)], 2),
        ([square(10), square(12), square(12)], 3),
    ],
)
def test_rounds_end_where_little_changes_and_after_four(
    answers: list[NDArray[np.bool_]], calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = Calls(answers)
    monkeypatch.setattr(saliency_cut_module, "_grab_cut", cut)
    image = np.zeros((60, 60, 3), np.uint8)
    found = saliency_cut_module._cut_in_rounds(image, np.full((60, 60), 0.5), np.zeros((60, 60), bool), 0.9)
    assert len(cut.given) == calls
    np.testing.assert_array_equal(found, answers[calls - 1])


@pytest.mark.parametrize(("changed", "calls"), [(9, 2), (10, 3)])
def test_fewer_than_ten_pixels_are_no_change(changed: int, calls: int, monkeypatch: pytest.MonkeyPatch) -> None:
    other = square(10)
    other[30, 15 : 15 + changed] = True
    cut = Calls([square(10), other, other])
    monkeypatch.setattr(saliency_cut_module, "_grab_cut", cut)
    image = np.zeros((60, 60, 3), np.uint8)
    saliency_cut_module._cut_in_rounds(image, np.full((60, 60), 0.5), np.zeros((60, 60), bool), 0.9)
    assert len(cut.given) == calls


@pytest.mark.parametrize(("size", "is_kept"), [(8, False), (9, True)])
def test_an_object_holds_two_percent_of_the_window(size: int, is_kept: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    cut = Calls([square(10, size)])  # 64 and 81 of 3600 pixels; 2 % are 72
    monkeypatch.setattr(saliency_cut_module, "_grab_cut", cut)
    image = np.zeros((60, 60, 3), np.uint8)
    found = saliency_cut_module._cut_in_rounds(image, np.full((60, 60), 0.5), np.zeros((60, 60), bool), 0.9)
    assert found.any() == is_kept


def test_the_next_trimap_by_hand() -> None:
    border = np.zeros((60, 60), bool)
    border[:2] = border[-2:] = border[:, :2] = border[:, -2:] = True
    trimap = saliency_cut_module._trimap_around(square(3, 20), border)
    expected = np.full((60, 60), cv2.GC_BGD)
    expected[0:28, 10:40] = cv2.GC_PR_FGD  # five pixels more on each side
    expected[8:18, 20:30] = cv2.GC_FGD  # five pixels less
    expected[border] = cv2.GC_BGD
    np.testing.assert_array_equal(trimap, expected)
    # What is eroded to fewer than 50 pixels stays whole: a square of 17 leaves 49, one of 18 leaves 64.
    for size, kept in ((17, 17 * 17), (18, 64)):
        trimap = saliency_cut_module._trimap_around(square(20, size), border)
        assert np.count_nonzero(trimap == cv2.GC_FGD) == kept


@pytest.mark.parametrize(("flipped", "cuts"), [(50, 1), (51, 8)])
def test_cuts_of_a_round_end_where_they_settle(flipped: int, cuts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    modes: list[int] = []

    def grab_cut(_: object, states: NDArray[np.uint8], *rest: object) -> None:
        modes.append(int(rest[-1]))  # type: ignore[call-overload]
        part = states.reshape(-1)[:flipped]
        part[:] = cv2.GC_FGD if part[0] == cv2.GC_BGD else cv2.GC_BGD

    monkeypatch.setattr(cv2, "grabCut", grab_cut)
    trimap = np.where(square(20), cv2.GC_FGD, cv2.GC_BGD).astype(np.uint8)
    saliency_cut_module._grab_cut(np.zeros((60, 60, 3), np.uint8), trimap)
    assert modes == [cv2.GC_INIT_WITH_MASK, *[cv2.GC_EVAL] * (cuts - 1)]


@pytest.mark.parametrize(("count", "is_cut"), [(49, False), (50, True)])
def test_colour_models_are_learnt_from_fifty_pixels(count: int, is_cut: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []
    monkeypatch.setattr(cv2, "grabCut", lambda *given: calls.append(given))
    for known, other in ((cv2.GC_PR_FGD, cv2.GC_BGD), (cv2.GC_PR_BGD, cv2.GC_FGD)):
        trimap = np.full((20, 20), other, np.uint8)
        trimap.reshape(-1)[:count] = known
        calls.clear()
        found = saliency_cut_module._grab_cut(np.zeros((20, 20, 3), np.uint8), trimap)
        assert bool(calls) == is_cut
        np.testing.assert_array_equal(found, (trimap == cv2.GC_FGD) | (trimap == cv2.GC_PR_FGD))


@pytest.mark.parametrize(("share", "is_found"), [(0.0049, False), (0.0051, True)])
def test_the_cut_starts_from_half_a_percent_of_the_area(
    share: float, is_found: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cv2, "GaussianBlur", lambda values, *_: values)
    monkeypatch.setattr(saliency_cut_module, "_cut_in_rounds", Calls([np.ones((1, 1), bool)]))
    saliency = np.zeros((100, 100))
    saliency[40:50, 40:50] = (100 * 100 * share - 1) / 99  # with the one below they sum to that share of the area
    saliency[40, 40] = 1.0
    assert saliency_cut(np.zeros((100, 100, 3), np.uint8), saliency).any() == is_found
