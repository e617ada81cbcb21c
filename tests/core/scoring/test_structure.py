import json

import numpy as np
import pytest
from numpy.typing import NDArray

from saliency_core.scoring.structure import s_measure, structure_scores, weighted_f_beta
from tests.core.golden.make_golden import SCORES, Case, golden_cases

GOLDEN = json.loads(SCORES.read_text())
KEYS = ["s_measure", "e_measure_adaptive", "e_measure_mean", "e_measure_max", "weighted_f_beta"]


@pytest.fixture
def case() -> Case:
    return golden_cases()["noisy blob on two parts"]


@pytest.mark.parametrize("name", [name for name, case in golden_cases().items() if case.foreground.any()])
def test_images_agree_with_pysodmetrics(name: str) -> None:
    scores = structure_scores(*golden_cases()[name])
    assert scores is not None
    assert vars(scores) == pytest.approx({key: GOLDEN[name][key] for key in KEYS}, abs=1e-6)


def test_empty_mask() -> None:
    empty = golden_cases()["empty mask"]
    assert structure_scores(*empty) is None
    assert s_measure(*empty) == pytest.approx(GOLDEN["empty mask"]["s_measure"], abs=1e-6)
    assert weighted_f_beta(*empty) == GOLDEN["empty mask"]["weighted_f_beta"] == 0


def test_void_object_is_an_empty_mask(case: Case) -> None:
    assert structure_scores(*case, valid=~case.foreground) is None


def test_float_and_8bit_maps_score_alike(case: Case) -> None:
    as_float = case.map_8bit / 255
    assert s_measure(as_float, case.foreground) == s_measure(*case)
    assert weighted_f_beta(as_float, case.foreground) == weighted_f_beta(*case)


def test_values_on_void_pixels_do_not_matter(case: Case) -> None:
    valid = np.ones_like(case.foreground)
    valid[10:30, 20:60] = False
    valid[55:, :] = False
    scores = structure_scores(*case, valid)
    changed = np.where(valid, case.map_8bit, 255 - case.map_8bit)
    relabelled = np.where(valid, case.foreground, ~case.foreground)
    assert structure_scores(changed, case.foreground, valid) == scores
    assert scores != structure_scores(changed, case.foreground)
    # the labels of void pixels count for nothing, either: neither as object nor as background
    assert scores is not None
    assert s_measure(changed, relabelled, valid) == scores.s_measure
    assert weighted_f_beta(changed, relabelled, valid) == scores.weighted_f_beta


def test_void_margin_scores_as_the_cropped_image() -> None:
    # The object keeps 4 pixels from the crop: the blur of the weighted F-beta reaches 3.
    map_8bit, foreground = golden_cases()["blob on ellipse"]
    valid = np.zeros_like(foreground)
    valid[:45, :78] = True
    assert not foreground[42:].any()
    assert not foreground[:, 75:].any()
    with_void = structure_scores(map_8bit, foreground, valid)
    cropped = structure_scores(map_8bit[:45, :78].copy(), foreground[:45, :78].copy())
    assert with_void is not None
    assert cropped is not None
    assert vars(with_void) == pytest.approx(vars(cropped), abs=1e-12)


def test_object_in_the_last_row_and_column_has_an_s_measure() -> None:
    # PySODMetrics: NaN. Three of the four regions have no pixels.
    foreground = np.zeros((8, 9), bool)
    foreground[-1, -1] = True
    assert s_measure(foreground.astype(float), foreground) == pytest.approx(1)
    assert 0 <= s_measure(np.full((8, 9), 0.5), foreground) < 0.6


def naive_weighted_f(saliency: NDArray[np.float64], foreground: NDArray[np.bool_]) -> float:
    """Margolin et al. 2014 with explicit loops."""
    error = np.abs(saliency - foreground)
    objects = np.argwhere(foreground)
    distance = np.zeros(foreground.shape)
    dependent = error.copy()
    for pixel in np.argwhere(~foreground):
        distances = np.hypot(*(objects - pixel).T)
        distance[tuple(pixel)] = distances.min()
        dependent[tuple(pixel)] = error[tuple(objects[distances.argmin()])]
    y, x = np.mgrid[-3:4, -3:4]
    kernel = np.exp(-(x**2 + y**2) / 50)
    kernel /= kernel.sum()
    padded = np.pad(dependent, 3)
    weighted = np.empty_like(error)
    for i, j in np.ndindex(error.shape):
        if foreground[i, j]:
            weighted[i, j] = min(error[i, j], (padded[i : i + 7, j : j + 7] * kernel).sum())
        else:
            weighted[i, j] = error[i, j] * (2 - np.exp(np.log(0.5) / 5 * distance[i, j]))
    hits = foreground.sum() - weighted[foreground].sum()
    precision = hits / (hits + weighted[~foreground].sum())
    recall = 1 - weighted[foreground].mean()
    return float(2 * precision * recall / (precision + recall))


def test_weighted_f_beta_agrees_with_loops() -> None:
    random = np.random.default_rng(5)
    # a convex object and a map that is constant on it: ties among nearest object pixels cannot matter
    foreground = np.zeros((14, 17), bool)
    foreground[4:9, 5:11] = True
    saliency = np.where(foreground, 0.7, random.random(foreground.shape))
    expected = naive_weighted_f(saliency, foreground)
    assert weighted_f_beta(saliency, foreground) == pytest.approx(expected, abs=1e-9)


def test_wrong_arrays_are_rejected(case: Case) -> None:
    map_8bit, foreground = case
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        s_measure(map_8bit.astype(float), foreground)
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        s_measure(np.full(foreground.shape, np.nan), foreground)
    with pytest.raises(ValueError, match="one shape"):
        weighted_f_beta(map_8bit, foreground.T)
    with pytest.raises(ValueError, match="bool"):
        weighted_f_beta(map_8bit, map_8bit)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no pixel"):
        s_measure(map_8bit, foreground, np.zeros_like(foreground))
