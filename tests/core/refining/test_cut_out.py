"""A map with its own cut-out."""

import dataclasses

import numpy as np
import pytest

from saliency_core.errors import ArgumentError
from saliency_core.imaging.resizing import resize_map
from saliency_core.parameters import ObjectParameters, preset
from saliency_core.refining.cut_out import LONGEST_SIDE, with_cut_out
from saliency_core.refining.stages import chain_of_maps, describe_superpixels


def scene(height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a red disc on grey, the disc, and a map that sees its middle alone."""
    rows, columns = np.mgrid[:height, :width]
    distance = np.hypot(rows - 0.5 * height, columns - 0.45 * width) / min(height, width)
    noise = np.random.default_rng(0).integers(-6, 7, (height, width, 3))
    image = np.where((distance < 0.3)[..., None], [200, 50, 40], [110, 115, 110]) + noise
    return image.astype(np.uint8), distance < 0.3, np.clip(1 - distance / 0.34, 0, 1).astype(np.float32)


def test_the_object_is_added_by_its_share() -> None:
    image, disc, map_ = scene(90, 120)
    found = with_cut_out(map_, image, 0.25)
    np.testing.assert_allclose(found[disc], 0.75 * map_[disc] + 0.25, atol=1e-6)
    np.testing.assert_allclose(found[~disc], 0.75 * map_[~disc], atol=1e-6)
    assert found.dtype == np.float32


def test_nothing_cut_out_leaves_the_map() -> None:
    image, _, map_ = scene(60, 80)
    for empty in (np.zeros_like(map_), np.full_like(map_, 0.5)):
        np.testing.assert_array_equal(with_cut_out(empty, image, 0.5), empty)


@pytest.mark.parametrize("shape", [(1, 1), (1, 700), (700, 3)])
def test_images_of_hardly_any_pixels(shape: tuple[int, int]) -> None:
    map_ = np.linspace(0, 1, shape[0] * shape[1], dtype=np.float32).reshape(shape)
    found = with_cut_out(map_, np.zeros((*shape, 3), np.uint8), 0.5)
    assert found.shape == shape
    assert 0 <= found.min() <= found.max() <= 1


def test_a_large_image_is_cut_at_a_bounded_size() -> None:
    image, disc, map_ = scene(480, 2 * LONGEST_SIDE)
    found = with_cut_out(map_, image, 1.0)
    assert ((found >= 0.5) != disc).mean() < 0.005
    halfway = (found > 0.01) & (found < 0.99)
    assert 0 < halfway.mean() < 0.02  # the outline of half the size, enlarged


def test_it_is_a_part_of_whole_objects() -> None:
    image, disc, _ = scene(90, 120)
    raw = resize_map(disc.astype(np.float32), 32, 32)
    whole = dataclasses.replace(preset("best"), objects=ObjectParameters(object_segments=(60,), edge_radius=0.0))
    half = dataclasses.replace(whole, objects=dataclasses.replace(whole.objects, cut_share=0.5))
    plain, added = (chain_of_maps(raw, describe_superpixels(image, p), p)["objects"] for p in (whole, half))
    np.testing.assert_allclose(added, with_cut_out(plain, image, 0.5), atol=1e-6)
    assert np.abs(added - plain).max() > 1e-4
    assert preset("best").objects.cut_share == 0.5


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_is_a_part_of_the_map(share: float) -> None:
    with pytest.raises(ArgumentError, match="cut_share must be a part of the map"):
        ObjectParameters(cut_share=share)
