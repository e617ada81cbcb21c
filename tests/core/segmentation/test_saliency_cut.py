"""Tests of SaliencyCut."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

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
