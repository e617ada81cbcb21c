"""How the constants of the method were chosen: a sweep on two fifths of a data set, figures on the other three.

``python -m benchmarks.studies.parameter_sweep --root FOLDER --weights FILE`` with FOLDER in ECSSD's layout

Every figure is A: the best F-beta of the mean precision and recall curve. First the erasure's constants, by the raw
and the smoothed map; then, with the defaults of the erasure, those of the refinement. The defaults and the published
constants are then compared on the images that the sweep has not seen.
"""

import argparse
import itertools
import json
from dataclasses import replace
from importlib.metadata import version

import numpy as np

from jobs.inputs.data_sets import read_data_set
from jobs.storage import files as storage
from saliency_core import Classifier, SaliencyParameters, load_classifier
from saliency_core.imaging.decoding import decode_image
from saliency_core.imaging.masks import decode_mask
from saliency_core.imaging.resizing import squash
from saliency_core.methods.clamped_erasure import erase
from saliency_core.methods.low_level import low_level_saliency
from saliency_core.parameters import STAGES, ErasureParameters, LowLevelParameters, RefinementParameters, preset
from saliency_core.refining.stages import Superpixels, chain_of_maps
from saliency_core.scoring.data_set import DataSetScores
from saliency_core.scoring.histograms import map_histograms, to_8bit
from saliency_core.superpixels.statistics import slic_superpixels

ERASURES = [
    ErasureParameters(epsilon, gamma, iterations)
    for epsilon, gamma, iterations in (
        (0.1, 2e-3, 10),
        (0.1, 0.0, 10),
        (0.1, 1e-3, 10),
        (0.1, 1e-2, 10),
        (0.3, 2e-3, 10),
        (0.1, 2e-3, 5),
        (0.1, 2e-3, 1),
    )
]
LOW_LEVELS = [
    LowLevelParameters(centre_falloff=centre, distribution_falloff=distribution)
    for distribution, centre in itertools.product((0.75, 1.5, 3.0, 6.0), (9.0, 15.0))
]
REFINEMENTS = [RefinementParameters(theta, alpha) for theta, alpha in itertools.product((0.02, 0.05), (0.05, 0.1, 0.3))]
PUBLISHED = replace(
    preset("paper"),
    erasure=ErasureParameters(0.1, 1e-3, 10),
    low_level=LowLevelParameters(centre_falloff=9.0, distribution_falloff=6.0),
    refinement=RefinementParameters(0.05, 0.3),
)


class Photographs:
    """Images with masks and superpixels, read once."""

    def __init__(self, image_uris: list[str], mask_uris: list[str | None]) -> None:
        self.images = [decode_image(storage.read_bytes(uri)).pixels for uri in image_uris]
        self.masks = [decode_mask(storage.read_bytes(uri)) for uri in mask_uris if uri is not None]
        self.labels = [slic_superpixels(image) for image in self.images]

    def raw_maps(self, classifier: Classifier, parameters: ErasureParameters) -> list[np.ndarray]:
        inputs = np.stack([squash(image, classifier.preprocessing.input_size) for image in self.images])
        found = [
            erase(classifier, inputs[start : start + 10], parameters=parameters).raw
            for start in range(0, len(inputs), 10)
        ]
        return list(np.concatenate(found))

    def low_level(self, parameters: LowLevelParameters) -> list[Superpixels]:
        pairs = zip(self.images, self.labels, strict=True)
        return [Superpixels(labels, low_level_saliency(image, labels, parameters)) for image, labels in pairs]

    def scores(
        self, raw_maps: list[np.ndarray], superpixels: list[Superpixels], parameters: SaliencyParameters
    ) -> dict[str, float]:
        totals = {stage: DataSetScores() for stage in STAGES}
        for raw, described, mask in zip(raw_maps, superpixels, self.masks, strict=True):
            for stage, map_ in chain_of_maps(raw, described, parameters).items():
                totals[stage].add(*map_histograms(to_8bit(map_), mask.foreground, mask.valid))
        return {stage: round(total.figures().f_beta_of_mean_curve, 4) for stage, total in totals.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True)
    parser.add_argument("--model", default="squeezenet1_1")
    parser.add_argument("--weights", required=True)
    options = parser.parse_args()
    listing = read_data_set("ecssd", options.root)
    classifier = load_classifier(options.model, options.weights)
    defaults = preset("paper")
    tuning = [index for index in range(len(listing.image_uris)) if index % 5 in (0, 1)]
    held_out = [index for index in range(len(listing.image_uris)) if index % 5 not in (0, 1)]

    def photographs(indices: list[int]) -> Photographs:
        return Photographs([listing.image_uris[i] for i in indices], [listing.mask_uris[i] for i in indices])

    print(json.dumps({name: version(name) for name in ("torch", "scikit-image")}))
    part = photographs(tuning)
    superpixels = part.low_level(defaults.low_level)
    chosen: list[np.ndarray] = []
    for erasure in ERASURES:
        raw_maps = part.raw_maps(classifier, erasure)
        chosen = raw_maps if erasure == defaults.erasure else chosen
        print("tuning", erasure, part.scores(raw_maps, superpixels, defaults), flush=True)
    for low_level in LOW_LEVELS:
        superpixels = part.low_level(low_level)
        for refinement in REFINEMENTS:
            found = part.scores(chosen, superpixels, replace(defaults, refinement=refinement))
            print("tuning", low_level, refinement, found, flush=True)
    rest = photographs(held_out)
    for name, parameters in (("defaults", defaults), ("published", PUBLISHED)):
        raw_maps = rest.raw_maps(classifier, parameters.erasure)
        found = rest.scores(raw_maps, rest.low_level(parameters.low_level), parameters)
        print(f"held out, {name}:", found, flush=True)


if __name__ == "__main__":
    main()
