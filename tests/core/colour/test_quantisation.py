"""Tests of the colour quantisation and the colour space smoothing."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from skimage.color import rgb2lab

from saliency_core.colour.quantisation import (
    blur_3x3,
    quantise_colours,
    smooth_over_similar_colours,
)


def naive_quantisation(image: NDArray[np.uint8]) -> tuple[list[int], list[tuple[int, int, int]]]:
    """Colour of every pixel and the kept bins (blue, green, red), by plain loops."""
    pixels = [tuple(int(v / 255 * 11.9999) for v in pixel[::-1]) for pixel in image.reshape(-1, 3).tolist()]
    ordered = sorted(Counter(pixels).items(), key=lambda item: (item[1], item[0]), reverse=True)
    kept = len(ordered)
    dropped = 0
    while kept > 1 and dropped + ordered[kept - 1][1] < round(len(pixels) * (1 - 0.95)):
        dropped += ordered[kept - 1][1]
        kept -= 1
    kept = min(max(min(kept, 256), 10), len(ordered))
    bins = [bin_ for bin_, _ in ordered]
    chosen = {}
    for bin_ in bins:
        distances = [sum((a - b) ** 2 for a, b in zip(bin_, other, strict=True)) for other in bins[:kept]]
        chosen[bin_] = distances.index(min(distances))
    return [chosen[pixel] for pixel in pixels], bins[:kept]  # type: ignore[return-value]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), height=st.integers(1, 40), width=st.integers(1, 40), spread=st.integers(1, 255))
def test_matches_plain_loops(seed: int, height: int, width: int, spread: int) -> None:
    rng = np.random.default_rng(seed)
    image = (rng.beta(0.7, 2, (height, width, 3)) * spread).astype(np.uint8)
    expected_indices, kept = naive_quantisation(image)
    quantised = quantise_colours(image)
    assert quantised.indices.ravel().tolist() == expected_indices
    assert len(quantised.counts) == len(quantised.colours) == len(kept)
    assert quantised.counts.sum() == height * width
    means = [image.reshape(-1, 3)[quantised.indices.ravel() == k].mean(axis=0) / 255 for k in range(len(kept))]
    np.testing.assert_allclose(quantised.colours, rgb2lab(np.array(means)), atol=1e-9)


def test_keeps_at_most_256_colours() -> None:
    rng = np.random.default_rng(0)
    quantised = quantise_colours(rng.integers(0, 256, (200, 200, 3), np.uint8))
    assert len(quantised.counts) == 256
    assert (quantised.counts > 0).all()


def test_rare_colour_joins_the_nearest_kept_one() -> None:
    # Eleven bins of red; the rarest has 3 of 110 pixels (below 5 %) and is next to bin 9.
    reds = np.repeat(np.arange(11) * 22 + 2, [14, 10, 10, 10, 10, 10, 10, 11, 11, 11, 3]).astype(np.uint8)
    image = np.zeros((1, 110, 3), np.uint8)
    image[0, :, 0] = reds
    quantised = quantise_colours(image)
    assert len(quantised.counts) == 10
    assert quantised.indices[0, -1] == quantised.indices[0, -4]
    assert quantised.counts[quantised.indices[0, -1]] == 14


@pytest.mark.parametrize(
    "image",
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)],
)
def test_refuses_other_images(image: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match="uint8 array"):
        quantise_colours(image)


def test_smoothing_matches_the_formula() -> None:
    rng = np.random.default_rng(1)
    count, fraction = 23, 0.25
    colours, saliency, weights = rng.random((count, 3)), rng.random(count), rng.integers(1, 90, count)
    distances = np.linalg.norm(colours[:, None] - colours[None], axis=2)
    expected = []
    for i in range(count):
        nearest = sorted(range(count), key=lambda j: distances[i, j])[:6]  # round(23 / 4)
        total = sum(distances[i, j] for j in nearest)
        numerator = sum((total - distances[i, j]) * weights[j] * saliency[j] for j in nearest)
        expected.append(numerator / (total * sum(weights[j] for j in nearest)))
    low, high = min(expected), max(expected)
    np.testing.assert_allclose(
        smooth_over_similar_colours(saliency, distances, fraction, weights),
        (np.array(expected) - low) / (high - low),
        atol=1e-12,
    )


def test_a_single_colour_is_not_salient() -> None:
    assert smooth_over_similar_colours(np.array([3.0]), np.zeros((1, 1)), 0.1, np.ones(1)).tolist() == [0]


def test_blur_mirrors_the_map_about_its_edge_rows() -> None:
    peak = np.zeros((4, 4))
    peak[1, 1] = 16
    assert blur_3x3(peak).tolist() == [[4, 4, 2, 0], [4, 4, 2, 0], [2, 2, 1, 0], [0, 0, 0, 0]]
