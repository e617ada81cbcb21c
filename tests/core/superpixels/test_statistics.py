from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy import ndimage

from saliency_core.imaging.decoding import decode_image
from saliency_core.parameters import SuperpixelParameters
from saliency_core.superpixels.statistics import (
    LabelMap,
    count_superpixels,
    slic_superpixels,
    superpixel_centroids,
    superpixel_means,
)


def assert_partition(labels: LabelMap, shape: tuple[int, ...]) -> None:
    """Labels 0..n-1, all present, each one 4-connected region."""
    assert labels.shape == shape
    assert labels.dtype == np.int32
    count = count_superpixels(labels)
    assert sorted(set(labels.ravel().tolist())) == list(range(count))
    for label in range(count):
        _, parts = ndimage.label(labels == label)
        assert parts == 1, f"superpixel {label} lies in {parts} parts"


def noise(shape: tuple[int, int], seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)


def smooth_image() -> NDArray[np.uint8]:
    return ndimage.gaussian_filter(noise((60, 80)), (3, 3, 0)).astype(np.uint8)


SHAPES = [(1, 1), (1, 2), (2, 1), (2, 2), (1, 300), (300, 1), (2, 400), (3, 5), (10, 10), (60, 80)]


@pytest.mark.parametrize("segments", [1, 2, 100, 1000])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["noise", "grey", "uniform"])
def test_labels_are_a_partition(kind: str, shape: tuple[int, int], segments: int) -> None:
    image = noise(shape)
    if kind == "grey":
        image[:] = image[:, :, :1]
    elif kind == "uniform":
        image[:] = (200, 13, 77)
    assert_partition(slic_superpixels(image, segments), shape)


@settings(max_examples=60, deadline=None)
@given(
    image=hnp.arrays(np.uint8, st.tuples(st.integers(1, 24), st.integers(1, 24), st.just(3))),
    segments=st.integers(1, 60),
    compactness=st.floats(0.1, 100),
)
def test_labels_of_any_image_are_a_partition(image: NDArray[np.uint8], segments: int, compactness: float) -> None:
    assert_partition(slic_superpixels(image, segments, compactness), image.shape[:2])


def test_superpixels_follow_a_colour_edge() -> None:
    image = np.zeros((60, 80, 3), np.uint8)
    image[:, 37:] = (255, 200, 0)
    labels = slic_superpixels(image, segments=20)
    assert not set(labels[:, :37].ravel()) & set(labels[:, 37:].ravel())
    assert 6 <= count_superpixels(labels) <= 40


def test_more_segments_give_more_superpixels() -> None:
    image = smooth_image()
    counts = [count_superpixels(slic_superpixels(image, segments)) for segments in (1, 10, 100)]
    assert counts[0] == 1
    assert counts[0] < counts[1] < counts[2]


def test_compactness_weighs_the_plane_against_the_colour() -> None:
    image = np.zeros((60, 80, 3), np.uint8)
    image[np.add.outer(np.arange(60), np.arange(80)) < 60] = 255  # a diagonal edge

    def wrong_side(compactness: float) -> float:
        """Share of pixels that are not of the colour that most of their superpixel has."""
        labels = slic_superpixels(image, 20, compactness)
        white = superpixel_means(image[:, :, 0] / 255, labels)
        return float(np.minimum(white, 1 - white)[labels].mean())

    assert wrong_side(1000.0) > 0.05
    assert wrong_side(10.0) < 0.005


def test_either_code_makes_a_partition_of_its_own() -> None:
    image = smooth_image()
    own, reference = (slic_superpixels(image, 20, 10.0, code) for code in ("compiled", "scikit-image"))
    for labels in (own, reference):
        assert_partition(labels, image.shape[:2])
    assert not np.array_equal(own, reference)


def test_superpixels_are_repeatable_and_leave_the_image_alone() -> None:
    image = noise((40, 50))
    image.flags.writeable = False
    np.testing.assert_array_equal(slic_superpixels(image), slic_superpixels(image.copy()))


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["0001", "0049", "0133"])
def test_superpixels_of_photographs(real_data: Path, name: str) -> None:
    image = decode_image((real_data / f"ecssd/images/{name}.jpg").read_bytes()).pixels
    labels = slic_superpixels(image)
    assert_partition(labels, image.shape[:2])
    assert 40 <= count_superpixels(labels) <= 110


# --- statistics

label_maps = st.integers(1, 5).flatmap(
    lambda count: hnp.arrays(
        np.int32, st.tuples(st.integers(2, 9), st.integers(3, 9)), elements=st.integers(0, count - 1)
    )
)


def relabelled(labels: NDArray[np.int32]) -> LabelMap:
    return np.unique(labels, return_inverse=True)[1].reshape(labels.shape).astype(np.int32)


@given(labels=label_maps.map(relabelled), seed=st.integers(0, 1000), channels=st.integers(0, 4))
def test_means_and_centroids_against_loops(labels: LabelMap, seed: int, channels: int) -> None:
    height, width = labels.shape
    shape = labels.shape if channels == 0 else (*labels.shape, channels)
    values = np.random.default_rng(seed).normal(size=shape)
    means, centroids = superpixel_means(values, labels), superpixel_centroids(labels)
    count = count_superpixels(labels)
    assert means.shape == (count, *shape[2:])
    assert centroids.shape == (count, 2)
    for label in range(count):
        pixels = [(y, x) for y in range(height) for x in range(width) if labels[y, x] == label]
        np.testing.assert_allclose(means[label], sum(values[p] for p in pixels) / len(pixels), atol=1e-12)
        expected_y = sum((y + 0.5) / height for y, _ in pixels) / len(pixels)
        expected_x = sum((x + 0.5) / width for _, x in pixels) / len(pixels)
        np.testing.assert_allclose(centroids[label], (expected_y, expected_x), atol=1e-12)


def test_means_are_taken_in_double_precision() -> None:
    values = np.full((1000, 1000), 0.1, np.float32)
    means = superpixel_means(values, np.zeros((1000, 1000), np.int32))
    assert means.dtype == np.float64
    assert means[0] == pytest.approx(float(np.float32(0.1)), rel=1e-9)


def test_one_channel_keeps_its_axis() -> None:
    labels = np.array([[0, 1]], np.int32)
    np.testing.assert_array_equal(superpixel_means(np.array([[[3.0], [4.0]]]), labels), [[3.0], [4.0]])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("segments", 0),
        ("segments", -3),
        ("compactness", 0.0),
        ("compactness", -1.0),
        ("compactness", np.nan),
        ("compactness", np.inf),
        ("slic", "opencv"),
    ],
)
def test_wrong_parameters(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        SuperpixelParameters(**{name: value})  # type: ignore[arg-type]
