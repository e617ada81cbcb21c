"""The compiled superpixels against scikit-image's: borders, and what they do to the maps.

``python -m benchmarks.studies.superpixel_quality --root FOLDER --weights FILE [--limit N]`` (FOLDER as ECSSD)

Boundary recall is the share of an object's border pixels that have a superpixel's border within 2 pixels (Achanta et
al.; more is better); undersegmentation the share of an image's pixels that lie on the minority side, object or not, of
their superpixel (Neubert & Protzel; less is better). Both are means over the images. A is the best F-beta of the mean
precision and recall curve, of each stage of the erasure's maps; the raw maps are the same for all superpixels.
"""

import argparse
import json
import time
from dataclasses import asdict, replace
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from skimage.segmentation import find_boundaries

from benchmarks.speed.timing import hardware
from benchmarks.studies.parameter_sweep import Photographs
from jobs.inputs.data_sets import read_data_set
from saliency_core import SaliencyParameters, load_classifier
from saliency_core.parameters import SlicCode, SuperpixelParameters
from saliency_core.refining.stages import describe_superpixels
from saliency_core.superpixels.statistics import LabelMap

TOLERANCE = 2
"""Pixels between an object's border and a superpixel's, at most."""


def boundary_recall(labels: LabelMap, foreground: NDArray[np.bool_]) -> float:
    """Share of the object's border that the superpixels' borders follow; NaN for a mask without a border."""
    distance = distance_transform_edt(~find_boundaries(labels, mode="thick"))
    border = find_boundaries(foreground, mode="inner")
    return float((distance[border] <= TOLERANCE).mean()) if border.any() else float("nan")


def undersegmentation(labels: LabelMap, foreground: NDArray[np.bool_]) -> float:
    """Share of the pixels on the minority side of their superpixel."""
    sizes = np.bincount(labels.ravel())
    inside = np.bincount(labels.ravel(), weights=foreground.ravel(), minlength=len(sizes))
    return float(np.minimum(inside, sizes - inside).sum() / labels.size)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True)
    parser.add_argument("--model", default="squeezenet1_1")
    parser.add_argument("--weights", required=True)
    parser.add_argument("--limit", type=int)
    options = parser.parse_args()
    listing = read_data_set("ecssd", options.root)
    photographs = Photographs(listing.image_uris[: options.limit], listing.mask_uris[: options.limit])
    defaults = SaliencyParameters()
    raw_maps = photographs.raw_maps(load_classifier(options.model, options.weights), defaults.erasure)
    for code in get_args(SlicCode):
        print(json.dumps(_measure(photographs, raw_maps, defaults, code)), flush=True)
    print(json.dumps(hardware()))


def _measure(
    photographs: Photographs, raw_maps: list[np.ndarray], defaults: SaliencyParameters, code: SlicCode
) -> dict[str, Any]:
    parameters = replace(defaults, superpixels=SuperpixelParameters(slic=code))
    describe_superpixels(photographs.images[0], parameters)  # compiles where that is to be done
    started = time.process_time()
    described = [describe_superpixels(image, parameters) for image in photographs.images]
    seconds = time.process_time() - started
    pairs = [
        (superpixels.labels, mask.foreground) for superpixels, mask in zip(described, photographs.masks, strict=True)
    ]
    return {
        "superpixels": asdict(parameters.superpixels),
        "images": len(described),
        "superpixels_an_image": round(float(np.mean([labels.max() + 1 for labels, _ in pairs])), 1),
        "milliseconds_with_low_level": round(1000 * seconds / len(described), 2),
        "boundary_recall": round(float(np.nanmean([boundary_recall(*pair) for pair in pairs])), 4),
        "undersegmentation": round(float(np.mean([undersegmentation(*pair) for pair in pairs])), 4),
        "A": photographs.scores(raw_maps, described, parameters),
    }


if __name__ == "__main__":
    main()
