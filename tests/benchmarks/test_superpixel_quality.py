"""The measures by which superpixels are compared."""

import numpy as np
import pytest

from benchmarks.studies.superpixel_quality import boundary_recall, undersegmentation

OBJECT = np.zeros((20, 30), bool)
OBJECT[:, 10:] = True


def halves(column: int) -> np.ndarray:
    labels = np.zeros((20, 30), np.int32)
    labels[:, column:] = 1
    return labels


def test_superpixels_along_the_border_of_the_object_are_perfect() -> None:
    assert boundary_recall(halves(10), OBJECT) == 1.0
    assert undersegmentation(halves(10), OBJECT) == 0.0


@pytest.mark.parametrize(("column", "recall"), [(12, 1.0), (8, 1.0), (14, 0.0), (5, 0.0)])
def test_a_border_counts_where_another_is_within_two_pixels(column: int, recall: float) -> None:
    assert boundary_recall(halves(column), OBJECT) == recall


def test_undersegmentation_counts_the_smaller_side_of_every_superpixel() -> None:
    assert undersegmentation(halves(12), OBJECT) == pytest.approx(2 * 20 / 600)
    assert undersegmentation(np.zeros((20, 30), np.int32), OBJECT) == pytest.approx(10 * 20 / 600)


def test_a_mask_without_a_border_has_no_recall() -> None:
    assert np.isnan(boundary_recall(halves(10), np.zeros((20, 30), bool)))
    assert boundary_recall(np.zeros((20, 30), np.int32), OBJECT) == 0.0
