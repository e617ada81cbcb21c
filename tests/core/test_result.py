"""Pictures of a result, and masks from it."""

import base64
import re
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from saliency_core import SaliencyResult
from saliency_core.errors import ArgumentError
from saliency_core.imaging.decoding import decode_image
from saliency_core.segmentation.saliency_cut import saliency_cut


def drawn() -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.bool_]]:
    image = np.full((100, 120, 3), 90, np.uint8)
    image[30:70, 40:80] = (220, 40, 40)
    object_ = np.zeros((100, 120), bool)
    object_[30:70, 40:80] = True
    map_ = np.zeros((100, 120), np.float32)
    map_[28:72, 38:82] = 0.25
    map_[40:60, 50:70] = 0.5
    return image, map_, object_


@pytest.fixture
def result() -> SaliencyResult:
    image, map_, _ = drawn()
    return SaliencyResult(image, {"raw": np.roll(map_, 7, axis=0), "refined": map_}, 3, "<hen>", 0.5, 9.0, 1.0, 0.1)


def test_the_map_is_that_of_the_last_stage(result: SaliencyResult) -> None:
    assert result.map is result.maps["refined"]
    assert repr(result) == "SaliencyResult(100 x 120, maps raw, refined, label 3 (<hen>, 0.50))"
    assert result != SaliencyResult(**vars(result))  # arrays have no one truth: results are compared as objects
    assert hash(result)


def test_an_overlay_mixes_image_and_colours(result: SaliencyResult) -> None:
    image, map_, _ = drawn()
    np.testing.assert_array_equal(result.overlay(opacity=0), image)
    whole = result.overlay(opacity=1)
    flame = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[None], cv2.COLORMAP_INFERNO)[0, :, ::-1]
    np.testing.assert_array_equal(whole[0, 0], flame[0])
    np.testing.assert_array_equal(whole[50, 60], flame[255])
    np.testing.assert_array_equal(whole[30, 40], flame[128])
    np.testing.assert_array_equal(result.overlay()[50, 60], np.rint(0.6 * flame[255] + 0.4 * image[50, 60]))
    assert not np.array_equal(result.overlay("raw"), result.overlay())
    assert map_.max() == 0.5  # the map itself stays


def test_masks(result: SaliencyResult) -> None:
    image, map_, object_ = drawn()
    np.testing.assert_array_equal(result.mask(), saliency_cut(image, map_))
    np.testing.assert_array_equal(result.mask(), object_)
    np.testing.assert_array_equal(result.mask(0.5), map_ >= 0.25)
    np.testing.assert_array_equal(result.mask(0.51), map_ >= 0.5)
    np.testing.assert_array_equal(result.mask("otsu"), map_ > 0)
    np.testing.assert_array_equal(result.mask(1.0, "raw"), np.roll(map_, 7, axis=0) >= 0.5)


@pytest.mark.parametrize("how", ["saliency-cut", "otsu", 0.5])
def test_a_constant_map_has_no_object(how: Any) -> None:
    image, map_, _ = drawn()
    assert not SaliencyResult(image, {"saliency": np.full_like(map_, 0.3)}).mask(how).any()


@pytest.mark.parametrize("how", ["grabcut", 0, -1.0, 1.5, True, None])
def test_masks_that_there_are_not(result: SaliencyResult, how: Any) -> None:
    with pytest.raises(ArgumentError, match="a mask is cut by 'saliency-cut', 'otsu' or a threshold"):
        result.mask(how)


def test_stages_that_there_are_not(result: SaliencyResult) -> None:
    for call in (result.overlay, lambda stage: result.mask(0.5, stage)):
        with pytest.raises(ArgumentError, match="no stage 'final': choose one of raw, refined"):
            call("final")
    with pytest.raises(ArgumentError, match=r"opacity must be in 0\.\.1, not 2"):
        result.overlay(opacity=2)


def test_a_notebook_shows_image_maps_and_overlay(result: SaliencyResult) -> None:
    shown = result._repr_html_()
    assert "&lt;hen&gt; (0.50), logit 9.0 → 1.0" in shown
    assert re.findall(r'alt="(\w+)"', shown) == ["image", "raw", "refined", "overlay"]
    pictures = [decode_image(base64.b64decode(data)).pixels for data in re.findall(r"base64,([^\"]+)", shown)]
    np.testing.assert_array_equal(pictures[0], result.image)
    np.testing.assert_array_equal(pictures[3], result.overlay())
    assert pictures[2][50, 60].tolist() == [255, 255, 255]
    without = SaliencyResult(result.image, {"saliency": result.map})._repr_html_()
    assert "caption" not in without
