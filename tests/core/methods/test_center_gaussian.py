"""Tests of the centred Gaussian."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saliency_core.methods.center_gaussian import center_gaussian
from saliency_core.scoring.data_set import DataSetScores
from saliency_core.scoring.histograms import map_histograms, to_8bit


def test_values_by_hand() -> None:
    saliency = center_gaussian(1, 4)
    assert saliency.dtype == np.float32
    # Offsets 1/8 and 3/8 of the width, deviation 1/4.
    near, far = np.exp(-0.5 * 0.5**2), np.exp(-0.5 * 1.5**2)
    np.testing.assert_allclose(saliency, [[far, near, near, far]], rtol=1e-6)


def test_symmetric_and_highest_at_the_centre() -> None:
    saliency = center_gaussian(5, 8)
    np.testing.assert_array_equal(saliency, saliency[::-1, ::-1])
    np.testing.assert_allclose(saliency, np.outer(center_gaussian(5, 1), center_gaussian(1, 8)), rtol=1e-6)
    assert saliency.max() == saliency[2, 3]


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (-1, 2)])
def test_refuses_empty_maps(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        center_gaussian(*size)


@pytest.mark.real_data
def test_known_score_on_ecssd(real_data: Path) -> None:
    scores = DataSetScores()
    for path in sorted((real_data / "ecssd" / "ground_truth_mask").glob("*.png")):
        with Image.open(path) as mask:
            foreground = np.array(mask.convert("L")) > 127
        scores.add(*map_histograms(to_8bit(center_gaussian(*foreground.shape)), foreground))
    assert scores.images == 500
    assert scores.figures().f_beta_of_mean_curve == pytest.approx(0.590, abs=0.001)
