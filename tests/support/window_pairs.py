"""Pairs of networks for multi-context saliency: that nobody has taught, and the demonstration's."""

from pathlib import Path

import torch

from saliency_core import load_classifier
from saliency_core.methods.window_network import ContextNetworks, multi_context_weights, new_window_network
from saliency_core.networks.weights import Weights

TAUGHT = Path(__file__).parents[2] / "demo" / "multi_context.safetensors"
"""What `python -m demo.train_multi_context` made of drawn scenes, with the demonstration's network."""
TAUGHT_NETWORK = "demo.tiny_vgg:TinyVGG"


def untaught_pair(name: str = "squeezenet1_1", size: int = 64) -> Weights:
    """Return random networks whose answers have some contrast, as a file would hold them."""
    networks = []
    for with_map in (False, True):
        classifier = load_classifier(name, "random", num_classes=5, input_size=size)
        network = new_window_network(classifier, with_map, seed=4)
        with torch.no_grad():
            network.head.classes.weight.mul_(4)
        networks.append(network)
    return multi_context_weights(name, classifier.preprocessing, ContextNetworks(*networks))
