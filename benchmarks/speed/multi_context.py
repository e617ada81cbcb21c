"""How much of multi-context saliency is its networks' alone: ``python -m benchmarks.speed.multi_context``.

The method on photographs that scikit-image ships, against the bare passes of the same two networks over as many windows
that lie there already, in turn; this process's own time on one thread. New heads are as good as taught ones: their
answers decide only how many superpixels the second network looks at, which is counted.
"""

import argparse
import json
import time
from collections.abc import Callable

import numpy as np
import skimage.data
import torch

from benchmarks.speed.timing import hardware, in_turn
from saliency_core import load_classifier, place
from saliency_core.imaging.resizing import resize_longest_side, squash
from saliency_core.methods.multi_context import WINDOWS_A_PASS, multi_context
from saliency_core.methods.window_network import (
    ContextNetworks,
    MultiContext,
    load_multi_context,
    multi_context_weights,
    new_window_network,
)
from saliency_core.methods.windows import MAP_SIDE, image_side
from saliency_core.networks.classifier import Classifier
from saliency_core.superpixels.regions import Regions
from saliency_core.superpixels.statistics import slic_superpixels


def untaught(name: str, weights: str, input_size: int | None = None) -> MultiContext:
    """Return a pair with a network's weights and new heads."""
    networks = []
    for with_map in (False, True):
        classifier = load_classifier(name, weights, input_size=input_size)
        networks.append(new_window_network(classifier, with_map))
    return load_multi_context(name, multi_context_weights(name, classifier.preprocessing, ContextNetworks(*networks)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="squeezenet1_1")
    parser.add_argument("--weights", default="random")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    classifier = place(untaught(options.model, options.weights), "cpu", options.precision)
    size = classifier.preprocessing.input_size
    pictures = [resize_longest_side(picture, 400) for picture in (skimage.data.coffee(), skimage.data.chelsea())]
    regions = [Regions.of(slic_superpixels(picture)) for picture in pictures]
    images = np.stack([squash(picture, image_side(size)) for picture in pictures])
    passes = _counted(classifier, lambda: multi_context(classifier, images, regions))
    windows = torch.randn(WINDOWS_A_PASS["cpu"], 3, size, size).contiguous(memory_format=torch.channels_last)
    maps = torch.rand(WINDOWS_A_PASS["cpu"], MAP_SIDE, MAP_SIDE)

    def bare() -> None:
        with torch.inference_mode():
            for count, with_map in passes:
                classifier.network(windows[:count], *([maps[:count]] if with_map else []))

    found = in_turn(
        {"the method": lambda: multi_context(classifier, images, regions), "the bare passes": bare},
        options.rounds,
        time.process_time,
    )
    print(json.dumps(hardware()["processor"]), options.model, options.precision)
    each = [sum(count for count, with_map in passes if with_map == kind) / len(images) for kind in (False, True)]
    print(f"{each[0]:.0f} global and {each[1]:.0f} local windows an image")
    for name, seconds in found.items():
        print(f"{name:16s} {seconds / len(images):.3f} s an image")
    print(f"the networks' share: {found['the bare passes'] / found['the method']:.3f}")


def _counted(classifier: Classifier, run: Callable[[], object]) -> list[tuple[int, bool]]:
    """Return the windows of every pass of a run, and whether it is one of the second network."""
    passes: list[tuple[int, bool]] = []

    def note(_: torch.nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        passes.append((len(given[0]), len(given) > 1))

    handle = classifier.network.register_forward_pre_hook(note)
    try:
        run()
    finally:
        handle.remove()
    return passes


if __name__ == "__main__":
    main()
