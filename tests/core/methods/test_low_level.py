import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from skimage.color import rgb2lab

from saliency_core._arrays import min_max
from saliency_core.imaging.decoding import decode_image
from saliency_core.methods.low_level import (
    centre_prior,
    colour_distribution,
    global_contrast,
    low_level_saliency,
    smooth_in_colour_space,
)
from saliency_core.parameters import LowLevelParameters
from saliency_core.superpixels.statistics import LabelMap, slic_superpixels

# --- the formulas again, written as loops


def naive_distances(colours: NDArray[np.float64]) -> NDArray[np.float64]:
    count = len(colours)
    distances = np.zeros((count, count))
    for i in range(count):
        for j in range(count):
            distances[i, j] = math.sqrt(sum((colours[i][c] - colours[j][c]) ** 2 for c in range(3)))
    return distances


def naive_contrast(distances: NDArray[np.float64]) -> list[float]:
    return [sum(distances[i, j] for j in range(len(distances))) for i in range(len(distances))]


def naive_centre_prior(centroids: NDArray[np.float64], falloff: float) -> list[float]:
    return [math.exp(-falloff * ((y - 0.5) ** 2 + (x - 0.5) ** 2)) for y, x in centroids]


def naive_smoothing(contrast: list[float], distances: NDArray[np.float64]) -> list[float]:
    count = len(contrast)
    if count == 1:
        return list(contrast)
    m = max(count // 4, 2)
    smoothed = []
    for i in range(count):
        nearest = sorted(range(count), key=lambda j: (distances[i, j], j))[:m]
        total = sum(distances[i, j] for j in nearest)
        if total == 0:
            smoothed.append(sum(contrast[j] for j in nearest) / m)
        else:
            weights = [(total - distances[i, j]) / ((m - 1) * total) for j in nearest]
            assert sum(weights) == pytest.approx(1)
            smoothed.append(sum(w * contrast[j] for w, j in zip(weights, nearest, strict=True)))
    return smoothed


def naive_distribution(distances: NDArray[np.float64], centroids: NDArray[np.float64], sigma: float) -> list[float]:
    count = len(distances)
    spreads = []
    for i in range(count):
        weights = [math.exp(-(distances[i, j] ** 2) / (2 * sigma**2)) for j in range(count)]
        weights = [w / sum(weights) for w in weights]
        mean_y = sum(w * p[0] for w, p in zip(weights, centroids, strict=True))
        mean_x = sum(w * p[1] for w, p in zip(weights, centroids, strict=True))
        spreads.append(
            sum(w * ((p[0] - mean_y) ** 2 + (p[1] - mean_x) ** 2) for w, p in zip(weights, centroids, strict=True))
        )
    return naive_min_max(spreads)


def naive_min_max(values: list[float]) -> list[float]:
    low, high = min(values), max(values)
    return [(value - low) / (high - low) for value in values] if high > low else [0.0] * len(values)


def naive_low_level(image: NDArray[np.uint8], labels: LabelMap, parameters: LowLevelParameters) -> list[float]:
    lab = rgb2lab(image)
    height, width = labels.shape
    colours, centroids = [], []
    for label in range(labels.max() + 1):
        pixels = [(y, x) for y in range(height) for x in range(width) if labels[y, x] == label]
        colours.append([sum(lab[y, x, c] for y, x in pixels) / len(pixels) for c in range(3)])
        centroids.append(
            [
                sum((y + 0.5) / height for y, _ in pixels) / len(pixels),
                sum((x + 0.5) / width for _, x in pixels) / len(pixels),
            ]
        )
    distances = naive_distances(np.array(colours))
    prior = naive_centre_prior(np.array(centroids), parameters.centre_falloff)
    contrast = [a * b for a, b in zip(naive_contrast(distances), prior, strict=True)]
    contrast = naive_smoothing(contrast, distances)
    spread = naive_distribution(distances, np.array(centroids), parameters.colour_sigma)
    return naive_min_max(
        [c * math.exp(-parameters.distribution_falloff * d) for c, d in zip(contrast, spread, strict=True)]
    )


def random_superpixels(seed: int, count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Distances (n, n) of random Lab colours, centroids (n, 2)."""
    rng = np.random.default_rng(seed)
    colours = rng.uniform((0, -80, -80), (100, 80, 80), (count, 3))
    return naive_distances(colours), rng.uniform(0, 1, (count, 2))


COUNTS = [1, 2, 3, 4, 7, 8, 11, 12, 40]


@pytest.mark.parametrize("count", COUNTS)
def test_global_contrast_and_centre_prior(count: int) -> None:
    distances, centroids = random_superpixels(count, count)
    np.testing.assert_allclose(global_contrast(distances), naive_contrast(distances), rtol=1e-12)
    for falloff in (0.0, 9.0, 2.5):
        np.testing.assert_allclose(centre_prior(centroids, falloff), naive_centre_prior(centroids, falloff))


@pytest.mark.parametrize("count", COUNTS)
def test_smoothing_in_colour_space(count: int) -> None:
    distances, _ = random_superpixels(count, count)
    contrast = np.random.default_rng(1).uniform(0, 500, count)
    found = smooth_in_colour_space(contrast, distances)
    np.testing.assert_allclose(found, naive_smoothing(contrast.tolist(), distances), rtol=1e-12)
    np.testing.assert_allclose(smooth_in_colour_space(np.full(count, 3.0), distances), 3.0)


def test_smoothing_by_hand() -> None:
    # Grey levels 0, 1, 3, 10, ..: m = 12 // 4 = 3 nearest. For the first: distances 0, 1, 3, total 4,
    # weights 4/8, 3/8, 1/8.
    levels = np.array([0, 1, 3, 10, 20, 30, 40, 50, 60, 70, 80, 90], float)
    distances = np.abs(levels[:, None] - levels[None, :])
    contrast = np.arange(12.0) ** 2
    assert smooth_in_colour_space(contrast, distances)[0] == pytest.approx(0 * 4 / 8 + 1 * 3 / 8 + 4 * 1 / 8)


def test_smoothing_among_identical_colours_is_the_plain_mean() -> None:
    distances = np.zeros((8, 8))
    distances[4:, :4] = distances[:4, 4:] = 50.0  # two groups of four equal colours; m = 2
    contrast = np.array([1.0, 3.0, 100.0, 100.0, 7.0, 9.0, 100.0, 100.0])
    found = smooth_in_colour_space(contrast, distances)
    np.testing.assert_allclose(found, [2.0] * 4 + [8.0] * 4)


@pytest.mark.parametrize("sigma", [5.0, 20.0, 100.0])
@pytest.mark.parametrize("count", COUNTS)
def test_colour_distribution(count: int, sigma: float) -> None:
    distances, centroids = random_superpixels(count, count)
    found = colour_distribution(distances, centroids, sigma)
    np.testing.assert_allclose(found, naive_distribution(distances, centroids, sigma), atol=1e-9)


def test_a_compact_colour_has_no_spread_and_a_scattered_one_all() -> None:
    centroids = np.array([[0.5, 0.5], [0.1, 0.1], [0.9, 0.9], [0.1, 0.9]])
    colours = np.array([[0, 0, 0], [90, 0, 0], [90, 0, 0], [90, 0, 0]], float)
    np.testing.assert_allclose(colour_distribution(naive_distances(colours), centroids), [0, 1, 1, 1], atol=1e-6)


def test_min_max() -> None:
    np.testing.assert_allclose(min_max(np.array([2.0, 4.0, 3.0])), [0.0, 1.0, 0.5])
    np.testing.assert_allclose(min_max(np.array([-2.0, 2.0])), [0.0, 1.0])
    np.testing.assert_array_equal(min_max(np.array([7.0, 7.0])), [0.0, 0.0])
    np.testing.assert_array_equal(min_max(np.zeros(3)), np.zeros(3))
    np.testing.assert_array_equal(min_max(np.array([0.1 + 0.2, 0.3])), [0.0, 0.0])
    np.testing.assert_allclose(min_max(np.array([1e-30, 2e-30])), [0.0, 1.0])
    np.testing.assert_allclose(min_max(np.array([1.0, 1.0 + 1e-6])), [0.0, 1.0])


# --- the whole


@pytest.mark.parametrize(
    "parameters",
    [
        LowLevelParameters(),
        LowLevelParameters(centre_falloff=0.0),
        LowLevelParameters(distribution_falloff=0.0),
        LowLevelParameters(centre_falloff=3.0, colour_sigma=35.0, distribution_falloff=2.0),
    ],
)
@pytest.mark.parametrize("seed", range(2))
def test_low_level_saliency_against_loops(seed: int, parameters: LowLevelParameters) -> None:
    rng = np.random.default_rng(seed)
    height, width = 24, 36
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    coarse = rng.integers(0, 256, (4, 6, 3), dtype=np.uint8).repeat(6, axis=0).repeat(6, axis=1)
    image = (image // 4 + coarse // 2).astype(np.uint8)
    labels = (np.arange(height)[:, None] // 6 * 6 + np.arange(width)[None, :] // 6).astype(np.int32)
    found = low_level_saliency(image, labels, parameters)
    assert found.dtype == np.float32
    assert found.shape == (24,)
    np.testing.assert_allclose(found, naive_low_level(image, labels, parameters), atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(
    image=hnp.arrays(np.uint8, st.tuples(st.integers(1, 20), st.integers(1, 20), st.just(3))),
    segments=st.integers(1, 40),
)
def test_range(image: NDArray[np.uint8], segments: int) -> None:
    saliency = low_level_saliency(image, slic_superpixels(image, segments))
    assert np.isfinite(saliency).all()
    assert saliency.min() == 0
    assert saliency.max() in (0, 1)


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (200, 13, 77), (1, 2, 3), (17, 99, 201)])
@pytest.mark.parametrize("shape", [(97, 131), (400, 300), (1, 1), (1, 50)])
def test_an_image_of_one_colour_has_no_saliency(shape: tuple[int, int], colour: tuple[int, int, int]) -> None:
    image = np.full((*shape, 3), colour, np.uint8)
    assert not low_level_saliency(image, slic_superpixels(image)).any()


def test_one_superpixel() -> None:
    image = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    np.testing.assert_array_equal(low_level_saliency(image, np.zeros((9, 9), np.int32)), [0.0])


def test_mirrored_halves_are_equally_salient() -> None:
    # Equal but for rounding, which min-max scaling must not stretch.
    for seed in range(10):
        image = np.empty((40, 60, 3), np.uint8)
        image[:, :30], image[:, 30:] = np.random.default_rng(seed).integers(0, 256, (2, 3))
        labels = np.zeros((40, 60), np.int32)
        labels[:, 30:] = 1
        np.testing.assert_array_equal(low_level_saliency(image, labels), [0.0, 0.0])


def square_at(top: int, left: int) -> tuple[NDArray[np.uint8], LabelMap, int]:
    """A red square of 20 pixels on green, 100x100; grid superpixels of 10 pixels; one label inside it."""
    image = np.full((100, 100, 3), (60, 120, 60), np.uint8)
    image[top : top + 20, left : left + 20] = (220, 30, 30)
    labels = (np.arange(100)[:, None] // 10 * 10 + np.arange(100)[None, :] // 10).astype(np.int32)
    return image, labels, int(labels[top, left])


def test_a_centred_colour_of_its_own_is_the_most_salient() -> None:
    image, labels, inside = square_at(40, 40)
    saliency = low_level_saliency(image, labels)
    pixels = saliency[labels]
    square = (image == (220, 30, 30)).all(axis=2)
    assert saliency[inside] > 0.99
    assert pixels[square].min() > 0.99
    assert pixels[~square].max() < 0.1


@pytest.mark.real_data
def test_an_animal_on_a_meadow_is_more_salient_than_the_meadow(real_data: Path) -> None:
    image = decode_image((real_data / "ecssd/images/0049.jpg").read_bytes()).pixels
    mask = decode_image((real_data / "ecssd/ground_truth_mask/0049.png").read_bytes()).pixels[:, :, 0] > 127
    labels = slic_superpixels(image)
    pixels = low_level_saliency(image, labels)[labels]
    assert pixels[mask].mean() > 2 * pixels[~mask].mean()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("centre_falloff", -1.0),
        ("centre_falloff", np.nan),
        ("colour_sigma", 0.0),
        ("colour_sigma", np.nan),
        ("distribution_falloff", -0.1),
        ("distribution_falloff", np.nan),
    ],
)
def test_wrong_parameters(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        LowLevelParameters(**{name: value})
