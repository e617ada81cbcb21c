"""Binary maps against their pixels."""

import numpy as np
import pytest
from skimage.filters import threshold_otsu

from saliency_core.scoring.binary import HALF, otsu_level, overlap
from saliency_core.scoring.data_set import DataSetScores
from saliency_core.scoring.histograms import map_histograms


@pytest.mark.parametrize("seed", range(6))
def test_overlap_and_otsu_against_the_pixels(seed: int) -> None:
    random = np.random.default_rng(seed)
    mask = random.random((30, 40)) < 0.3
    map_ = np.clip(random.normal(90, 30, mask.shape) + 80 * mask, 0, 255).astype(np.uint8)
    valid = random.random(mask.shape) < 0.9
    inside, outside = map_histograms(map_, mask, valid)
    threshold = int(threshold_otsu(map_[valid])) + 1
    level = otsu_level((inside + outside)[None])
    assert level[0] == threshold
    total = DataSetScores()
    total.add(inside, outside)
    total.add(np.zeros(256, int), outside)  # an empty mask has no share
    figures = total.figures()
    pairs = ((HALF, figures.iou, figures.accuracy), (threshold, figures.iou_otsu, figures.accuracy_otsu))
    for at, iou, accuracy in pairs:
        found = map_ >= at
        expected = (found & mask & valid).sum() / ((found | mask) & valid).sum()
        assert iou == pytest.approx(expected)
        assert accuracy == pytest.approx(((found == mask) & valid).sum() / valid.sum())


def test_maps_of_one_level_have_no_foreground() -> None:
    inside, outside = np.zeros((2, 3, 256), int)
    inside[:, 7], outside[:, 7] = 4, 12
    inside[2], outside[2] = 0, 0
    level = otsu_level(inside + outside)
    np.testing.assert_array_equal(level, 256)
    iou, accuracy = overlap(inside, outside, level)
    np.testing.assert_array_equal(iou, [0, 0, 1])
    np.testing.assert_array_equal(accuracy, [0.75, 0.75, np.nan])


def test_sums_add_up() -> None:
    random = np.random.default_rng(9)
    inside, outside = random.integers(0, 50, (2, 100, 256))
    whole, first, second = DataSetScores(), DataSetScores(), DataSetScores()
    whole.add(inside, outside)
    first.add(inside[:30], outside[:30])
    second.add(inside[30:], outside[30:])
    first.merge(second)
    for name in ("iou", "accuracy", "iou_otsu", "accuracy_otsu"):
        assert getattr(first.figures(), name) == pytest.approx(getattr(whole.figures(), name), rel=1e-12)
