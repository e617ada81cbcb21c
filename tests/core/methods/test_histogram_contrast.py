"""Tests of histogram contrast."""

import numpy as np
from scipy.ndimage import convolve

from saliency_core.colour.quantisation import GAUSSIAN_3X3, quantise_colours
from saliency_core.methods.histogram_contrast import histogram_contrast


def test_matches_the_equations() -> None:
    rng = np.random.default_rng(0)
    image = (rng.beta(0.7, 2, (30, 40, 3)) * 255).astype(np.uint8)
    indices, colours, counts = quantise_colours(image)
    frequencies = counts / counts.sum()
    distances = np.array([[np.sqrt(((a - b) ** 2).sum()) for b in colours] for a in colours])
    saliency = [sum(frequencies[j] * distances[i, j] for j in range(len(colours))) for i in range(len(colours))]
    similar = max(round(len(colours) / 4), 2)
    smoothed = []
    for i in range(len(colours)):
        nearest = np.argsort(distances[i])[:similar]
        total = distances[i, nearest].sum()
        smoothed.append(sum((total - distances[i, j]) * saliency[j] for j in nearest) / ((similar - 1) * total))
    expected = convolve(np.array(smoothed)[indices], GAUSSIAN_3X3, mode="mirror")
    expected = (expected - expected.min()) / (expected.max() - expected.min())
    np.testing.assert_allclose(histogram_contrast(image), expected, atol=1e-5)


def test_rare_colour_is_the_salient_one() -> None:
    image = np.full((40, 60, 3), 100, np.uint8)
    image[:, 50:] = (110, 130, 120)
    image[10:20, 10:20] = (250, 20, 20)
    saliency = histogram_contrast(image)
    assert saliency.dtype == np.float32
    assert saliency[15, 15] == 1
    assert saliency[30, 20] == 0
    assert 0 < saliency[20, 55] < 0.5


def test_image_of_one_colour_is_all_zero() -> None:
    saliency = histogram_contrast(np.full((8, 9, 3), 77, np.uint8))
    assert saliency.shape == (8, 9)
    assert not saliency.any()


def test_single_pixel() -> None:
    assert histogram_contrast(np.zeros((1, 1, 3), np.uint8)).tolist() == [[0]]
