"""What the layers that `place` brings do on a CPU: a step of the erasure with them and with torch's own, in turn.

``python -m benchmarks.speed.cpu_layers [--models NAME ...] [--precisions float32 bfloat16]``

One thread, random weights (speed does not depend on them), as many images a pass as the job takes; the process's own
time.
"""

import argparse
import dataclasses
import functools
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from benchmarks.speed.timing import hardware, in_turn
from jobs.pipeline.batch_size import images_on_a_cpu
from jobs.pipeline.freed_memory import reuse_freed_memory
from saliency_core.methods.clamped_erasure import erase
from saliency_core.networks.classifier import Classifier, load_classifier
from saliency_core.networks.options import Precision
from saliency_core.networks.placement import place
from saliency_core.networks.precision import LowPrecision
from saliency_core.parameters import ErasureParameters

MODELS = [
    *("squeezenet1_1", "squeezenet1_0", "alexnet", "resnet18", "resnet50"),
    *("mobilenet_v3_large", "efficientnet_b0", "vgg16"),
]
STEPS = 2


def torchs_own(classifier: Classifier, precision: Precision) -> Classifier:
    """Place a classifier as `place` does, but leave its layers alone."""
    network = classifier.network.to(memory_format=torch.channels_last)
    if precision != "float32":
        network = LowPrecision(network, precision)
    return dataclasses.replace(classifier, network=network, precision=precision)


def measure(model: str, precision: Precision, rounds: int) -> dict[str, str | float]:
    """Return milliseconds of a step an image, and the correlation of the maps."""
    classifiers = {
        "torchs_own": torchs_own(load_classifier(model, "random"), precision),
        "cpu_layers": place(load_classifier(model, "random"), torch.device("cpu"), precision),
    }
    size = classifiers["cpu_layers"].preprocessing.input_size
    count = images_on_a_cpu(classifiers["cpu_layers"])
    images = np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    parameters = ErasureParameters(iterations=STEPS)
    labels = np.zeros(count, np.int64)
    first, second = (erase(classifier, images, labels, parameters).raw for classifier in classifiers.values())
    functions: dict[str, Callable[[], Any]] = {
        name: functools.partial(erase, classifier, images, labels, parameters)
        for name, classifier in classifiers.items()
    }
    best = in_turn(functions, rounds, time.process_time)
    found = {name: 1000 * seconds / (count * STEPS) for name, seconds in best.items()}
    correlation = float(np.corrcoef(first.ravel(), second.ravel())[0, 1])
    return {"model": model, "precision": precision, "images": count, **found, "correlation": correlation}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--precisions", nargs="+", choices=["float32", "bfloat16"], default=["float32", "bfloat16"])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    reuse_freed_memory()
    print(json.dumps(hardware()))
    for model in options.models:
        for precision in options.precisions:
            print(json.dumps(measure(model, precision, options.rounds)), flush=True)


if __name__ == "__main__":
    main()
