"""How long every step of whole objects takes: ``python -m benchmarks.speed.objects_steps``.

Milliseconds of processor time of one core, on the photographs of coffee, astronaut and cat that scikit-image ships, at
400 pixels. The network's weights are random, which changes no step's work. A busy machine changes the figures little.
"""

import argparse
import functools
import time
from collections import defaultdict
from typing import Any

import cv2
import numpy as np
import skimage.data

import saliency_core.refining.objects as objects
from saliency_core import load_classifier, place
from saliency_core.imaging.resizing import resize_longest_side, resize_map, squash
from saliency_core.methods.clamped_erasure import erase
from saliency_core.parameters import ErasureParameters, ObjectParameters, SaliencyParameters, ViewParameters
from saliency_core.refining.edges import guided_filter
from saliency_core.refining.stages import describe_superpixels
from saliency_core.superpixels.graph import Nodes

STEPS = (
    "joint_evidence",
    "colour_distances",
    "_feature_distances",
    "two_rings",
    "geodesic_distances",
    "background_probability",
    "similarity",
    "optimise",
    "appearance",
)
"""Functions of `saliency_core.refining.objects`; the geodesic distances are a part of the background."""
SIDE = 400
REPEATS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    cv2.setNumThreads(1)
    seconds: dict[str, float] = defaultdict(float)

    def timed(name: str, function: Any) -> Any:
        @functools.wraps(function)
        def run(*arguments: Any, **named: Any) -> Any:
            began = time.process_time()
            found = function(*arguments, **named)
            seconds[name] += time.process_time() - began
            return found

        return run

    for name in STEPS:
        setattr(objects, name, timed(name, getattr(objects, name)))
    classifier = place(load_classifier("squeezenet1_1", "random"), "cpu")
    pictures = (skimage.data.coffee(), skimage.data.astronaut(), skimage.data.chelsea())
    images = [resize_longest_side(image, SIDE) for image in pictures]
    found = erase(
        classifier, np.stack([squash(i, 224) for i in images]), None, ErasureParameters(iterations=1), ViewParameters()
    )
    for segments in ((100,), (200,), (300,), (400,), (600,), (100, 200, 400)):
        parameters = SaliencyParameters(objects=ObjectParameters(object_segments=segments))
        nodes = 0
        for repeat in range(REPEATS + 1):
            if repeat == 1:  # the first one compiles
                seconds.clear()
            for index, image in enumerate(images):
                said = found.image(index)
                described = timed("superpixels (SLIC)", describe_superpixels)(image, parameters)
                sizes = timed("nodes and neighbours", lambda d: [Nodes.of(s.labels, s.lab) for s in d.sizes])(described)
                raw = resize_map(said.raw, *image.shape[:2])
                evidence = objects.Evidence(raw, said.evidence, said.features)
                map_ = timed("all of the graph", objects.whole_objects)(sizes, evidence, parameters.objects)
                map_ = timed("image's edges", guided_filter)(map_, image, 0.02)
                timed("drawn apart", objects.drawn_apart)(map_, 10.0)
                nodes += sum(len(size.areas) for size in sizes)
        count = REPEATS * len(images)
        milliseconds = {name: round(1000 * value / count, 2) for name, value in seconds.items()}
        print(f"{segments}: {nodes / (count + len(images)):.0f} superpixels, {milliseconds}", flush=True)


if __name__ == "__main__":
    main()
