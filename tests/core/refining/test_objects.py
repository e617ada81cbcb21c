"""Maps of whole objects: every step against a naive version in float64, and images at the edge of what there is."""

import dataclasses
import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from saliency_core.colour.lab import lab_planes
from saliency_core.methods.attribution import Features
from saliency_core.parameters import ObjectParameters
from saliency_core.refining.objects import (
    Evidence,
    ImageMeans,
    appearance,
    background_probability,
    drawn_apart,
    joint_evidence,
    optimise,
    otsu_threshold,
    similarity,
    whole_objects,
)
from saliency_core.superpixels.graph import Nodes, mean_colours
from saliency_core.superpixels.statistics import slic_superpixels

PARAMETERS = ObjectParameters()


def nodes_of(image: NDArray[np.uint8], segments: int = 30) -> Nodes:
    lab = lab_planes(image)
    labels = slic_superpixels(image, segments, 10.0, "compiled", lab)
    return Nodes.of(labels, mean_colours(lab, labels))


def scene(height: int = 60, width: int = 80) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A red disc on green grass, with noise."""
    y, x = np.mgrid[:height, :width]
    disc = (y - height / 2) ** 2 + (x - width / 2) ** 2 < (height / 4) ** 2
    image = np.where(disc[..., None], (200, 40, 40), (60, 150, 60))
    noise = np.random.default_rng(0).normal(0, 6, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8), disc


def evidence_of(disc: NDArray[np.bool_], features: bool = True) -> Evidence:
    """Evidence of one half of the disc alone."""
    height, width = disc.shape
    raw = np.zeros((height, width), np.float32)
    raw[height // 4 : height // 2, 2 * width // 5 : 3 * width // 5] = 1.0
    layer = np.zeros((6, 8), np.float16)
    layer[2:4, 3:5] = 1.0
    grid = disc[5::10, 5::10]
    codes = np.where(grid[..., None], (255, 0, 0), (0, 255, 0)).astype(np.uint8)
    parts = (Features(codes, np.array([0.0, 1 / 255], np.float32)),) * 2 if features else ()
    return Evidence(raw, (layer,), parts)


def test_the_object_is_found_whole() -> None:
    image, disc = scene()
    evidence = evidence_of(disc)
    found = whole_objects([nodes_of(image, 30), nodes_of(image, 60)], evidence)
    assert found.dtype == np.float32
    assert found.max() == 1.0
    assert found.min() >= 0.0
    assert found[disc].mean() > 0.9 > 0.1 > found[~disc].mean()
    np.testing.assert_array_equal(found, whole_objects([nodes_of(image, 30), nodes_of(image, 60)], evidence))
    raw_alone = whole_objects([nodes_of(image, 60)], Evidence(evidence.raw))
    assert raw_alone[disc].mean() > 0.8 > 0.2 > raw_alone[~disc].mean()


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (2, 2), (5, 7), (30, 40)])
@pytest.mark.parametrize("look", ["uniform", "noise"])
@pytest.mark.parametrize("known", ["nothing", "raw", "all"])
def test_odd_images_have_maps(shape: tuple[int, int], look: str, known: str) -> None:
    random = np.random.default_rng(1)
    image = (
        random.integers(0, 256, (*shape, 3)).astype(np.uint8) if look == "noise" else np.full((*shape, 3), 9, np.uint8)
    )
    raw = random.random(shape).astype(np.float32) if known != "nothing" else np.zeros(shape, np.float32)
    codes = np.zeros((3, 3, 4), np.uint8)
    evidence = Evidence(raw)
    if known == "all":
        evidence = Evidence(raw, (np.zeros((3, 3), np.float16),), (Features(codes, np.zeros(2, np.float32)),) * 2)
    found = whole_objects([nodes_of(image, 1), nodes_of(image, 20)], evidence)
    assert found.shape == shape
    assert ((found >= 0) & (found <= 1)).all()
    if known == "nothing":
        assert not found.any()


def test_evidence_is_the_sum_of_the_scaled_means() -> None:
    image, disc = scene()
    nodes, evidence = nodes_of(image), evidence_of(disc)
    means = ImageMeans(nodes)
    count = len(nodes.areas)
    raw = np.array([evidence.raw[nodes.labels == node].astype(float).mean() for node in range(count)])
    layer = means.of_grid(evidence.layers[0].astype(np.float32)[..., None])[:, 0].astype(float)

    def scaled(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return (values - values.min()) / (values.max() - values.min())

    expected = scaled(0.5 * scaled(raw) + scaled(layer))
    np.testing.assert_allclose(joint_evidence(means, evidence, 0.5), expected, atol=1e-6)


def random_graph(count: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]]:
    random = np.random.default_rng(seed)
    points = random.uniform(0, 40, (count, 3))
    distances = np.sqrt(((points[:, None] - points[None]) ** 2).sum(axis=2))
    pairs = random.random((count, count)) < 0.3
    pairs |= np.eye(count, k=1, dtype=bool)
    pairs = (pairs | pairs.T) & ~np.eye(count, dtype=bool)
    return distances.astype(np.float32), pairs, random.random(count) < 0.4


@pytest.mark.parametrize("seed", range(3))
def test_background_against_the_formula(seed: int) -> None:
    count = 14
    distances, edges, border = random_graph(count, seed)
    clip = np.mean([min(float(distances[i, j]) for j in range(count) if edges[i, j]) for i in range(count)])
    ways = np.where(edges, np.maximum(distances.astype(float) - clip, 0), np.inf)
    np.fill_diagonal(ways, 0.0)
    for k, i, j in itertools.product(range(count), repeat=3):
        ways[i, j] = min(ways[i, j], ways[i, k] + ways[k, j])
    near = np.exp(-(ways**2) / (2 * 10.0**2))
    connectivity = near[:, border].sum(axis=1) / np.sqrt(near.sum(axis=1))
    expected = 1 - np.exp(-(connectivity**2) / 2)
    found = background_probability(distances, edges, edges, border, 10.0)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert not background_probability(distances, edges, edges, border & False, 10.0).any()


@pytest.mark.parametrize("seed", range(3))
def test_the_optimum_is_where_the_gradient_vanishes(seed: int) -> None:
    random = np.random.default_rng(seed)
    colour, pairs, _ = random_graph(12, seed)
    weights = similarity(colour, None, pairs, pairs, PARAMETERS)
    expected_weights = np.where(pairs, np.exp(-(colour.astype(float) ** 2) / 200) + 0.1, 0)
    np.testing.assert_allclose(weights, expected_weights, rtol=1e-5)
    background, foreground = random.random(12), random.random(12)
    # Gradient descent on the cost itself.
    saliency = np.full(12, 0.5)
    for _ in range(20_000):
        slope = background * saliency + foreground * (saliency - 1)
        slope += (weights * (saliency[:, None] - saliency[None])).sum(axis=1)
        saliency -= 0.05 * slope
    expected = (saliency - saliency.min()) / (saliency.max() - saliency.min())
    np.testing.assert_allclose(optimise(background, foreground, weights), expected, atol=1e-4)
    zeros = np.zeros(12)
    assert not optimise(zeros, zeros, weights).any()


def test_features_are_read_by_their_scale() -> None:
    """The same unit vectors, coded from below and from above, are as far apart."""
    image, disc = scene()
    nodes = nodes_of(image)
    angles = np.random.default_rng(1).uniform(0, np.pi / 2, (6, 8))
    units = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    maps = []
    for low, step in ((0.0, 1 / 255), (1.0, -1 / 255)):
        codes = np.round((units - low) / step).astype(np.uint8)
        part = Features(codes, np.array([low, step], np.float32))
        maps.append(whole_objects([nodes], dataclasses.replace(evidence_of(disc), features=(part, part))))
    np.testing.assert_allclose(maps[0], maps[1], atol=1e-4)


def test_similarity_counts_features_and_neighbours() -> None:
    colour, pairs, _ = random_graph(8, 4)
    fine = (np.abs(np.subtract.outer(np.arange(8), np.arange(8))) / 8).astype(np.float32)
    adjacent = pairs & (np.add.outer(np.arange(8), np.arange(8)) % 2 == 0)
    parameters = dataclasses.replace(PARAMETERS, fine_scale=10.0, similarity_sigma=10.0, adjacency=0.1)
    found = similarity(colour, fine, adjacent, pairs, parameters)
    expected = np.where(pairs, np.exp(-(colour.astype(float) ** 2 + (10 * fine) ** 2) / 200), 0) + 0.1 * adjacent
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_appearance_is_kernel_ridge_regression() -> None:
    random = np.random.default_rng(6)
    colour, _, _ = random_graph(10, 6)
    fine = (colour / 60).astype(np.float32)
    saliency, areas = random.random(10), random.uniform(5, 50, 10)
    kernel = np.exp(-(fine.astype(float) ** 2) / (2 * 0.5**2) - colour.astype(float) ** 2 / (2 * 30.0**2))
    parameters = dataclasses.replace(PARAMETERS, look_colour_sigma=30.0, look_fine_sigma=0.5, look_ridge=1.0)
    found = appearance(saliency, areas, colour, fine, parameters)
    values = np.maximum(kernel @ np.linalg.inv(kernel + np.diag(areas.mean() / areas)) @ saliency, 0)
    np.testing.assert_allclose(found, (values - values.min()) / (values.max() - values.min()), atol=1e-5)


def test_otsu_splits_where_the_variance_between_is_largest() -> None:
    for seed in range(20):
        values = np.round(np.random.default_rng(seed).random(15), 1 if seed % 2 else 6)
        threshold = otsu_threshold(values)

        def between(at: float, values: NDArray[np.float64] = values) -> float:
            high, low = values[values > at], values[values <= at]
            return len(high) * len(low) * (high.mean() - low.mean()) ** 2 if len(high) and len(low) else 0.0

        assert between(threshold) == pytest.approx(max(between(at) for at in values))
    assert otsu_threshold(np.full(4, 0.3)) == 0.3
    assert otsu_threshold(np.array([0.7])) == 0.7


def test_values_are_drawn_apart_around_their_threshold() -> None:
    map_ = np.concatenate([np.linspace(0, 0.2, 40), np.linspace(0.4, 1.0, 10)]).astype(np.float32).reshape(5, 10)
    map_ = np.kron(map_, np.ones((4, 4), np.float32))
    found = drawn_apart(map_, 10.0)
    assert found.dtype == np.float32
    np.testing.assert_allclose([found.min(), found.max()], [0.0, 1.0], atol=1e-6)
    assert (np.diff(found.ravel()[np.argsort(map_.ravel())]) >= 0).all()
    assert found[map_ < 0.2].max() < 0.5 < found[map_ > 0.5].min()
    np.testing.assert_array_equal(drawn_apart(map_, 0.0), map_)
    threshold = otsu_threshold(map_[::4, ::4].astype(np.float64).ravel())
    low, curve, high = (1 / (1 + np.exp(-10.0 * (values - threshold))) for values in (0.0, map_, 1.0))
    np.testing.assert_allclose(found, (curve - low) / (high - low), atol=1e-6)
    for value in (0.0, 1.0):
        np.testing.assert_array_equal(drawn_apart(np.full((3, 3), value, np.float32), 10.0), value)
