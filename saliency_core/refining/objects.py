"""Whole objects from what a network says of parts of them: a graph of superpixels spreads it as far as the object goes.

The method's maps and the network's layers say where the object is (evidence), the image's border what the background
looks like; an optimisation on the graph finds the map that agrees with both and is the same where superpixels look the
same; the object's own look, learnt from that map, corrects it once more. Everything is done at several superpixel
sizes, and the maps are added.

References
----------
Zhu, Liang, Wei, Sun, "Saliency Optimization from Robust Background Detection", CVPR 2014.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from saliency_core._arrays import min_max
from saliency_core.methods.attribution import Features
from saliency_core.parameters import ObjectParameters
from saliency_core.refining.refinement import SaliencyMap
from saliency_core.superpixels.graph import (
    Matrix,
    Nodes,
    Pairs,
    border_clique,
    cell_weights,
    colour_distances,
    feature_distances,
    geodesic_distances,
    node_means,
    smallest_distance,
    two_rings,
)

Values = NDArray[np.float64]
"""One number a node (n,)."""

_REACH = 6.0
"""Geodesic distances of more sigmas count less than float32 can tell: exp(-18)."""
_THINNED = 4
"""Every so manieth row and column is enough for a threshold."""
_RIDGE = 1e-6
"""Added to the diagonal of the optimisation: with neither foreground nor background its solution is then 0."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """What is known of where an image's object is, and of how the network sees its parts.

    Parameters
    ----------
    raw : float32 array (H, W)
        The method's map at the image's size, >= 0.
    layers : sequence of float16 arrays (h, w)
        What the network's layers say; empty where it has none.
    features : sequence of Features
        A fine and a deep grid (h, w, C) of one image; empty where the network has none.
    """

    raw: NDArray[np.float32]
    layers: Sequence[NDArray[np.float16]] = ()
    features: Sequence[Features] = ()


def whole_objects(
    sizes: Sequence[Nodes], evidence: Evidence, parameters: ObjectParameters = ObjectParameters()
) -> SaliencyMap:
    """Make a map of whole objects.

    Parameters
    ----------
    sizes : sequence of Nodes
        The image's superpixels at one or several sizes.
    evidence : Evidence
    parameters : ObjectParameters

    Returns
    -------
    float32 array (H, W)
        In [0, 1]; all zeros where the evidence is.
    """
    total = np.zeros(sizes[0].labels.shape, np.float32)
    if evidence.raw.max() > 0 or any(layer.max() > 0 for layer in evidence.layers):
        for nodes in sizes:
            total += nodes_of_objects(nodes, evidence, parameters).astype(np.float32)[nodes.labels]
    high = total.max()
    return total / high if high > 0 else total


def nodes_of_objects(nodes: Nodes, evidence: Evidence, parameters: ObjectParameters) -> Values:
    """Compute how far each superpixel of one size belongs to the object, in [0, 1]."""
    means = ImageMeans(nodes)
    found = joint_evidence(means, evidence, parameters.raw_weight)
    colour = colour_distances(nodes.lab)
    fine, deep = _feature_distances(means, evidence.features)
    clique = border_clique(nodes.border)
    edges = nodes.adjacent | clique
    rings = two_rings(nodes.adjacent)
    background = background_probability(colour, edges, rings, nodes.border, parameters.geodesic_sigma)
    if deep is not None:
        scaled = deep * np.float32(parameters.deep_scale)
        of_features = background_probability(scaled, edges, rings, nodes.border, parameters.geodesic_sigma)
        background = np.maximum(background, parameters.deep_background * of_features)
    background = background + parameters.doubt * (1.0 - found) ** 2
    weights = similarity(colour, fine, nodes.adjacent, rings | clique, parameters)
    saliency = optimise(background, found**parameters.evidence_power, weights)
    for _ in range(parameters.appearance_rounds):
        look = appearance(saliency, nodes.areas, colour, fine, parameters)
        foreground = np.where(look > otsu_threshold(look), look, 0.0)
        saliency = optimise(np.maximum(1.0 - 2.0 * look, 0.0), foreground, weights)
    return saliency


class ImageMeans:
    """Means over the superpixels of one size, of values at any resolution.

    Parameters
    ----------
    nodes : Nodes
    """

    def __init__(self, nodes: Nodes) -> None:
        self.nodes = nodes
        self._weights: dict[tuple[int, int], NDArray[np.float32]] = {}

    def of_map(self, map_: NDArray[np.float32]) -> Values:
        """Average a map (H, W) at the image's own size."""
        return node_means(map_[None], self.nodes.labels, len(self.nodes.areas))[:, 0]

    def of_grid(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Average values (h, w, C) of a coarse grid: (n, C)."""
        rows, columns, channels = values.shape
        if (rows, columns) not in self._weights:
            self._weights[rows, columns] = cell_weights(self.nodes.labels, len(self.nodes.areas), rows, columns)
        found: NDArray[np.float32] = self._weights[rows, columns] @ values.reshape(-1, channels)
        return found


def joint_evidence(means: ImageMeans, evidence: Evidence, raw_weight: float) -> Values:
    """Add the evidence of the raw map and of the layers, each a mean over superpixels scaled to [0, 1].

    Returns
    -------
    float64 array (n,)
        In [0, 1].
    """
    total = raw_weight * min_max(means.of_map(evidence.raw)) if raw_weight or not evidence.layers else 0.0
    for layer in evidence.layers:
        total = total + min_max(means.of_grid(layer.astype(np.float32)[..., None])[:, 0].astype(np.float64))
    return min_max(np.asarray(total))


def _feature_distances(means: ImageMeans, features: Sequence[Features]) -> tuple[Matrix | None, Matrix | None]:
    if not features:
        return None, None
    found = []
    for part in features:
        low, step = part.scale
        # The weights of a node sum to 1, so that codes can be averaged as they are.
        found.append(feature_distances(low + step * means.of_grid(part.codes.astype(np.float32))))
    return found[0], found[-1]


def background_probability(
    distances: Matrix, edges: Pairs, rings: Pairs, border: NDArray[np.bool_], sigma: float
) -> Values:
    """Say of every superpixel how surely it is background, from how much of its region's outline is the image's border.

    Parameters
    ----------
    distances : float32 array (n, n)
        How unlike two superpixels are.
    edges : bool array (n, n)
        Ways from one to the next.
    rings : bool array (n, n)
        Pairs among which the distance is looked for that is taken as none.
    border : bool array (n,)
    sigma : float
        Geodesic distance over which a region reaches.

    Returns
    -------
    float64 array (n,)
        In [0, 1).

    References
    ----------
    Zhu et al., CVPR 2014, Eq. 3-6 and 9; the clip of small distances is that of their published code.
    """
    lengths = np.maximum(distances - np.float32(smallest_distance(distances, rings)), np.float32(0))
    geodesic = geodesic_distances(lengths, edges, _REACH * sigma)
    near = np.exp(geodesic**2 * np.float32(-0.5 / sigma**2))
    area = near.sum(axis=1, dtype=np.float64)
    length = near[:, border].sum(axis=1, dtype=np.float64)
    connectivity = length / np.sqrt(area)
    found: Values = 1.0 - np.exp(-(connectivity**2) / 2.0)
    return found


def similarity(
    colour: Matrix, fine: Matrix | None, adjacent: Pairs, pairs: Pairs, parameters: ObjectParameters
) -> NDArray[np.float64]:
    """Say how strongly two superpixels are held to the same saliency.

    Parameters
    ----------
    colour : float32 array (n, n)
    fine : float32 array (n, n), optional
        Distances of features.
    adjacent, pairs : bool array (n, n)
        Pairs that lie side by side; all pairs that are held together.
    parameters : ObjectParameters

    Returns
    -------
    float64 array (n, n)
        ``exp(-d^2 / (2 sigma^2))`` on the pairs, plus `adjacency` for adjacent ones.

    References
    ----------
    Zhu et al., CVPR 2014, Eq. 10 and the text below it.
    """
    squared = colour**2
    if fine is not None:
        squared = squared + (np.float32(parameters.fine_scale) * fine) ** 2
    weights = np.exp(squared * np.float32(-0.5 / parameters.similarity_sigma**2))
    found: NDArray[np.float64] = np.where(pairs, weights, np.float32(0)).astype(np.float64)
    found += parameters.adjacency * adjacent
    return found


def optimise(background: Values, foreground: Values, weights: NDArray[np.float64]) -> Values:
    """Find the saliency that agrees best with background, foreground and similarity, scaled to [0, 1].

    ``min_s sum_i background_i s_i^2 + sum_i foreground_i (s_i - 1)^2 + sum_ij weights_ij (s_i - s_j)^2 / 2``, each pair
    once: one positive definite linear system.

    References
    ----------
    Zhu et al., CVPR 2014, Eq. 9.
    """
    matrix = -weights
    matrix[np.diag_indices_from(matrix)] += weights.sum(axis=1) + background + foreground + _RIDGE
    factor = scipy.linalg.cho_factor(matrix, lower=True, overwrite_a=True, check_finite=False)
    return min_max(scipy.linalg.cho_solve(factor, foreground, check_finite=False))


def appearance(
    saliency: Values, areas: Values, colour: Matrix, fine: Matrix | None, parameters: ObjectParameters
) -> Values:
    """Learn from a map what the object looks like, and say of every superpixel how far it looks so.

    Kernel ridge regression of the saliency on colour and features; a superpixel counts by its area.

    Parameters
    ----------
    saliency, areas : float64 array (n,)
    colour : float32 array (n, n)
    fine : float32 array (n, n), optional
        Distances of features.
    parameters : ObjectParameters

    Returns
    -------
    float64 array (n,)
        In [0, 1].

    References
    ----------
    Saunders, Gammerman, Vovk, "Ridge Regression Learning Algorithm in Dual Variables", ICML 1998, section 2.
    """
    exponent = colour**2 * np.float32(-0.5 / parameters.look_colour_sigma**2)
    if fine is not None:
        exponent = exponent - fine**2 * np.float32(0.5 / parameters.look_fine_sigma**2)
    kernel = np.exp(exponent).astype(np.float64)
    matrix = kernel.copy()
    matrix[np.diag_indices_from(matrix)] += parameters.look_ridge * areas.mean() / areas
    factor = scipy.linalg.cho_factor(matrix, lower=True, overwrite_a=True, check_finite=False)
    found = kernel @ scipy.linalg.cho_solve(factor, saliency, check_finite=False)
    return min_max(np.maximum(found, 0.0))


def otsu_threshold(values: NDArray[np.float64]) -> float:
    """Return the threshold that splits values best in two: those above it, and the rest.

    References
    ----------
    Otsu, "A Threshold Selection Method from Gray-Level Histograms", 1979: the largest variance between the two parts,
    here over the values themselves.
    """
    ordered = np.sort(values)
    count = len(ordered)
    if count < 2 or ordered[0] == ordered[-1]:
        return float(ordered[-1])
    below = np.cumsum(ordered)[:-1]
    low = np.arange(1, count)
    between = (below * count - low * ordered.sum()) ** 2 / (low * (count - low))
    between[ordered[1:] == ordered[:-1]] = -1.0  # equal values are not split
    last = int(np.argmax(between))
    return float((ordered[last] + ordered[last + 1]) / 2)


def drawn_apart(map_: SaliencyMap, contrast: float) -> SaliencyMap:
    """Draw a map's values apart around the threshold that splits them best, so that one half is about where it is.

    Otherwise 0.5 means something else in every map: where the evidence is weak, all of the object may lie below.

    Parameters
    ----------
    map_ : float32 array (H, W)
        In [0, 1].
    contrast : float
        k of the logistic curve ``1 / (1 + exp(-k (s - t)))``, t Otsu's threshold; 0 leaves the map as it is.

    Returns
    -------
    float32 array (H, W)
        In [0, 1], 0 and 1 where the map is; the order of its values stays.
    """
    if contrast == 0 or map_.min() == map_.max():
        return map_
    threshold = otsu_threshold(map_[::_THINNED, ::_THINNED].astype(np.float64).ravel())
    ends = 1 / (1 + np.exp(-contrast * (np.array([0.0, 1.0]) - threshold)))
    curve = 1 / (1 + np.exp(np.float32(-contrast) * (map_ - np.float32(threshold))))
    found: SaliencyMap = np.clip((curve - np.float32(ends[0])) / np.float32(ends[1] - ends[0]), 0, 1)
    return found
