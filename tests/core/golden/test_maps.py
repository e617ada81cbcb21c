"""What the methods make of three drawn scenes is what they made of them before (`make_maps` draws them)."""

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.core.golden.make_maps import FILE, draw_scenes, make

LABELS_THAT_MAY_DIFFER = 0.002
"""Share of the pixels: where two centres are equally near, a processor's rounding decides."""
MASKS_THAT_MAY_DIFFER = 0.0005
VALUES_THAT_MAY_DIFFER = 0.002
"""Of a map's maximum: the file holds 16 bits, and a superpixel's pixel more or less moves its mean."""


@pytest.fixture(scope="module")
def golden() -> dict[str, NDArray[np.generic]]:
    with np.load(FILE) as file:
        return dict(file)


@pytest.fixture(scope="module")
def made(golden: dict[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
    return make(golden["scenes"].astype(np.uint8))


def test_the_recipe_draws_the_scenes_of_the_file(golden: dict[str, NDArray[np.generic]]) -> None:
    difference = np.abs(draw_scenes().astype(int) - golden["scenes"].astype(int))
    assert difference.max() <= 1  # a logarithm's last bit


def test_the_file_holds_all_that_is_made(
    golden: dict[str, NDArray[np.generic]], made: dict[str, NDArray[np.generic]]
) -> None:
    assert set(golden) == {"scenes", *made}
    np.testing.assert_array_equal(made["saliency_label"], golden["saliency_label"])


@pytest.mark.parametrize(("name", "most"), [("slic", LABELS_THAT_MAY_DIFFER), ("saliency_cut", MASKS_THAT_MAY_DIFFER)])
def test_labels_and_masks(
    name: str, most: float, golden: dict[str, NDArray[np.generic]], made: dict[str, NDArray[np.generic]]
) -> None:
    for found, expected in zip(made[name], golden[name], strict=True):
        assert np.count_nonzero(found != expected) <= most * expected.size


@pytest.mark.parametrize(
    "name",
    [
        *("region_contrast", "histogram_contrast", "low_level", "chain_raw", "chain_smoothed", "chain_refined"),
        *("saliency_raw", "saliency_smoothed", "saliency_refined"),
    ],
)
def test_maps(name: str, golden: dict[str, NDArray[np.generic]], made: dict[str, NDArray[np.generic]]) -> None:
    for values, expected in zip(made[name], golden[name].astype(np.float64), strict=True):
        difference = np.abs(values.astype(np.float64) - expected) / expected.max()
        # The mean: at a superpixel's edge, a single pixel may have gone to the neighbour.
        assert difference.mean() < VALUES_THAT_MAY_DIFFER * expected.mean() / expected.max()
        assert np.count_nonzero(difference > 0.01) <= LABELS_THAT_MAY_DIFFER * expected.size
