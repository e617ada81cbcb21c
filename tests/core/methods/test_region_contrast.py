"""Tests of region contrast, of its steps and of its agreement with the maps its authors published."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from skimage.color import rgb2lab

from saliency_core.colour.quantisation import quantise_colours
from saliency_core.methods.region_contrast import (
    border_regions,
    contrast_of_regions,
    region_contrast,
    segment_regions,
)
from saliency_core.scoring.data_set import DataSetScores
from saliency_core.scoring.histograms import map_histograms, to_8bit


def blocky_image(seed: int, height: int = 60, width: int = 80) -> NDArray[np.uint8]:
    """Noisy blocks of ten pixels: several regions, several colours."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 256, (-(-height // 20), -(-width // 20), 3))
    image = np.kron(blocks, np.ones((20, 20, 1)))[:height, :width] + rng.normal(0, 6, (height, width, 3))
    return image.clip(0, 255).astype(np.uint8)


def naive_segmentation(lab: NDArray[np.float64], k: float, minimum_size: int) -> NDArray[np.int64]:
    """Felzenszwalb and Huttenlocher's algorithm as their paper states it, on an already smoothed image."""
    height, width = lab.shape[:2]
    edges = []
    for y in range(height):
        for x in range(width):
            for other_y, other_x in ((y, x + 1), (y + 1, x), (y + 1, x + 1), (y - 1, x + 1)):
                if 0 <= other_y < height and other_x < width:
                    weight = float(np.linalg.norm(lab[y, x] - lab[other_y, other_x]))
                    edges.append((weight, y * width + x, other_y * width + other_x))
    edges.sort()
    component = np.arange(height * width)
    members = {i: [i] for i in range(height * width)}
    internal = dict.fromkeys(range(height * width), 0.0)

    def join(a: int, b: int) -> None:
        component[members[b]] = a
        members[a] += members.pop(b)

    for weight, p, q in edges:
        a, b = int(component[p]), int(component[q])
        limit = min(internal[a] + k / len(members[a]), internal[b] + k / len(members[b]))
        if a != b and weight <= limit:
            join(a, b)
            internal[a] = weight
    for _, p, q in edges:
        a, b = int(component[p]), int(component[q])
        if a != b and min(len(members[a]), len(members[b])) < minimum_size:
            join(a, b)
    return component.reshape(height, width)


def smoothed_by_definition(lab: NDArray[np.float64]) -> NDArray[np.float64]:
    weights = np.exp(-0.5 * (np.arange(-2, 3) / 0.5) ** 2)
    weights /= weights.sum()
    padded = np.pad(lab, ((2, 2), (2, 2), (0, 0)), mode="edge")
    rows = sum(w * padded[i : i + lab.shape[0]] for i, w in enumerate(weights))
    return sum(w * rows[:, i : i + lab.shape[1]] for i, w in enumerate(weights))


@pytest.mark.parametrize("seed", [0, 1])
def test_segmentation_is_the_published_one(seed: int) -> None:
    lab = rgb2lab(blocky_image(seed))
    labels = segment_regions(lab)
    expected = naive_segmentation(smoothed_by_definition(lab), k=50, minimum_size=200)
    pairs = np.unique(np.stack([labels.ravel(), expected.ravel()]), axis=1)
    assert pairs.shape[1] == len(np.unique(labels)) == len(np.unique(expected)) > 3
    assert sorted(np.unique(labels)) == list(range(labels.max() + 1))
    assert np.bincount(labels.ravel()).min() >= 200


def test_contrast_matches_the_formula() -> None:
    image = blocky_image(2)
    labels = segment_regions(rgb2lab(image))
    quantised = quantise_colours(image)
    colour_distances = np.linalg.norm(quantised.colours[:, None] - quantised.colours[None], axis=2)
    height, width = labels.shape
    y, x = np.mgrid[:height, :width]
    count = int(labels.max()) + 1
    assert count > 3
    expected = []
    for k in range(count):
        inside = labels == k
        total = 0.0
        for i in range(count):
            if i == k:
                continue
            other = labels == i
            # The mean over all pairs of pixels is the sum over pairs of colours, weighted by their frequencies.
            pairs = np.ix_(quantised.indices[inside], quantised.indices[other])
            colour_difference = colour_distances[pairs].mean()
            offset_y = (y[inside].mean() - y[other].mean()) / height
            offset_x = (x[inside].mean() - x[other].mean()) / width
            total += other.sum() * colour_difference * np.exp(-(offset_x**2 + offset_y**2) / 0.4)
        centre_y = np.abs(y[inside] - height / 2).mean() / height
        centre_x = np.abs(x[inside] - width / 2).mean() / width
        expected.append(total * np.exp(-9 * (centre_x**2 + centre_y**2)))
    np.testing.assert_allclose(contrast_of_regions(labels, quantised), expected, rtol=1e-9)


def test_border_band_and_likelihood_by_hand() -> None:
    # 100 x 200: the bands are 2 rows and 4 columns wide.
    labels = np.zeros((100, 200), np.int32)
    labels[30:70, 60:140] = 1  # in the middle: no band pixel
    labels[10:20, :30] = 2  # 10 x 4 band pixels on the left; mean |y - mean| = 2.5: 40 / 8 / 2.5 = 2
    labels[40:80, :5] = 3  # 40 x 4 left band pixels; mean |y - mean| = 10: 160 / 8 / 10 = 2
    labels[:20, 199] = 4  # one column: 20 right band pixels, 2 in the top band, deviation 0 in x
    labels[97:99, 80:120] = 5  # 40 bottom band pixels; mean |x - mean| = 10: 40 / 16 / 10 = 0.25
    border = border_regions(labels)
    inner = border[2:98, 4:196]
    regions = labels[2:98, 4:196]
    assert border[:2].all()
    assert border[98:].all()
    assert border[:, :4].all()
    assert border[:, 196:].all()
    # The rest: 4 * (100 - 10 - 40) + 4 * 100 - 20 = 580 pixels left and right, v_y about 29, and 2 * 400 - 42
    # above and below, v_x about 57: 580 / 8 / 29 + 758 / 16 / 57 = 3.3.
    assert {int(k) for k in np.unique(regions[inner])} == {0, 2, 3}
    assert {int(k) for k in np.unique(regions[~inner])} == {1, 5}


def test_object_in_the_middle_stands_out() -> None:
    image = np.full((90, 120, 3), (90, 110, 90), np.uint8)
    image[30:60, 45:75] = (230, 60, 40)
    saliency = region_contrast(image)
    assert saliency.dtype == np.float32
    assert saliency[32:58, 47:73].min() == 1
    assert saliency[:28].max() == 0
    assert 0 <= saliency.min() <= saliency.max() <= 1


@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (30, 1), (2, 2), (7, 5), (60, 60)])
def test_image_of_one_colour_is_all_zero(shape: tuple[int, int]) -> None:
    saliency = region_contrast(np.full((*shape, 3), 130, np.uint8))
    assert saliency.shape == shape
    assert not saliency.any()


@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (30, 1), (2, 2), (24, 24), (13, 40)])
def test_small_images_give_finite_maps(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(3).integers(0, 256, (*shape, 3), np.uint8)
    saliency = region_contrast(image)
    assert saliency.shape == shape
    assert ((saliency >= 0) & (saliency <= 1)).all()


def test_refuses_other_images() -> None:
    with pytest.raises(ValueError, match="uint8 array"):
        region_contrast(np.zeros((10, 10, 3), np.float32))


@pytest.mark.real_data
@pytest.mark.slow
def test_agrees_with_the_authors_maps(real_data: Path) -> None:
    correlations = []
    ours, authors = DataSetScores(), DataSetScores()
    for path in sorted((real_data / "ecssd" / "images").glob("*.jpg"))[::10]:
        with (
            Image.open(path) as photograph,
            Image.open(real_data / "ecssd" / "rc_authors" / f"{path.stem}.png") as map_image,
            Image.open(real_data / "ecssd" / "ground_truth_mask" / f"{path.stem}.png") as mask_image,
        ):
            saliency = region_contrast(np.array(photograph.convert("RGB")))
            published = np.array(map_image.convert("L"))
            foreground = np.array(mask_image.convert("L")) > 127
        correlations.append(np.corrcoef(saliency.ravel(), published.ravel())[0, 1])
        ours.add(*map_histograms(to_8bit(saliency), foreground))
        authors.add(*map_histograms(to_8bit(published), foreground))
    assert len(correlations) == 50
    assert np.mean(correlations) >= 0.99
    assert ours.figures().f_beta_of_mean_curve == pytest.approx(authors.figures().f_beta_of_mean_curve, abs=0.005)
