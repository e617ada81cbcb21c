import numpy as np
import pytest

from saliency_core import MapScores
from saliency_core.errors import ArgumentError
from saliency_core.scoring.data_set import DataSetScores
from saliency_core.scoring.histograms import map_histograms, to_8bit
from saliency_core.scoring.structure import s_measure, weighted_f_beta


def pair(seed: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    mask = np.zeros((24, 30), bool)
    mask[4:15, 6 + seed : 20] = True
    return generator.random((24, 30)) + mask, mask


def test_scores_are_the_means_of_the_images_scores() -> None:
    scorer, curves = MapScores(), DataSetScores()
    for seed in range(4):
        map_, mask = pair(seed)
        scorer.add(map_, mask)
        curves.add(*map_histograms(to_8bit(map_), mask))
    found = scorer.scores()
    assert found.curves == curves.figures()
    levels = [(to_8bit(map_), mask) for map_, mask in map(pair, range(4))]
    assert found.s_measure == pytest.approx(np.mean([s_measure(*one) for one in levels]))
    assert found.weighted_f_beta == pytest.approx(np.mean([weighted_f_beta(*one) for one in levels]))
    assert 0 < found.weighted_f_beta < found.s_measure < 1


def test_merging_is_adding() -> None:
    whole, first, second = MapScores(), MapScores(), MapScores()
    for seed in range(4):
        for scorer in (whole, first if seed < 1 else second):
            scorer.add(*pair(seed))
    first.merge(second)
    assert first.scores().s_measure == pytest.approx(whole.scores().s_measure)
    assert first.scores().weighted_f_beta == pytest.approx(whole.scores().weighted_f_beta)
    assert first.scores().curves.mae == pytest.approx(whole.scores().curves.mae)


def test_masks_of_8_bits_void_pixels_and_empty_masks() -> None:
    map_, mask = pair(0)
    plain, coded, void, empty = (MapScores() for _ in range(4))
    plain.add(map_, mask)
    coded.add(map_, np.where(mask, 200, 100).astype(np.uint8))
    assert coded.scores() == plain.scores()
    valid = np.ones_like(mask)
    valid[:, :12] = False
    void.add(map_, mask, valid)
    assert void.scores().s_measure == pytest.approx(s_measure(to_8bit(map_), mask, valid))
    assert void.scores() != plain.scores()
    empty.add(map_, np.zeros_like(mask))
    assert empty.scores().curves.empty_masks == 1
    assert np.isnan(empty.scores().s_measure)
    empty.add(map_, mask)
    assert empty.scores().s_measure == plain.scores().s_measure


@pytest.mark.parametrize(
    ("mask", "sentence"),
    [
        (np.ones((24, 30), np.uint8), "values 0 and 1: pass mask.astype"),
        (np.ones((24, 30)), "must be a bool array"),
        (np.ones((30, 24), bool), "has shape"),
    ],
)
def test_masks_that_are_none(mask: np.ndarray, sentence: str) -> None:
    with pytest.raises(ArgumentError, match=sentence):
        MapScores().add(pair(0)[0], mask)
