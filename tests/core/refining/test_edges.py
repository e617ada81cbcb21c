"""The guided filter against its equations, pixel by pixel in float64."""

import numpy as np
import pytest

from saliency_core.refining.edges import guided_filter


def test_the_filter_against_its_equations() -> None:
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (14, 17, 3)).astype(np.uint8)
    map_ = random.random((14, 17)).astype(np.float32)
    radius, smoothness = 2, 1e-2
    padded = np.pad(image / 255.0, ((radius, radius), (radius, radius), (0, 0)), mode="edge")
    levels = np.pad(map_.astype(float), radius, mode="edge")
    slopes, offsets = np.zeros((14, 17, 3)), np.zeros((14, 17))
    for y in range(14):
        for x in range(17):
            colours = padded[y : y + 5, x : x + 5].reshape(-1, 3)
            level = levels[y : y + 5, x : x + 5].ravel()
            spread = np.cov(colours.T, bias=True) + smoothness * np.eye(3)
            together = (colours * level[:, None]).mean(axis=0) - colours.mean(axis=0) * level.mean()
            slopes[y, x] = np.linalg.solve(spread, together)
            offsets[y, x] = level.mean() - slopes[y, x] @ colours.mean(axis=0)
    slopes = np.pad(slopes, ((2, 2), (2, 2), (0, 0)), mode="edge")
    offsets = np.pad(offsets, 2, mode="edge")
    expected = np.zeros((14, 17))
    for y in range(14):
        for x in range(17):
            slope = slopes[y : y + 5, x : x + 5].reshape(-1, 3).mean(axis=0)
            expected[y, x] = slope @ (image[y, x] / 255.0) + offsets[y : y + 5, x : x + 5].mean()
    expected = np.clip(expected, 0, None)
    found = guided_filter(map_, image, radius / 17, smoothness, coarser=1)
    np.testing.assert_allclose(found, expected / expected.max(), atol=2e-4)


def test_a_map_takes_the_edges_of_the_image() -> None:
    y, x = np.mgrid[:120, :160]
    disc = (y - 60) ** 2 + (x - 80) ** 2 < 40**2
    image = np.where(disc[..., None], (220, 60, 40), (40, 120, 200)).astype(np.uint8)
    coarse = np.kron(disc[5::10, 5::10], np.ones((10, 10))).astype(np.float32)
    found = guided_filter(coarse, image, 0.06)
    assert ((found > 0.5) != disc).mean() < 0.5 * ((coarse > 0.5) != disc).mean()


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (2, 3), (40, 30)])
def test_odd_images(shape: tuple[int, int]) -> None:
    image = np.full((*shape, 3), 7, np.uint8)
    assert not guided_filter(np.zeros(shape, np.float32), image, 0.02).any()
    map_ = np.random.default_rng(1).random(shape).astype(np.float32)
    found = guided_filter(map_, image, 0.02)
    assert found.shape == shape
    assert found.dtype == np.float32
    assert ((found >= 0) & (found <= 1)).all()
