"""The graph of superpixels against naive versions in float64."""

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from saliency_core.superpixels.graph import (
    Nodes,
    border_clique,
    cell_weights,
    colour_distances,
    feature_distances,
    geodesic_distances,
    mean_colours,
    smallest_distance,
    two_rings,
)
from saliency_core.superpixels.slic import slic


def labels_of(height: int, width: int, segments: int = 20, seed: int = 0) -> NDArray[np.int32]:
    lab = np.random.default_rng(seed).uniform(0, 100, (3, height, width)).astype(np.float32)
    return slic(lab, segments, 10.0)


SHAPES = [(40, 60), (1, 30), (30, 1), (1, 1), (3, 2)]


@pytest.mark.parametrize("shape", SHAPES)
def test_nodes_against_every_pixel(shape: tuple[int, int]) -> None:
    labels = labels_of(*shape)
    lab = np.random.default_rng(1).uniform(-50, 100, (3, *shape)).astype(np.float32)
    count = int(labels.max()) + 1
    nodes = Nodes.of(labels, mean_colours(lab, labels))
    adjacent = np.zeros((count, count), bool)
    border = np.zeros(count, bool)
    for y, x in itertools.product(range(shape[0]), range(shape[1])):
        border[labels[y, x]] |= y in (0, shape[0] - 1) or x in (0, shape[1] - 1)
        for other in ((y + 1, x), (y, x + 1)):
            if other[0] < shape[0] and other[1] < shape[1] and labels[other] != labels[y, x]:
                adjacent[labels[y, x], labels[other]] = adjacent[labels[other], labels[y, x]] = True
    np.testing.assert_array_equal(nodes.adjacent, adjacent)
    np.testing.assert_array_equal(nodes.border, border)
    np.testing.assert_array_equal(nodes.areas, [(labels == label).sum() for label in range(count)])
    for label in range(count):
        np.testing.assert_allclose(nodes.lab[label], lab[:, labels == label].astype(float).mean(axis=1), atol=1e-4)
    expected = adjacent.copy()
    for i, j in itertools.product(range(count), repeat=2):
        expected[i, j] |= i != j and bool((adjacent[i] & adjacent[j]).any())
    np.testing.assert_array_equal(two_rings(adjacent), expected)
    clique = [[i != j and border[i] and border[j] for j in range(count)] for i in range(count)]
    np.testing.assert_array_equal(border_clique(border), np.array(clique, bool).reshape(count, count))


def test_geodesic_distances_against_bellman_ford() -> None:
    random = np.random.default_rng(3)
    for count in (1, 2, 12, 25):
        lengths = random.uniform(0, 10, (count, count))
        lengths = (lengths + lengths.T) / 2
        edges = random.random((count, count)) < 0.15
        edges = (edges | edges.T) & ~np.eye(count, dtype=bool)
        expected = np.where(edges, lengths, np.inf)
        np.fill_diagonal(expected, 0.0)
        for _ in range(count):
            for i, j in itertools.product(range(count), repeat=2):
                expected[i, j] = (expected[i] + expected[:, j]).min()
        found = geodesic_distances(lengths.astype(np.float32), edges)
        np.testing.assert_allclose(found, expected, rtol=1e-5)
        near = geodesic_distances(lengths.astype(np.float32), edges, reach=6.0)
        np.testing.assert_allclose(near, np.where(found <= 6.0, expected, np.inf), rtol=1e-5)
    assert np.isinf(geodesic_distances(np.zeros((2, 2), np.float32), np.zeros((2, 2), bool))[0, 1])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("grid", [(1, 1), (3, 5), (13, 13)])
def test_cell_weights_are_the_mean_of_the_interpolated_grid(shape: tuple[int, int], grid: tuple[int, int]) -> None:
    labels = labels_of(*shape)
    count = int(labels.max()) + 1
    values = np.random.default_rng(4).normal(size=grid)
    sums, areas = np.zeros(count), np.zeros(count)
    for y, x in itertools.product(range(shape[0]), range(shape[1])):
        place = []
        for position, pixels, cells in ((y, shape[0], grid[0]), (x, shape[1], grid[1])):
            at = min(max((position + 0.5) * cells / pixels - 0.5, 0.0), cells - 1.0)
            place.append((int(at), min(int(at) + 1, cells - 1), at - int(at)))
        (up, down, below), (left, right, beside) = place
        upper = values[up, left] * (1 - beside) + values[up, right] * beside
        lower = values[down, left] * (1 - beside) + values[down, right] * beside
        sums[labels[y, x]] += upper * (1 - below) + lower * below
        areas[labels[y, x]] += 1
    weights = cell_weights(labels, count, *grid)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(weights @ values.ravel(), sums / areas, rtol=1e-4, atol=1e-5)


def test_distances() -> None:
    random = np.random.default_rng(5)
    lab = random.uniform(-60, 60, (9, 3)).astype(np.float32)
    expected = np.sqrt(((lab[:, None].astype(float) - lab[None]) ** 2).sum(axis=2))
    np.testing.assert_allclose(colour_distances(lab), expected, rtol=1e-5)
    features = np.abs(random.normal(size=(9, 40))).astype(np.float32)
    features[3] = 0.0
    features[5] = 2.0 * features[4]
    lengths = np.linalg.norm(features.astype(float), axis=1)
    unit = np.divide(features, lengths[:, None], out=np.zeros((9, 40)), where=lengths[:, None] > 0)
    found = feature_distances(features)
    expected = np.sqrt(np.maximum(2 - 2 * unit @ unit.T, 0))
    np.fill_diagonal(expected, 0.0)
    np.testing.assert_allclose(found, expected, atol=1e-3)
    np.testing.assert_array_equal(found, found.T)
    assert found[3, 4] == pytest.approx(np.sqrt(2))
    assert found[4, 5] < 1e-3


def test_smallest_distance_is_the_mean_of_the_nearest_partners() -> None:
    distances = np.array([[0, 3, 5], [3, 0, 1], [5, 1, 0]], np.float32)
    all_pairs = ~np.eye(3, dtype=bool)
    assert smallest_distance(distances, all_pairs) == pytest.approx((3 + 1 + 1) / 3)
    some = all_pairs.copy()
    some[0] = some[:, 0] = False  # a node without partners does not count
    assert smallest_distance(distances, some) == pytest.approx(1.0)
    assert smallest_distance(distances[:1, :1], all_pairs[:1, :1] & False) == 0.0
