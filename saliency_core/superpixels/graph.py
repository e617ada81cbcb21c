"""A graph of superpixels: who lies beside whom, how unlike they are, and how far apart on the way."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from saliency_core._numba import compiled
from saliency_core.colour.lab import LabPlanes
from saliency_core.superpixels.statistics import LabelMap

Matrix = NDArray[np.float32]
"""One number for every pair of nodes (n, n)."""
Pairs = NDArray[np.bool_]
"""Which pairs of nodes (n, n); symmetric, no node with itself."""

_FAR = np.float32(3e38)


@dataclass(frozen=True, eq=False)
class Nodes:
    """The superpixels of one image at one size.

    Parameters
    ----------
    labels : int32 array (H, W)
        Superpixel labels 0..n-1.
    areas : float64 array (n,)
        Pixels of each.
    lab : float32 array (n, 3)
        Mean CIE Lab colours.
    adjacent : bool array (n, n)
        Pairs that share an edge between two pixels.
    border : bool array (n,)
        Those that touch the image's border.
    """

    labels: LabelMap
    areas: NDArray[np.float64]
    lab: NDArray[np.float32]
    adjacent: Pairs
    border: NDArray[np.bool_]

    @classmethod
    def of(cls, labels: LabelMap, lab: NDArray[np.float32]) -> "Nodes":
        """Make the nodes of a label map (H, W), whose mean colours (n, 3) are known."""
        count = len(lab)
        areas = np.bincount(labels.ravel(), minlength=count).astype(np.float64)
        adjacent, border = _contacts(labels, count)
        return cls(labels, areas, lab, adjacent, border)


def mean_colours(lab: LabPlanes, labels: LabelMap) -> NDArray[np.float32]:
    """Average an image's Lab planes (3, H, W) over every superpixel (n, 3)."""
    return node_means(lab, labels, int(labels.max()) + 1).astype(np.float32)


def node_means(planes: NDArray[np.float32], labels: LabelMap, count: int) -> NDArray[np.float64]:
    """Average planes (k, H, W) over every superpixel (n, k)."""
    sums = np.zeros((count, len(planes)))
    areas = np.zeros(count)
    _add_up(planes, labels, sums, areas)
    return sums / areas[:, None]


@compiled
def _add_up(
    planes: NDArray[np.float32], labels: LabelMap, sums: NDArray[np.float64], areas: NDArray[np.float64]
) -> None:
    height, width = labels.shape
    for y in range(height):
        for x in range(width):
            areas[labels[y, x]] += 1.0
    for plane in range(len(planes)):
        for y in range(height):
            for x in range(width):
                sums[labels[y, x], plane] += planes[plane, y, x]


@compiled
def _contacts(labels: LabelMap, count: int) -> tuple[Pairs, NDArray[np.bool_]]:
    """Find the pairs of labels that share an edge between pixels (4-connected), and those at the image's border."""
    height, width = labels.shape
    adjacent = np.zeros((count, count), np.bool_)
    border = np.zeros(count, np.bool_)
    for y in range(height):
        border[labels[y, 0]] = True
        border[labels[y, width - 1]] = True
        for x in range(width):
            own = labels[y, x]
            if x + 1 < width and labels[y, x + 1] != own:
                adjacent[own, labels[y, x + 1]] = True
                adjacent[labels[y, x + 1], own] = True
            if y + 1 < height and labels[y + 1, x] != own:
                adjacent[own, labels[y + 1, x]] = True
                adjacent[labels[y + 1, x], own] = True
    for x in range(width):
        border[labels[0, x]] = True
        border[labels[height - 1, x]] = True
    return adjacent, border


def border_clique(border: NDArray[np.bool_]) -> Pairs:
    """Return all pairs of nodes at the image's border (n, n)."""
    pairs: Pairs = border[:, None] & border[None, :]
    np.fill_diagonal(pairs, False)
    return pairs


def two_rings(adjacent: Pairs) -> Pairs:
    """Return the pairs (n, n) that are adjacent or have a neighbour in common."""
    return _two_rings(adjacent)


@compiled
def _two_rings(adjacent: Pairs) -> Pairs:
    count = len(adjacent)
    pairs = adjacent.copy()
    neighbours = np.empty(count, np.int64)
    for node in range(count):
        found = 0
        for other in range(count):
            if adjacent[node, other]:
                neighbours[found] = other
                found += 1
        for i in range(found):
            for j in range(found):
                if i != j:
                    pairs[neighbours[i], neighbours[j]] = True
    return pairs


def colour_distances(lab: NDArray[np.float32]) -> Matrix:
    """Return the Euclidean distances (n, n) of colours (n, 3)."""
    return _distances(np.ascontiguousarray(lab, np.float32))


@compiled
def _distances(points: NDArray[np.float32]) -> Matrix:
    count, axes = points.shape
    found = np.zeros((count, count), np.float32)
    for i in range(count):
        for j in range(i):
            total = np.float32(0)
            for axis in range(axes):
                total += (points[i, axis] - points[j, axis]) ** 2
            found[i, j] = math.sqrt(total)
            found[j, i] = found[i, j]
    return found


def feature_distances(features: NDArray[np.float32]) -> Matrix:
    """Return the distances (n, n) of vectors (n, C) brought to unit length: sqrt(2 - 2 cos), in [0, 2].

    A vector of zeros has distance sqrt(2) to all others, as if it were orthogonal to them.
    """
    lengths = np.sqrt((features**2).sum(axis=1, keepdims=True))
    unit = features / np.maximum(lengths, 1e-12)
    cosines = unit @ unit.T
    cosines = (cosines + cosines.T) / 2  # a product of matrices is not symmetric to the last bit
    found: Matrix = np.sqrt(np.maximum(2.0 - 2.0 * cosines, 0.0)).astype(np.float32)
    np.fill_diagonal(found, 0.0)
    return found


def cell_weights(labels: LabelMap, count: int, rows: int, columns: int) -> NDArray[np.float32]:
    """Say how much every cell of a coarse grid counts in the mean over every superpixel.

    Parameters
    ----------
    labels : int32 array (H, W)
    count : int
        Number of superpixels n.
    rows, columns : int
        Of the grid, which covers the image.

    Returns
    -------
    float32 array (n, rows * columns)
        Each row sums to 1. ``cell_weights @ values`` is the mean over each superpixel of the grid's values,
        interpolated bilinearly between the centres of cells.
    """
    return _cell_weights(labels, count, rows, columns)


@compiled
def _cell_weights(labels: LabelMap, count: int, rows: int, columns: int) -> NDArray[np.float32]:
    height, width = labels.shape
    weights = np.zeros((count, rows * columns), np.float32)
    areas = np.zeros(count, np.int64)
    left = np.empty(width, np.int64)
    right = np.empty(width, np.int64)
    share = np.empty(width, np.float32)
    for x in range(width):
        place = min(max((x + 0.5) * columns / width - 0.5, 0.0), columns - 1.0)
        left[x] = int(place)
        right[x] = min(left[x] + 1, columns - 1)
        share[x] = place - left[x]
    for y in range(height):
        place = min(max((y + 0.5) * rows / height - 0.5, 0.0), rows - 1.0)
        upper = int(place)
        lower = min(upper + 1, rows - 1)
        below = np.float32(place - upper)
        above = np.float32(1.0) - below
        for x in range(width):
            label = labels[y, x]
            areas[label] += 1
            other = np.float32(1.0) - share[x]
            weights[label, upper * columns + left[x]] += above * other
            weights[label, upper * columns + right[x]] += above * share[x]
            weights[label, lower * columns + left[x]] += below * other
            weights[label, lower * columns + right[x]] += below * share[x]
    for label in range(count):
        scale = np.float32(1.0 / max(areas[label], 1))
        for cell in range(rows * columns):
            weights[label, cell] *= scale
    return weights


def smallest_distance(distances: Matrix, pairs: Pairs) -> float:
    """Return the mean over all nodes of the distance to the most similar node among their partners; 0 without any."""
    if len(distances) < 2 or not pairs.any():
        return 0.0
    smallest = np.where(pairs, distances, _FAR).min(axis=1)
    return float(smallest[smallest < _FAR].astype(np.float64).mean())


def geodesic_distances(lengths: Matrix, edges: Pairs, reach: float = math.inf) -> Matrix:
    """Return the lengths of the shortest ways between all pairs of nodes.

    Parameters
    ----------
    lengths : float32 array (n, n)
        Of the edges, >= 0, symmetric.
    edges : bool array (n, n)
        Which pairs have one.
    reach : float
        Longer ways are not looked for, which saves most of the work.

    Returns
    -------
    float32 array (n, n)
        0 on the diagonal; infinite where there is no way, or none within reach.

    References
    ----------
    Floyd, "Algorithm 97: Shortest path", CACM 1962.
    """
    found = np.where(edges, lengths, _FAR).astype(np.float32)
    np.fill_diagonal(found, 0.0)
    # No part of a way is longer than the whole: what is beyond reach leads to nothing within.
    _shorten(found, np.float32(min(reach, 2e38)))
    found[found > reach] = np.inf
    found[found >= _FAR] = np.inf
    return found


@compiled
def _shorten(distances: Matrix, reach: np.float32) -> None:
    """Floyd's loop over the lower half of a symmetric matrix; the upper half is filled at the end."""
    count = len(distances)
    row = np.empty(count, np.float32)
    for through in range(count):
        for end in range(count):
            row[end] = distances[through, end] if end <= through else distances[end, through]
        for start in range(count):
            first = row[start]
            if first > reach:
                continue
            line = np.uint64(start)
            for end in range(line):
                way = first + row[end]
                known = distances[line, end]
                distances[line, end] = way if way < known else known
    for start in range(count):
        for end in range(start):
            distances[end, start] = distances[start, end]
