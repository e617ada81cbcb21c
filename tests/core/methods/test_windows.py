"""Windows against Pillow's own crops, and against the definition."""

import numpy as np
import pytest
import torch
from PIL import Image

from saliency_core.imaging.resizing import squash
from saliency_core.methods.windows import CONTEXT_PADDING, MAP_SIDE, global_canvas, image_side, local_canvas, map_canvas
from saliency_core.superpixels.regions import CELLS, Regions

SIZE = 96
SIDE = image_side(SIZE)
CENTRES = np.array([[0.5, 0.5], [0.11, 0.83], [0.97, 0.02]], np.float32)


@pytest.fixture(scope="module")
def photograph() -> np.ndarray:
    """Stripes finer than any window can show, beside smooth colours: (300, 400, 3)."""
    y, x = np.mgrid[:300, :400]
    stripes = np.where(x % 2, 255, 0)
    return np.stack([stripes, y * 255 // 300, x * 255 // 400], axis=2).astype(np.uint8)


def pixels(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).float()


def by_pillow(image: np.ndarray, centre: np.ndarray, share: float) -> np.ndarray:
    """Crop a window of a share of the image, zeros outside, and resize it: Pillow's, antialiased."""
    height, width = image.shape[:2]
    margin = 2 * height, 2 * width
    whole = np.pad(image, [(margin[0],) * 2, (margin[1],) * 2, (0, 0)])
    half = share * height / 2, share * width / 2
    y, x = centre[0] * height + margin[0], centre[1] * width + margin[1]
    box = (x - half[1], y - half[0], x + half[1], y + half[0])
    return np.asarray(Image.fromarray(whole).resize((SIZE, SIZE), Image.Resampling.BILINEAR, box=box), np.float64)


@pytest.mark.parametrize("kind", ["global", "local"])
def test_windows_are_pillows_antialiased_crops_of_the_photograph(photograph: np.ndarray, kind: str) -> None:
    images = pixels(squash(photograph, SIDE)[None])
    canvas = (global_canvas if kind == "global" else local_canvas)(images, SIZE)
    share = 2 * CONTEXT_PADDING if kind == "global" else 2 / 3
    found = canvas.cut(torch.zeros(3, dtype=torch.int64), torch.from_numpy(CENTRES)).permute(0, 2, 3, 1).numpy()
    assert found.shape == (3, SIZE, SIZE, 3)
    for window, centre in zip(found, CENTRES, strict=True):
        expected = by_pillow(photograph, centre, share)
        difference = np.abs(window - expected)
        # Half a pixel of the network's input away at most, and the image's border is a step.
        assert difference.mean() < 4
        assert np.quantile(difference, 0.9) < 14
        assert (window.any(axis=2) == expected.any(axis=2)).mean() > 0.96
    # Without antialiasing stripes alias to full contrast; a reduced window shows their mean.
    middle = found[0, 40:56, 40:56, 0]
    assert 80 < middle.min() <= middle.max() < 175


def test_a_window_holds_the_pixels_around_its_centre() -> None:
    images = torch.arange(2 * SIDE * SIDE, dtype=torch.float32).view(2, 1, SIDE, SIDE) + 1
    centres = torch.tensor([[0.5, 0.5], [0.0, 1.0]])
    found = local_canvas(images, SIZE).cut(torch.tensor([1, 0]), centres)[:, 0]
    first = (SIDE - SIZE) // 2
    assert torch.equal(found[0], images[1, 0, first : first + SIZE, first : first + SIZE])
    half = SIZE // 2
    assert torch.equal(found[1, half:, :half], images[0, 0, : SIZE - half, SIDE - half :])
    assert not found[1, :half].any()
    assert not found[1, :, half:].any()


def test_a_map_is_cut_where_the_local_window_lies() -> None:
    ramp = torch.linspace(0, 1, CELLS).expand(CELLS, CELLS)[None, None].contiguous()
    (found,) = map_canvas(ramp).cut(torch.tensor([0]), torch.tensor([[0.5, 0.25]]))[:, 0]
    assert found.shape == (MAP_SIDE, MAP_SIDE)
    outside = MAP_SIDE // 2 - CELLS // 4
    assert not found[:, :outside].any()
    assert torch.equal(found[5, outside:], ramp[0, 0, 0, : MAP_SIDE - outside])
    assert pytest.approx(SIZE / SIDE) == MAP_SIDE / CELLS


def test_regions_are_centroids_and_the_superpixels_of_cells() -> None:
    labels = np.zeros((40, 80), np.int32)
    labels[:, 60:] = 1
    regions = Regions.of(labels)
    np.testing.assert_allclose(regions.centres, [[0.5, 0.375], [0.5, 0.875]], atol=1e-6)
    assert regions.cells.shape == (CELLS, CELLS)
    assert (regions.cells == (np.arange(CELLS) >= 0.75 * CELLS)).all()
    assert len(Regions.none().centres) == 0
