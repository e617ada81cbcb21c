import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from saliency_core.imaging.resizing import resize_map
from saliency_core.methods.low_level import low_level_saliency
from saliency_core.parameters import (
    STAGES,
    LowLevelParameters,
    RefinementParameters,
    SaliencyParameters,
    SuperpixelParameters,
)
from saliency_core.refining.refinement import prune_and_normalise, refine, smooth
from saliency_core.refining.stages import Superpixels, chain_of_maps, describe_superpixels
from saliency_core.superpixels.statistics import LabelMap, slic_superpixels

maps = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 8), st.integers(1, 8)),
    elements=st.floats(0, 1e6, width=32, allow_subnormal=False),
)


def naive_prune(saliency: NDArray[np.floating], theta: float) -> NDArray[np.float64]:
    """Algorithm 1's order: prune, then divide by the L2 norm of what is left."""
    rows = [[float(value) for value in row] for row in saliency]
    top = max(value for row in rows for value in row)
    rows = [[max(value - theta * top, 0.0) for value in row] for row in rows]
    norm = math.sqrt(sum(value**2 for row in rows for value in row))
    return np.array([[value / norm if norm > 0 else 0.0 for value in row] for row in rows])


def naive_smooth(saliency: NDArray[np.floating], labels: LabelMap) -> NDArray[np.float64]:
    height, width = labels.shape
    smoothed = np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            same = [float(saliency[v, u]) for v in range(height) for u in range(width) if labels[v, u] == labels[y, x]]
            smoothed[y, x] = sum(same) / len(same)
    return smoothed


def some_labels(shape: tuple[int, int], seed: int) -> LabelMap:
    labels = np.random.default_rng(seed).integers(0, 5, shape)
    return np.unique(labels, return_inverse=True)[1].reshape(shape).astype(np.int32)


# --- prune and normalise


def test_pruning_by_hand() -> None:
    # max 10, threshold 2: 0, 3, 8 are left; not those above 2 as they were, and not after the norm.
    found = prune_and_normalise(np.array([[1.0, 5.0, 10.0]], np.float32), 0.2)
    np.testing.assert_allclose(found, np.array([[0, 3, 8]]) / math.sqrt(73), rtol=1e-6)
    assert found.dtype == np.float32


@given(saliency=maps, theta=st.floats(0, 0.99))
def test_pruning_against_loops(saliency: NDArray[np.float32], theta: float) -> None:
    before = saliency.copy()
    found = prune_and_normalise(saliency, theta)
    np.testing.assert_allclose(found, naive_prune(saliency, theta), atol=1e-6)
    np.testing.assert_array_equal(saliency, before)
    assert (found >= 0).all()
    norm = math.sqrt((found.astype(np.float64) ** 2).sum())
    assert norm == pytest.approx(1, abs=1e-5) if saliency.any() else norm == 0


@given(saliency=maps, theta=st.floats(0, 0.9), power=st.integers(-60, 20))
def test_pruning_does_not_depend_on_the_scale(saliency: NDArray[np.float32], theta: float, power: int) -> None:
    scaled = saliency.astype(np.float64) * 2.0**power
    np.testing.assert_allclose(prune_and_normalise(scaled, theta), prune_and_normalise(saliency, theta), atol=1e-6)


def test_theta_zero_keeps_all_and_a_constant_map_survives() -> None:
    saliency = np.array([[1.0, 2.0], [3.0, 4.0]])
    np.testing.assert_allclose(prune_and_normalise(saliency, 0.0), saliency / math.sqrt(30), rtol=1e-6)
    np.testing.assert_allclose(prune_and_normalise(np.full((5, 5), 7.0), 0.9), 0.2, rtol=1e-6)


# --- smooth and refine


@given(saliency=maps, seed=st.integers(0, 1000))
def test_smoothing_against_loops(saliency: NDArray[np.float32], seed: int) -> None:
    labels = some_labels(saliency.shape, seed)
    found = smooth(saliency, labels)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, naive_smooth(saliency, labels), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(smooth(found, labels), found, rtol=1e-5)
    assert found.sum(dtype=np.float64) == pytest.approx(saliency.sum(dtype=np.float64), rel=1e-5, abs=1e-6)


def test_refining_by_hand() -> None:
    # Factors 0.3 + (1, 0) on (2, 1): 2.6 and 0.3; threshold 0.1 * 2.6: 2.34 and 0.04.
    labels = np.array([[0, 1]], np.int32)
    smoothed, low_level = np.array([[2.0, 1.0]], np.float32), np.array([1.0, 0.0], np.float32)
    found = refine(smoothed, low_level, labels, RefinementParameters(alpha=0.3, theta_refined=0.1))
    np.testing.assert_allclose(found, np.array([[2.34, 0.04]]) / math.hypot(2.34, 0.04), rtol=1e-5)


@given(saliency=maps, seed=st.integers(0, 1000), alpha=st.floats(0.01, 0.99), theta=st.floats(0, 0.99))
def test_refining_against_loops(saliency: NDArray[np.float32], seed: int, alpha: float, theta: float) -> None:
    labels = some_labels(saliency.shape, seed)
    low_level = np.random.default_rng(seed).uniform(0, 1, labels.max() + 1).astype(np.float32)
    found = refine(saliency, low_level, labels, RefinementParameters(alpha=alpha, theta_refined=theta))
    product = np.zeros(labels.shape)
    for (y, x), label in np.ndenumerate(labels):
        product[y, x] = float(saliency[y, x]) * (float(low_level[label]) + alpha)
    np.testing.assert_allclose(found, naive_prune(product, theta), atol=2e-6)


def test_zero_maps_stay_zero() -> None:
    zero, labels = np.zeros((4, 6), np.float32), some_labels((4, 6), 0)
    low_level = np.ones(labels.max() + 1, np.float32)
    for found in (prune_and_normalise(zero, 0.05), smooth(zero, labels), refine(zero, low_level, labels)):
        assert found.shape == (4, 6)
        assert not found.any()  # and no NaN: that would count as true


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("theta", -0.1),
        ("theta", 1.0),
        ("theta", math.nan),
        ("theta_refined", -0.1),
        ("theta_refined", 1.0),
        ("theta_refined", math.nan),
        ("alpha", 0.0),
        ("alpha", 1.0),
        ("alpha", math.nan),
    ],
)
def test_wrong_parameters(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        RefinementParameters(**{name: value})


# --- the chain of stages


def test_the_chain_is_algorithm_1() -> None:
    rng = np.random.default_rng(3)
    image = rng.integers(0, 256, (18, 26, 3), dtype=np.uint8)
    raw = rng.uniform(0, 0.01, (12, 12)).astype(np.float32)
    parameters = SaliencyParameters(refinement=RefinementParameters(theta=0.3, alpha=0.2, theta_refined=0.4))
    superpixels = describe_superpixels(image, parameters)
    found = chain_of_maps(raw, superpixels, parameters)
    assert tuple(found) == (*STAGES, "objects") == ("raw", "smoothed", "refined", "objects")
    pruned = naive_prune(resize_map(raw, 18, 26), 0.3)
    smoothed = naive_smooth(pruned, superpixels.labels)
    refined = naive_prune(smoothed * (superpixels.low_level + 0.2)[superpixels.labels], 0.4)
    for stage, expected in zip(STAGES, (pruned, smoothed, refined), strict=True):
        assert found[stage].dtype == np.float32
        np.testing.assert_allclose(found[stage], expected, atol=1e-6)


def test_superpixels_use_all_their_parameters() -> None:
    image = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8).repeat(10, 0).repeat(10, 1)
    parameters = SaliencyParameters(
        superpixels=SuperpixelParameters(segments=20, compactness=300.0),
        low_level=LowLevelParameters(centre_falloff=1.0),
    )
    found = describe_superpixels(image, parameters)
    labels = slic_superpixels(image, 20, 300.0)
    assert not np.array_equal(labels, slic_superpixels(image, 20, 10.0))
    assert not np.array_equal(labels, slic_superpixels(image, 100, 300.0))
    np.testing.assert_array_equal(found.labels, labels)
    np.testing.assert_array_equal(found.low_level, low_level_saliency(image, labels, parameters.low_level))
    assert not np.array_equal(found.low_level, low_level_saliency(image, labels))


def test_a_zero_raw_map_gives_zero_maps() -> None:
    superpixels = Superpixels(np.zeros((5, 7), np.int32), np.zeros(1, np.float32))
    for map_ in chain_of_maps(np.zeros((4, 4), np.float32), superpixels, SaliencyParameters()).values():
        assert map_.shape == (5, 7)
        assert not map_.any()
