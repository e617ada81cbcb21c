"""SLIC superpixels, compiled: k-means in Lab colour and position, then connected regions.

The algorithm is that of Achanta et al. with their search window. scikit-image's `slic` is the same but for a window
of twice that width and height; given that window, this code returns nearly the same labels (``window=2``).
"""

import math

import numpy as np
from numpy.typing import NDArray
from skimage.util import regular_grid

from saliency_core._numba import compiled
from saliency_core.colour.lab import LabPlanes

ITERATIONS = 10
"""Steps of k-means at most; Achanta et al. found that ten suffice."""

_FAR = 1e30
"""A distance that any centre undercuts."""
_BLOCK = 32
"""Pixels of a row that are compared with their last labels at a time."""


def slic(lab: LabPlanes, segments: int, compactness: float, window: float = 1.0) -> NDArray[np.int32]:
    """Partition an image into SLIC superpixels.

    Parameters
    ----------
    lab : float32 array (3, H, W)
        CIE Lab of the image.
    segments : int
        Number of superpixels asked for; the grid of their start rounds it down.
    compactness : float
        Weight m of the distance in the image plane: D^2 = d_lab^2 + (m d_xy / S)^2, S the grid's step.
    window : float
        A centre competes for pixels up to this many steps away in each direction. 1 is the window of Achanta et al.

    Returns
    -------
    int32 array (H, W)
        Labels 0..n-1, every one present, each a 4-connected region. Regions of less than half the mean size
        have joined a neighbour.

    References
    ----------
    Achanta et al., "SLIC Superpixels Compared to State-of-the-art Superpixel Methods", TPAMI 2012, Algorithm 1.
    """
    height, width = lab.shape[1:]
    grid = regular_grid((1, height, width), segments)[1:]
    step = max(float(side.step or 1) for side in grid)
    y, x = np.arange(height)[grid[0]], np.arange(width)[grid[1]]
    centres = np.zeros((len(y) * len(x), 5))  # y, x, L, a, b; the first step goes by position alone
    centres[:, 0], centres[:, 1] = np.repeat(y, len(x)), np.tile(x, len(y))
    labels = _cluster(lab, centres, (compactness / step) ** 2, window * step, ITERATIONS)
    mean_size = height * width / len(centres)
    return _connect(labels, math.floor(0.5 * mean_size), math.floor(3 * mean_size))


@compiled
def _cluster(
    lab: LabPlanes, centres: NDArray[np.float64], plane_weight: float, reach: float, iterations: int
) -> NDArray[np.int32]:
    """Assign every pixel to a centre by k-means. Changes `centres`.

    A pixel's squared distance to a centre is |pixel|^2 - 2 pixel . centre + |centre|^2. The first term is the same
    for all centres, so that four multiplications a pixel and centre are enough to find the nearest.
    """
    height, width = lab.shape[1:]
    count = len(centres)
    labels = np.full((height, width), -1, np.int32)
    nearest = np.zeros(width, np.int32)
    distance = np.empty(width, np.float32)
    # From the image's middle: the smaller the numbers, the more digits of their differences are left.
    position = (np.arange(width) - width / 2).astype(np.float32)
    factors = np.empty((count, 4), np.float32)
    own = np.empty(count)
    windows = np.empty((count, 4), np.int64)
    sums = np.zeros((count, 6))  # pixels, y, x, L, a, b
    for _ in range(iterations):
        for k in range(count):
            y, x = centres[k, 0], centres[k, 1]
            offset = x - width / 2
            own[k] = centres[k, 2] ** 2 + centres[k, 3] ** 2 + centres[k, 4] ** 2 + plane_weight * offset**2
            for channel in range(3):
                factors[k, channel] = -2 * centres[k, 2 + channel]
            factors[k, 3] = -2 * plane_weight * offset
            windows[k, 0], windows[k, 1] = max(math.ceil(y - reach), 0), min(math.floor(y + reach) + 1, height)
            windows[k, 2], windows[k, 3] = max(math.ceil(x - reach), 0), min(math.floor(x + reach) + 1, width)
        changed = 0
        for y in range(height):
            for x in range(width):
                distance[x] = _FAR
                nearest[x] = labels[y, x]  # stays where no window reaches
            for k in range(count):
                if windows[k, 0] <= y < windows[k, 1]:
                    constant = np.float32(own[k] + plane_weight * (y - centres[k, 0]) ** 2)
                    _compete(lab, y, windows, position, factors, constant, k, distance, nearest)
            changed += _recount(lab, y, labels, nearest, sums)
        if changed == 0:
            break
        for k in range(count):
            if sums[k, 0] > 0:
                for part in range(5):
                    centres[k, part] = sums[k, 1 + part] / sums[k, 0]
    return labels


@compiled
def _compete(
    lab: LabPlanes,
    y: int,
    windows: NDArray[np.int64],
    position: NDArray[np.float32],
    factors: NDArray[np.float32],
    constant: np.float32,
    centre: int,
    distance: NDArray[np.float32],
    nearest: NDArray[np.int32],
) -> None:
    """Let one centre compete for the pixels of one row of its window. Changes `distance` and `nearest`."""
    light, red, yellow, across = factors[centre, 0], factors[centre, 1], factors[centre, 2], factors[centre, 3]
    label = np.int32(centre)
    row = np.uint64(y)
    # Unsigned numbers: a negative index would count from the end, and testing for that hinders vectorising.
    for x in range(np.uint64(windows[centre, 2]), np.uint64(windows[centre, 3])):
        found = constant + lab[np.uint64(0), row, x] * light + lab[np.uint64(1), row, x] * red
        found += lab[np.uint64(2), row, x] * yellow + position[x] * across
        best = distance[x]
        nearer = found < best
        distance[x] = found if nearer else best
        nearest[x] = label if nearer else nearest[x]


@compiled
def _recount(
    lab: LabPlanes, y: int, labels: NDArray[np.int32], nearest: NDArray[np.int32], sums: NDArray[np.float64]
) -> int:
    """Take over the new labels of a row, and move the pixels that changed from sum to sum; return their number."""
    width = labels.shape[1]
    row = np.uint64(y)
    changed = 0
    for start in range(0, width, _BLOCK):
        block = range(np.uint64(start), np.uint64(min(start + _BLOCK, width)))
        different = 0
        for x in block:
            different += labels[row, x] != nearest[x]
        if different == 0:
            continue
        changed += different
        for x in block:
            old, new = labels[row, x], nearest[x]
            if old == new:
                continue
            labels[row, x] = new
            _move(lab, y, x, new, 1.0, sums)
            if old >= 0:
                _move(lab, y, x, old, -1.0, sums)
    return changed


@compiled
def _move(lab: LabPlanes, y: int, x: int, label: int, sign: float, sums: NDArray[np.float64]) -> None:
    """Add a pixel to the sums of a label, or take it away."""
    sums[label, 0] += sign
    sums[label, 1] += sign * y
    sums[label, 2] += sign * np.int64(x)
    for channel in range(3):
        sums[label, 3 + channel] += sign * lab[channel, y, x]


@compiled
def _connect(labels: NDArray[np.int32], min_size: int, max_size: int) -> NDArray[np.int32]:
    """Give every 4-connected region of one label a number, in reading order of its first pixel.

    A region stops growing at `max_size` pixels; one of less than `min_size` joins a neighbour numbered before.
    """
    height, width = labels.shape
    old = labels.ravel()
    new = np.full(height * width, -1, np.int32)
    region = np.empty(height * width, np.int32)
    count = 0
    for first in range(height * width):
        if new[first] >= 0:
            continue
        neighbour = 0
        new[first] = count
        region[0] = first
        size, done = 1, 0
        while done < size and size < max_size:
            pixel = region[done]
            done += 1
            y, x = pixel // width, pixel % width
            for inside, beside in (
                (x + 1 < width, pixel + 1),
                (x > 0, pixel - 1),
                (y + 1 < height, pixel + width),
                (y > 0, pixel - width),
            ):
                if not inside:
                    continue
                if new[beside] >= 0:
                    neighbour = new[beside] if new[beside] != count else neighbour
                elif old[beside] == old[pixel] and size < max_size:
                    new[beside] = count
                    region[size] = beside
                    size += 1
        if size < min_size:
            for index in range(size):
                new[region[index]] = neighbour
        else:
            count += 1
    return new.reshape(height, width)
