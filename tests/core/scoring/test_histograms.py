import itertools
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image

from saliency_core.scoring.data_set import DataSetScores
from saliency_core.scoring.histograms import (
    ImageScores,
    adaptive_e_measure,
    adaptive_f_beta,
    adaptive_level,
    best_f_beta,
    e_measure,
    f_beta,
    image_scores,
    map_histograms,
    mean_absolute_error,
    precision_recall,
    to_8bit,
)
from tests.core.golden.make_golden import SCORES, golden_cases

GOLDEN = json.loads(SCORES.read_text())
Scene = tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.bool_]]


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    """A small map with ties, a mask with at least one valid foreground pixel, and void pixels."""
    shape = draw(hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=6))
    values = st.sampled_from([0, 1, 3, 64, 127, 128, 200, 254, 255])
    map_8bit = draw(hnp.arrays(np.uint8, shape, elements=values))
    foreground = draw(hnp.arrays(np.bool_, shape))
    valid = draw(hnp.arrays(np.bool_, shape))
    foreground.flat[0] = valid.flat[0] = True
    return map_8bit, foreground, valid


def random_histograms(seed: int, images: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    random = np.random.default_rng(seed)
    return random.integers(0, 50, (images, 256)), random.integers(0, 90, (images, 256))


# --- the 8-bit map


def test_to_8bit_stretches_and_rounds() -> None:
    # 0.1 of the range is 25.5 -> 26 (25.5 rounds to even), 0.3 is 76.5 -> 76, 0.9 is 229.5 -> 230
    result = to_8bit(np.array([[-1.0, 0.0], [2.0, 8.0], [9.0, 5.001]]))
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(result, [[0, 26], [76, 230], [255, 153]])


def test_to_8bit_of_a_constant_map_is_zero() -> None:
    assert not to_8bit(np.full((3, 4), 7.5, np.float32)).any()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_to_8bit_rejects_maps_that_are_not_finite(bad: float) -> None:
    saliency_map = np.ones((2, 2))
    saliency_map[1, 0] = bad
    with pytest.raises(ValueError, match="NaN or infinite"):
        to_8bit(saliency_map)


@pytest.mark.parametrize("shape", [(0, 3), (4,), (2, 3, 1)])
def test_to_8bit_rejects_other_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"\(H, W\)"):
        to_8bit(np.zeros(shape))


@settings(deadline=None)
@given(hnp.arrays(np.float32, (3, 4), elements=st.floats(allow_nan=False, allow_infinity=False, width=32)))
def test_to_8bit_keeps_order_and_fills_the_range(saliency_map: NDArray[np.float32]) -> None:
    result = to_8bit(saliency_map)
    if saliency_map.min() == saliency_map.max():
        assert not result.any()
    else:
        assert (result.min(), result.max()) == (0, 255)
        assert (np.diff(result.ravel()[np.argsort(saliency_map, axis=None)].astype(int)) >= 0).all()
        np.testing.assert_array_equal(to_8bit(result), result)


# --- histograms


@settings(deadline=None)
@given(scenes())
def test_histograms_count_valid_pixels_only(scene: Scene) -> None:
    map_8bit, foreground, valid = scene
    expected = np.zeros((2, 256), int)
    for value, inside, counted in zip(map_8bit.flat, foreground.flat, valid.flat, strict=True):
        if counted:
            expected[0 if inside else 1, value] += 1
    histograms = map_histograms(map_8bit, foreground, valid)
    np.testing.assert_array_equal(histograms, expected)
    assert histograms[0].dtype == np.int64
    np.testing.assert_array_equal(
        map_histograms(map_8bit, foreground), map_histograms(map_8bit, foreground, np.ones_like(valid))
    )


def test_histograms_reject_wrong_arrays() -> None:
    map_8bit, mask = np.zeros((2, 3), np.uint8), np.zeros((2, 3), bool)
    with pytest.raises(ValueError, match="uint8"):
        map_histograms(map_8bit.astype(np.float32), mask)
    with pytest.raises(ValueError, match="foreground must be a bool"):
        map_histograms(map_8bit, mask.astype(np.uint8))
    with pytest.raises(ValueError, match="valid has shape"):
        map_histograms(map_8bit, mask, mask.T)
    with pytest.raises(ValueError, match=r"\(\.\.\., 256\)"):
        precision_recall(np.zeros(255, int), np.zeros(255, int))
    with pytest.raises(ValueError, match="integers"):
        precision_recall(np.zeros(256), np.zeros(256))  # type: ignore[arg-type]


# --- curves and per-image scores against pixel-by-pixel versions


def naive_f(predicted: NDArray[np.bool_], foreground: NDArray[np.bool_]) -> tuple[float, float, float]:
    hits = int((predicted & foreground).sum())
    precision = hits / predicted.sum() if predicted.any() else 1.0
    recall = hits / foreground.sum()
    weighted = 0.3 * precision + recall
    return precision, recall, 1.3 * precision * recall / weighted if weighted else 0.0


def naive_e(predicted: NDArray[np.bool_], foreground: NDArray[np.bool_]) -> float:
    """E-measure by its matrices, Fan et al. 2018."""
    if foreground.all():
        enhanced = predicted.astype(float)
    else:
        a, b = predicted - predicted.mean(), foreground - foreground.mean()
        enhanced = (2 * a * b / (a * a + b * b + np.spacing(1)) + 1) ** 2 / 4
    return float(enhanced.sum() / max(foreground.size - 1, 1))


@settings(deadline=None)
@given(scenes())
def test_scores_agree_with_counting_pixels(scene: Scene) -> None:
    map_8bit, foreground, valid = scene
    histograms = map_histograms(map_8bit, foreground, valid)
    values, labels = map_8bit[valid], foreground[valid]
    expected = np.array([naive_f(values >= t, labels) for t in range(256)])
    precision, recall = precision_recall(*histograms)
    np.testing.assert_allclose(np.stack([precision, recall, f_beta(precision, recall)], 1), expected)
    np.testing.assert_allclose(best_f_beta(*histograms), expected[:, 2].max())
    expected_e = [naive_e(values >= t, labels) for t in range(256)]
    np.testing.assert_allclose(e_measure(*histograms), expected_e, atol=1e-12)

    # twice the mean, as a level; compared in integers because a tie may be broken by rounding
    adaptive = values.astype(int) * values.size >= min(2 * int(values.sum(dtype=int)), 255 * values.size)
    np.testing.assert_allclose(adaptive_f_beta(*histograms), naive_f(adaptive, labels)[2])
    np.testing.assert_allclose(adaptive_e_measure(*histograms), naive_e(adaptive, labels), atol=1e-12)
    np.testing.assert_allclose(mean_absolute_error(*histograms), np.abs(values / 255 - labels).mean(), atol=1e-12)
    assert image_scores(*histograms) == ImageScores(
        float(best_f_beta(*histograms)),
        float(adaptive_f_beta(*histograms)),
        float(mean_absolute_error(*histograms)),
    )


def test_hand_computed_example() -> None:
    # thresholds 1..100: 4 of 4 object pixels, 4 false ones; 101..200: 2 of 4, none false; above: nothing
    map_8bit = np.array([[200, 200, 100, 100, 100, 100, 100, 100, 0, 0]], np.uint8)
    foreground = np.arange(10)[None] < 4
    histograms = map_histograms(map_8bit, foreground)
    precision, recall = precision_recall(*histograms)
    np.testing.assert_allclose(precision[[0, 1, 100, 101, 200, 201]], [0.4, 0.5, 0.5, 1, 1, 1])
    np.testing.assert_allclose(recall[[0, 1, 100, 101, 200, 201]], [1, 1, 1, 0.5, 0.5, 0])
    assert f_beta(precision, recall)[101] == pytest.approx(1.3 * 0.5 / 0.8)
    assert f_beta(precision, recall)[201] == 0
    assert best_f_beta(*histograms) == pytest.approx(0.8125)
    assert adaptive_level(*histograms) == 200  # the mean is exactly 100
    assert adaptive_f_beta(*histograms) == pytest.approx(0.8125)
    assert mean_absolute_error(*histograms) == pytest.approx((2 * 55 + 2 * 155 + 4 * 100) / 2550)


def test_adaptive_threshold_is_at_most_the_maximum() -> None:
    histograms = map_histograms(np.array([[255, 255, 0]], np.uint8), np.array([[True, False, False]]))
    assert adaptive_level(*histograms) == 255


def test_empty_mask_has_no_scores() -> None:
    map_8bit = np.array([[0, 100, 255]], np.uint8)
    nothing = np.zeros((1, 3), bool)
    histograms = map_histograms(map_8bit, nothing)
    precision, recall = precision_recall(*histograms)
    assert np.isnan(recall).all()
    assert not np.isnan(precision).any()
    assert np.isnan(best_f_beta(*histograms))
    assert np.isnan(adaptive_f_beta(*histograms))
    assert mean_absolute_error(*histograms) == pytest.approx(355 / 765)
    assert image_scores(*histograms) is None
    # the object lies on void pixels only
    assert image_scores(*map_histograms(map_8bit, ~nothing, nothing)) is None
    assert np.isnan(mean_absolute_error(*map_histograms(map_8bit, nothing, nothing)))
    assert np.isnan(e_measure(*map_histograms(map_8bit, nothing, nothing))).all()


@pytest.mark.parametrize(
    "score",
    [
        precision_recall,
        best_f_beta,
        adaptive_level,
        adaptive_f_beta,
        mean_absolute_error,
        e_measure,
        adaptive_e_measure,
    ],
)
def test_leading_axes_are_scored_image_by_image(score: Any) -> None:
    inside, outside = (h.reshape(2, 3, 256) for h in random_histograms(3, 6))
    inside[1, 2] = 0
    inside[0, 0, :] = outside[1, 0, :] = 0
    together = np.array(score(inside, outside))
    if score is precision_recall:
        together = np.moveaxis(together, 0, 2)
    for i, j in np.ndindex(2, 3):
        np.testing.assert_array_equal(together[i, j], score(inside[i, j], outside[i, j]))


# --- data sets


def test_data_set_figures_are_plain_averages() -> None:
    inside, outside = random_histograms(1, 7)
    inside[2] = 0
    scores = DataSetScores()
    scores.add(inside, outside)
    figures = scores.figures()
    kept = [i for i in range(7) if i != 2]
    curves = np.array([precision_recall(inside[i], outside[i]) for i in kept])
    f_curves = np.array([f_beta(*curve) for curve in curves])
    e_curves = np.array([e_measure(inside[i], outside[i]) for i in kept])
    singles = [image_scores(inside[i], outside[i]) for i in kept]
    np.testing.assert_allclose(scores.precision, curves[:, 0].mean(axis=0))
    np.testing.assert_allclose(scores.recall, curves[:, 1].mean(axis=0))
    assert (figures.images, figures.empty_masks) == (6, 1)
    assert figures.f_beta_of_mean_curve == pytest.approx(f_beta(*curves.mean(axis=0)).max())
    assert figures.f_beta_max_of_mean == pytest.approx(f_curves.mean(axis=0).max())
    assert figures.f_beta_mean_of_max == pytest.approx(np.mean([s.f_beta for s in singles if s]))
    assert figures.f_beta_mean == pytest.approx(f_curves.mean())
    assert figures.f_beta_adaptive == pytest.approx(np.mean([s.f_beta_adaptive for s in singles if s]))
    assert figures.mae == pytest.approx(np.mean([s.mae for s in singles if s]))
    assert figures.e_measure_adaptive == pytest.approx(adaptive_e_measure(inside, outside)[kept].mean())
    assert figures.e_measure_mean == pytest.approx(e_curves.mean())
    assert figures.e_measure_max == pytest.approx(e_curves.mean(axis=0).max())


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(0, 1300), max_size=4))
def test_merging_parts_equals_adding_all(cuts: list[int]) -> None:
    inside, outside = random_histograms(2, 1300)
    inside[::100] = 0
    whole, merged = DataSetScores(), DataSetScores()
    whole.add(inside, outside)
    edges = [0, *sorted(cuts), 1300]
    for start, stop in itertools.pairwise(edges):
        part = DataSetScores()
        part.add(inside[start:stop], outside[start:stop])
        merged.merge(pickle.loads(pickle.dumps(part)))
    for name, value in vars(whole).items():
        np.testing.assert_allclose(getattr(merged, name), value, rtol=1e-12, err_msg=name)
    assert (merged.images, merged.empty_masks) == (1287, 13)


def test_a_data_set_rejects_wrong_arrays() -> None:
    with pytest.raises(ValueError, match=r"\(N, 256\)"):
        DataSetScores().add(np.zeros((3, 255), int), np.zeros((3, 255), int))
    with pytest.raises(ValueError, match=r"\(N, 256\)"):
        DataSetScores().add(np.zeros((3, 256), int), np.zeros((2, 256), int))


def test_read_only_sums_can_be_added_to() -> None:
    inside, outside = random_histograms(5, 1)
    scores = DataSetScores()
    scores.precision_sum.flags.writeable = False
    scores.add(inside, outside)
    scores.merge(scores)
    assert scores.images == 2


def test_merge_leaves_the_other_alone() -> None:
    inside, outside = random_histograms(4, 2)
    first, second = DataSetScores(), DataSetScores()
    second.add(inside[0], outside[0])
    before = second.precision.copy()
    first.merge(second)
    first.add(inside[1], outside[1])
    np.testing.assert_array_equal(second.precision, before)
    assert (first.images, second.images) == (2, 1)


def test_no_images_have_no_figures() -> None:
    scores = DataSetScores()
    scores.add(np.zeros((2, 256), int), np.ones((2, 256), int))
    figures = vars(scores.figures()).copy()
    assert (figures.pop("images"), figures.pop("empty_masks")) == (0, 2)
    assert all(np.isnan(value) for value in figures.values())


@settings(deadline=None)
@given(st.lists(scenes(), min_size=1, max_size=6))
def test_orders_of_the_three_best_f_betas(several: list[Scene]) -> None:
    scores = DataSetScores()
    for scene in several:
        scores.add(*map_histograms(*scene))
    figures = scores.figures()
    # F-beta is concave in (precision, recall), so A >= B; a mean of maxima is at least the mean's maximum.
    assert figures.f_beta_of_mean_curve >= figures.f_beta_max_of_mean - 1e-12
    assert figures.f_beta_mean_of_max >= figures.f_beta_max_of_mean - 1e-12


def test_best_f_of_the_mean_curve_may_lie_on_either_side_of_the_mean_of_bests() -> None:
    inside, outside = np.zeros((2, 2, 256), int)
    # image 1: 1 of 10 object pixels found; image 2: the one object pixel found with 9 false ones
    inside[0, [0, 255]], outside[0, 0] = [9, 1], 1000
    inside[1, 255], outside[1, [0, 255]] = 1, [1000, 9]
    scores = DataSetScores()
    scores.add(inside, outside)
    figures = scores.figures()
    assert figures.f_beta_of_mean_curve == pytest.approx(0.55)
    assert figures.f_beta_mean_of_max == pytest.approx((1.3 * 0.1 / 0.4 + 1.3 * 0.1 / 1.03) / 2)

    # both maps separate object and background perfectly, but at different thresholds
    inside, outside = np.zeros((2, 2, 256), int)
    inside[0, 50], outside[0, 0] = 5, 5
    inside[1, 255], outside[1, 100] = 5, 5
    scores = DataSetScores()
    scores.add(inside, outside)
    figures = scores.figures()
    assert figures.f_beta_mean_of_max == 1
    assert figures.f_beta_of_mean_curve < 0.9


# --- golden numbers and published maps


def golden_figures(names: list[str]) -> dict[str, float]:
    cases = golden_cases()
    scores = DataSetScores()
    for name in names:
        scores.add(*map_histograms(*cases[name]))
    figures = scores.figures()
    return {
        "f_beta_max": figures.f_beta_max_of_mean,
        "f_beta_mean": figures.f_beta_mean,
        "f_beta_adaptive": figures.f_beta_adaptive,
        "mae": figures.mae,
        "e_measure_adaptive": figures.e_measure_adaptive,
        "e_measure_mean": figures.e_measure_mean,
        "e_measure_max": figures.e_measure_max,
    }


@pytest.mark.parametrize("name", [name for name, case in golden_cases().items() if case.foreground.any()])
def test_single_images_agree_with_pysodmetrics(name: str) -> None:
    figures = golden_figures([name])
    assert figures == pytest.approx({key: GOLDEN[name][key] for key in figures}, abs=1e-6)


def test_a_data_set_agrees_with_pysodmetrics() -> None:
    names = [name for name, case in golden_cases().items() if case.foreground.any()]
    figures = golden_figures(names)
    expected = GOLDEN["all with an object"]
    assert figures == pytest.approx({key: expected[key] for key in figures}, abs=1e-6)


def test_empty_mask_agrees_with_pysodmetrics_where_it_has_scores() -> None:
    histograms = map_histograms(*golden_cases()["empty mask"])
    expected = GOLDEN["empty mask"]
    assert mean_absolute_error(*histograms) == pytest.approx(expected["mae"], abs=1e-6)
    assert adaptive_e_measure(*histograms) == pytest.approx(expected["e_measure_adaptive"], abs=1e-6)
    assert e_measure(*histograms).mean() == pytest.approx(expected["e_measure_mean"], abs=1e-6)


@pytest.mark.real_data
def test_published_region_contrast_maps_score_as_known(real_data: Path) -> None:
    region_contrast, all_ones = DataSetScores(), DataSetScores()
    mask_files = sorted((real_data / "ecssd" / "ground_truth_mask").glob("*.png"))
    for mask_file in mask_files:
        foreground = np.asarray(Image.open(mask_file)) > 127
        saliency_map = np.asarray(Image.open(real_data / "ecssd" / "rc_authors" / mask_file.name))
        region_contrast.add(*map_histograms(to_8bit(saliency_map), foreground))
        all_ones.add(*map_histograms(to_8bit(np.ones(foreground.shape)), foreground))
    assert region_contrast.images == 500
    assert region_contrast.figures().f_beta_of_mean_curve == pytest.approx(0.738, abs=1e-3)
    assert all_ones.figures().f_beta_of_mean_curve == pytest.approx(0.284, abs=1e-3)
