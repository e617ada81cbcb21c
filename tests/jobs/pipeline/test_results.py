"""Maps of a finished row at the image's own size."""

from typing import Any

import numpy as np
import pytest

from jobs.pipeline.results import ResultStep
from jobs.settings import SaliencySettings
from saliency_core.imaging.png import decode_png_map
from saliency_core.parameters import ObjectParameters, SaliencyParameters
from saliency_core.refining.stages import Superpixels, chain_of_maps
from saliency_core.scoring.histograms import to_8bit

OFF = ObjectParameters(objects=False)
LABELS = np.repeat(np.arange(6, dtype=np.int32), 8).reshape(6, 8)


def finished(map_size: Any, **given: Any) -> dict[str, Any]:
    settings = SaliencySettings(output="x", images="y", map_size=map_size, objects=OFF, **given)
    row: dict[str, Any] = dict.fromkeys(
        ("mask_foreground", "mask_valid", "pixels", "object_labels", "object_colours", "depths")
    )
    row |= {"map_height": 6, "map_width": 8, "height": 30, "width": 40}
    generator = np.random.default_rng(0)
    if "method" in given:
        row["image_maps"] = LABELS.astype(np.float32).tobytes()
    else:
        row["superpixel_labels"] = LABELS.astype(np.uint16).tobytes()
        row["low_level"] = generator.random(6).astype(np.float32).tobytes()
        row["raw"] = generator.random((12, 12)).astype(np.float32).tobytes()
    return ResultStep(settings)._maps(row)


def test_full_size_keeps_one_value_a_superpixel() -> None:
    found = finished("original")
    generator = np.random.default_rng(0)
    large = Superpixels(np.kron(LABELS, np.ones((5, 5), np.int32)), generator.random(6).astype(np.float32))
    raw = generator.random((12, 12)).astype(np.float32)
    for stage, expected in chain_of_maps(raw, large, SaliencyParameters(objects=OFF)).items():
        map_ = decode_png_map(found[f"map_{stage}"]["bytes"])
        np.testing.assert_array_equal(map_, to_8bit(expected))
        assert map_.shape == (found["map_height"], found["map_width"]) == (30, 40)
    for stage in ("smoothed", "refined"):
        map_ = decode_png_map(found[f"map_{stage}"]["bytes"])
        assert all(len(np.unique(map_[5 * row : 5 * row + 5])) == 1 for row in range(6))


@pytest.mark.parametrize(("method", "is_of_superpixels"), [("low-level", True), ("region-contrast", False)])
def test_full_size_of_methods_that_look_at_the_image_alone(method: str, is_of_superpixels: bool) -> None:
    values = np.unique(decode_png_map(finished("original", method=method)["map_saliency"]["bytes"]))
    assert (len(values) == 6) == is_of_superpixels
