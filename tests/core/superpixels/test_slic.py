"""This project's SLIC against a naive one, and against scikit-image's."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.segmentation
from numpy.typing import NDArray
from scipy import ndimage
from skimage.util import regular_grid

from saliency_core.colour.lab import LabPlanes, lab_planes
from saliency_core.imaging.decoding import decode_image
from saliency_core.superpixels import slic as module
from saliency_core.superpixels.slic import slic


def smooth_noise(seed: int, shape: tuple[int, int] = (60, 80)) -> LabPlanes:
    rng = np.random.default_rng(seed)
    image = ndimage.gaussian_filter(rng.uniform(-400, 700, (*shape, 3)), (4, 4, 0))
    return lab_planes(np.clip(image, 0, 255).astype(np.uint8))


def naive_clusters(lab: LabPlanes, segments: int, compactness: float, window: float) -> NDArray[np.int32]:
    """k-means as Achanta et al. write it, pixel by pixel in float64."""
    height, width = lab.shape[1:]
    grid = regular_grid((1, height, width), segments)[1:]
    step = max(float(side.step or 1) for side in grid)
    y, x = np.mgrid[:height, :width]
    centres = [[a, b, 0, 0, 0] for a in range(height)[grid[0]] for b in range(width)[grid[1]]]
    pixels = np.concatenate([np.stack([y, x]), lab]).astype(np.float64)
    labels = np.full((height, width), -1)
    for _ in range(module.ITERATIONS):
        best = np.full((height, width), np.inf)
        found = labels.copy()
        for k, centre in enumerate(centres):
            offsets = pixels - np.array(centre)[:, None, None]
            inside = (np.abs(offsets[:2]) <= window * step).all(axis=0)
            distance = (offsets[2:] ** 2).sum(axis=0) + (compactness / step) ** 2 * (offsets[:2] ** 2).sum(axis=0)
            nearer = inside & (distance < best)
            best[nearer], found[nearer] = distance[nearer], k
        if (found == labels).all():
            break
        labels = found
        centres = [
            list(pixels[:, labels == k].mean(axis=1)) if (labels == k).any() else centre
            for k, centre in enumerate(centres)
        ]
    return labels


def agreement(first: NDArray[np.integer], second: NDArray[np.integer]) -> float:
    """Share of pixels that lie in the best matching region of the other partition, the mean of both directions."""
    together = np.zeros((first.max() + 1, second.max() + 1))
    np.add.at(together, (first.ravel(), second.ravel()), 1)
    return float(together.max(axis=0).sum() + together.max(axis=1).sum()) / (2 * first.size)


@pytest.mark.parametrize("window", [1.0, 2.0])
@pytest.mark.parametrize("seed", range(4))
def test_clusters_equal_those_of_the_definition(seed: int, window: float, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = smooth_noise(seed)
    monkeypatch.setattr(module, "_connect", lambda labels, *sizes: labels)
    # In float32 a pixel on the fence may fall to the other side, and k-means then goes on from there.
    assert (slic(lab, 30, 10.0, window) == naive_clusters(lab, 30, 10.0, window)).mean() > 0.999


def test_with_its_window_the_labels_are_scikit_images() -> None:
    shares = []
    for seed in range(6):
        noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(120, 160, 3)), (8, 8, 0))
        image = (128 + 6 * noise / noise.std()).clip(1, 254).astype(np.uint8)
        image[0, 0], image[-1, -1] = 0, 255  # scikit-image stretches every image to this range
        expected = skimage.segmentation.slic(image, n_segments=60, compactness=10, start_label=0)
        shares.append(agreement(slic(lab_planes(image), 60, 10.0, window=2), expected))
    # Where one pixel on the fence falls to the other side, k-means may go another way: rarely far.
    assert np.mean(shares) > 0.95, shares


@pytest.mark.real_data
def test_photographs_with_scikit_images_window(real_data: Path) -> None:
    shares = []
    for name in ("0001", "0049", "0133", "0301", "0555"):
        image = decode_image((real_data / f"ecssd/images/{name}.jpg").read_bytes()).pixels
        expected = skimage.segmentation.slic(image, n_segments=100, compactness=10, start_label=0)
        shares.append(agreement(slic(lab_planes(image), 100, 10.0, window=2), expected))
    assert np.mean(shares) > 0.95


def boundary_recall(labels: NDArray[np.int32], mask: NDArray[np.bool_]) -> float:
    """Share of the mask's outline within 2 pixels of a superpixel's."""
    outline = mask ^ ndimage.binary_erosion(mask)
    edges = (labels != np.roll(labels, 1, 0)) | (labels != np.roll(labels, 1, 1))
    return float(ndimage.binary_dilation(edges, np.ones((5, 5)))[outline].mean())


def undersegmentation(labels: NDArray[np.int32], mask: NDArray[np.bool_]) -> float:
    """Pixels on the wrong side where every superpixel goes to object or background as a whole, per pixel."""
    areas, inside = np.bincount(labels.ravel()), np.bincount(labels.ravel(), weights=mask.ravel())
    return float(np.minimum(inside, areas - inside).sum() / labels.size)


@pytest.mark.real_data
def test_objects_are_followed_no_worse_than_by_scikit_image(real_data: Path) -> None:
    recalls, errors = [], []
    for path in sorted((real_data / "ecssd/images").iterdir())[::25]:
        image = decode_image(path.read_bytes()).pixels
        mask = decode_image((real_data / f"ecssd/ground_truth_mask/{path.stem}.png").read_bytes()).pixels[..., 0] > 127
        reference = skimage.segmentation.slic(image, n_segments=100, compactness=10, start_label=0)
        both = slic(lab_planes(image), 100, 10.0), reference
        recalls.append([boundary_recall(labels, mask) for labels in both])
        errors.append([undersegmentation(labels, mask) for labels in both])
    own, theirs = np.mean(recalls, axis=0)
    assert own > theirs - 0.01
    own, theirs = np.mean(errors, axis=0)
    assert own < theirs + 0.002


def test_a_pixel_that_no_window_reaches_keeps_its_label() -> None:
    # Two colours in stripes pull the centres together; a narrow window then leaves pixels alone.
    lab = np.zeros((3, 40, 40), np.float32)
    lab[0, :, ::2] = 100
    labels = slic(lab, 16, 0.1, window=0.6)
    assert labels.min() == 0
    assert len(np.unique(labels)) == labels.max() + 1


@pytest.mark.slow
def test_equal_input_gives_equal_labels_in_another_process_and_without_a_cache(tmp_path: Path) -> None:
    script = (
        "import numpy as np, hashlib; from saliency_core.colour.lab import lab_planes;"
        "from saliency_core.superpixels.slic import slic;"
        "image = np.random.default_rng(5).integers(0, 256, (70, 90, 3), dtype=np.uint8);"
        "print(hashlib.sha256(slic(lab_planes(image), 50, 10.0).tobytes()).hexdigest())"
    )
    digests = [
        subprocess.run(
            [sys.executable, "-c", script],
            env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / cache)},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for cache in ("a", "a", "b")
    ]
    assert len(set(digests)) == 1
    assert list((tmp_path / "a").rglob("*.nbi"))


def _next(number: int) -> int:
    return number + 1


def test_where_nothing_can_be_kept_it_is_compiled_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    import numba

    from saliency_core._numba import compiled

    njit = numba.njit

    def without_a_folder(**options: Any) -> object:
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return njit(**options)

    monkeypatch.setattr(numba, "njit", without_a_folder)
    assert compiled(_next)(2) == 3


# --- the steps by hand


def test_grid_window_and_sizes_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """60 x 80 pixels, 12 superpixels: a grid of 3 x 4 with a step of 20, 400 pixels each."""
    given: dict[str, Any] = {}

    def cluster(
        lab: NDArray[np.float32], centres: NDArray[np.float64], plane_weight: float, reach: float, iterations: int
    ) -> NDArray[np.int32]:
        given.update(centres=centres.copy(), plane_weight=plane_weight, reach=reach, iterations=iterations)
        return np.zeros(lab.shape[1:], np.int32)

    def connect(labels: NDArray[np.int32], min_size: int, max_size: int) -> NDArray[np.int32]:
        given.update(min_size=min_size, max_size=max_size)
        return labels

    monkeypatch.setattr(module, "_cluster", cluster)
    monkeypatch.setattr(module, "_connect", connect)
    slic(np.zeros((3, 60, 80), np.float32), 12, compactness=8.0)
    expected = [(y, x, 0, 0, 0) for y in (10, 30, 50) for x in (10, 30, 50, 70)]
    np.testing.assert_array_equal(given["centres"], expected)
    assert given["plane_weight"] == pytest.approx((8.0 / 20) ** 2)
    assert given["reach"] == 20.0
    assert given["iterations"] == 10
    assert given["min_size"] == 200
    assert given["max_size"] == 1200


def test_small_regions_join_a_neighbour_and_large_ones_are_cut() -> None:
    labels = np.zeros((4, 6), np.int32)
    labels[0, 4:] = 1  # two pixels
    labels[2:, 3:] = 2  # six pixels
    # 16 pixels of label 0 around them.
    np.testing.assert_array_equal(
        module._connect(labels, 3, 100), [[0, 0, 0, 0, 0, 0], [0] * 6, [0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 1, 1]]
    )
    kept = module._connect(labels, 2, 100)
    np.testing.assert_array_equal(kept[0], [0, 0, 0, 0, 1, 1])
    assert kept.max() == 2
    cut = module._connect(labels, 1, 8)
    sizes = np.bincount(cut.ravel())
    assert sizes.max() == 8
    assert sizes.sum() == 24
    assert all(len(np.unique(labels[cut == region])) == 1 for region in range(len(sizes)))


def test_a_corner_is_no_neighbour() -> None:
    labels = np.array([[0, 1], [1, 0]], np.int32)
    np.testing.assert_array_equal(module._connect(labels, 1, 100), [[0, 1], [2, 3]])
