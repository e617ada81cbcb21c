"""What whole objects cost and bring: presets, views and steps, the share of every piece.

``python -m benchmarks.studies.objects_sweep --root FOLDER --weights FILE [--what presets views pieces ...]``
with FOLDER in ECSSD's layout (``--dataset voc`` with ``--split val``: in Pascal VOC's)

The constants were chosen on two fifths of the photographs (``--part tuning``), the figures of the documentation are of
the others (``--part held-out``) or of all. A, B and C: see docs/evaluation.md. Behind A its standard error, and that of
its difference to the first row, by the bootstrap over images. Milliseconds are processor time of one core an image:
network (all views and steps), superpixels, maps; a busy machine does not change them much.
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from jobs.inputs.data_sets import read_data_set
from jobs.pipeline.freed_memory import reuse_freed_memory
from jobs.storage import files as storage
from saliency_core import Classifier, SaliencyParameters, load_classifier, place
from saliency_core.imaging.decoding import decode_image
from saliency_core.imaging.masks import Mask, decode_mask
from saliency_core.imaging.resizing import squash
from saliency_core.methods.attribution import ImageAttribution
from saliency_core.methods.clamped_erasure import erase
from saliency_core.networks.options import RANDOM
from saliency_core.parameters import ViewParameters, preset
from saliency_core.refining.stages import Superpixels, chain_of_maps, describe_superpixels
from saliency_core.scoring.data_set import DataSetScores
from saliency_core.scoring.histograms import map_histograms, precision_recall, to_8bit
from saliency_core.scoring.structure import s_measure

IMAGES_A_PASS = 16
DRAWS = 200


@dataclass
class Photographs:
    """Images and masks, read once, with what was computed of them."""

    images: list[np.ndarray]
    masks: list[Mask]
    attributions: dict[object, tuple[list[ImageAttribution], float]]
    superpixels: dict[object, tuple[list[Superpixels], float]]

    def attributed(self, classifier: Classifier, p: SaliencyParameters) -> tuple[list[ImageAttribution], float]:
        """Attributions of all images, and milliseconds an image."""
        views = p.views if p.objects.objects else replace(p.views, depths=False)
        key = (id(classifier), p.erasure, views)
        if key not in self.attributions:
            found: list[ImageAttribution] = []
            size = classifier.preprocessing.input_size
            seconds = 0.0
            for start in range(0, len(self.images), IMAGES_A_PASS):
                inputs = np.stack([squash(image, size) for image in self.images[start : start + IMAGES_A_PASS]])
                began = time.process_time()
                batch = erase(classifier, inputs, None, p.erasure, views)
                seconds += time.process_time() - began
                found += [batch.image(index) for index in range(len(inputs))]
            self.attributions[key] = found, 1000 * seconds / len(found)
        return self.attributions[key]

    def described(self, p: SaliencyParameters) -> tuple[list[Superpixels], float]:
        """Superpixels of all images, and milliseconds an image."""
        key = (p.superpixels, p.low_level, p.objects.objects, p.objects.object_segments, p.objects.needs_pixels)
        if key not in self.superpixels:
            began = time.process_time()
            found = [describe_superpixels(image, p) for image in self.images]
            self.superpixels[key] = found, 1000 * (time.process_time() - began) / len(found)
        return self.superpixels[key]


class Curves:
    """Precision and recall of every image, for A of any draw of images."""

    def __init__(self, inside: np.ndarray, outside: np.ndarray) -> None:
        self.precision, self.recall = precision_recall(inside, outside)

    def a(self, weights: np.ndarray) -> float:
        precision, recall = (weights @ part / weights.sum() for part in (self.precision, self.recall))
        return float((1.3 * precision * recall / np.maximum(0.3 * precision + recall, 1e-12)).max())


def table(photographs: Photographs, classifier: Classifier, rows: Iterator[tuple[str, SaliencyParameters]]) -> None:
    """Print a row for the last stage of every set of constants, or for all stages where the name says so."""
    print(
        f"{'':34s} {'stage':9s} {'A':>6s} {'se':>6s} {'dA':>7s} {'se':>6s} {'B':>6s} {'C':>6s} {'MAE':>6s} {'IoU':>6s} "
        f"{'acc':>6s} {'IoU-O':>6s} {'acc-O':>6s} {'maxE':>6s} {'S':>6s} | ms: network superpixels maps"
    )
    draws = np.random.default_rng(0).multinomial(
        len(photographs.images), np.full(len(photographs.images), 1 / len(photographs.images)), DRAWS
    )
    first: Curves | None = None
    for name, p in rows:
        attributions, network_ms = photographs.attributed(classifier, p)
        superpixels, superpixels_ms = photographs.described(p)
        histograms: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
        structure: dict[str, list[float]] = {}
        seconds = 0.0
        for found, described, mask in zip(attributions, superpixels, photographs.masks, strict=True):
            began = time.process_time()
            maps = chain_of_maps(found.raw, described, p, found.evidence, found.features)
            seconds += time.process_time() - began
            stages = list(maps) if name.endswith("*") else list(maps)[-1:]
            for stage in stages:
                levels = to_8bit(maps[stage])
                histograms.setdefault(stage, []).append(map_histograms(levels, mask.foreground, mask.valid))
                structure.setdefault(stage, []).append(s_measure(levels / 255, mask.foreground, mask.valid))
        for stage, pairs in histograms.items():
            inside, outside = (np.stack(part) for part in zip(*pairs, strict=True))
            scores, curves = DataSetScores(), Curves(inside, outside)
            scores.add(inside, outside)
            first = first or curves
            f = scores.figures()
            own = np.array([curves.a(draw) for draw in draws])
            apart = own - np.array([first.a(draw) for draw in draws])
            print(
                f"{name:34s} {stage:9s} {f.f_beta_of_mean_curve:6.4f} {own.std():6.4f} {apart.mean():+7.4f} "
                f"{apart.std():6.4f} {f.f_beta_max_of_mean:6.4f} {f.f_beta_mean_of_max:6.4f} {f.mae:6.4f} {f.iou:6.4f} "
                f"{f.accuracy:6.4f} {f.iou_otsu:6.4f} {f.accuracy_otsu:6.4f} {f.e_measure_max:6.4f} "
                f"{np.mean(structure[stage]):6.4f} | "
                f"{network_ms:6.1f} {superpixels_ms:6.1f} {1000 * seconds / len(attributions):6.1f}",
                flush=True,
            )


def _with(p: SaliencyParameters, **values: Any) -> SaliencyParameters:
    return replace(p, objects=replace(p.objects, **values))


def presets() -> Iterator[tuple[str, SaliencyParameters]]:
    """Take the presets, with all of their stages."""
    for name in ("paper", "fast", "default", "best"):
        yield f"{name}*", preset(name)


def views() -> Iterator[tuple[str, SaliencyParameters]]:
    """Vary views, steps and erased classes."""
    p = preset("default")
    for sizes, mirror in (((1.0,), False), ((1.0,), True), ((0.86,), True), ((1.0, 0.86, 0.72), True)):
        for steps in (1, 3, 10) if len(sizes) == 1 else (3,):
            chosen = ViewParameters(sizes, mirror)
            yield (
                f"sizes {sizes} mirror {mirror:d} T {steps}",
                replace(p, views=chosen, erasure=replace(p.erasure, iterations=steps)),
            )
    yield "five classes erased", replace(p, erasure=replace(p.erasure, erased_classes=5))
    for segments in ((100,), (200,), (300,), (600,), (100, 200, 400), (150, 400), (300, 600)):
        yield f"superpixels {segments}", replace(p, objects=replace(p.objects, object_segments=segments))


def pieces() -> Iterator[tuple[str, SaliencyParameters]]:
    """Leave out each piece of the default, and put those of the best to it."""
    p = preset("default")
    yield "default", p
    yield "best without the cut-out", _with(preset("best"), cut_share=0.0)
    yield "best", preset("best")
    yield "default with the cut-out", _with(p, cut_share=0.5, contrast=5.0)
    yield "without depths and features", replace(p, views=replace(p.views, depths=False))
    left_out: dict[str, dict[str, float]] = {
        "without the raw map": {"raw_weight": 0.0},
        "without background of features": {"deep_background": 0.0},
        "without doubt": {"doubt": 0.0},
        "without features in the similarity": {"fine_scale": 0.0},
        "without features in the look": {"look_fine_sigma": 1e6},
        "without the object's look": {"appearance_rounds": 0},
        "without the image's edges": {"edge_radius": 0.0},
        "without contrast": {"contrast": 0.0},
    }
    for name, values in left_out.items():
        yield name, _with(p, **values)


def constants() -> Iterator[tuple[str, SaliencyParameters]]:
    """Take single constants of the default otherwise."""
    p = preset("default")
    yield "default", p
    for name, values in {
        "geodesic_sigma": (7.0, 14.0),
        "deep_scale": (14.0, 30.0),
        "deep_background": (0.5,),
        "doubt": (0.2, 1.0),
        "evidence_power": (1.0, 2.0),
        "similarity_sigma": (5.0, 7.0, 14.0),
        "fine_scale": (5.0, 20.0),
        "adjacency": (0.03, 0.3),
        "look_colour_sigma": (20.0, 45.0),
        "look_fine_sigma": (0.35, 0.7),
        "look_ridge": (1.0, 4.0),
        "edge_radius": (0.01, 0.04),
        "contrast": (5.0, 20.0),
    }.items():
        for value in values:
            yield f"{name} {value}", _with(p, **{name: value})


ROWS = {"presets": presets, "views": views, "pieces": pieces, "constants": constants, "control": presets}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="ecssd")
    parser.add_argument("--root", required=True)
    parser.add_argument("--split")
    parser.add_argument("--model", default="squeezenet1_1")
    parser.add_argument("--weights", required=True)
    parser.add_argument("--what", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--part", choices=["tuning", "held-out", "all"], default="all")
    parser.add_argument("--every", type=int, default=1, help="take every so manieth photograph of the part")
    options = parser.parse_args()
    torch.set_num_threads(1)
    reuse_freed_memory()
    listing = read_data_set(options.dataset, options.root, options.split)
    indices = [
        index
        for index in range(len(listing.image_uris))
        if listing.mask_uris[index] is not None
        and (options.part == "all" or (index % 5 in (0, 1)) == (options.part == "tuning"))
    ][:: options.every]
    photographs = Photographs(
        [decode_image(storage.read_bytes(listing.image_uris[i])).pixels for i in indices],
        [decode_mask(storage.read_bytes(str(listing.mask_uris[i]))) for i in indices],
        {},
        {},
    )
    for what in options.what:
        weights = RANDOM if what == "control" else options.weights
        classifier = place(load_classifier(options.model, weights), "cpu")
        print(f"{what}: {options.model}, weights {'random' if what == 'control' else 'given'}, {len(indices)} images")
        table(photographs, classifier, ROWS[what]())


if __name__ == "__main__":
    main()
