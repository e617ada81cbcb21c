"""A network for classes of its own: the last layer replaced, all others kept."""

from collections.abc import Sequence
from functools import cache

import torch

from saliency_core.errors import ClassifierError
from saliency_core.networks.architectures import build_network, check_network_name, tensor_shapes
from saliency_core.networks.classifier import Classifier, load_classifier
from saliency_core.networks.options import PRETRAINED, RANDOM
from saliency_core.networks.weights import Weights, weights_checksum


@cache
def head_tensors(name: str) -> frozenset[str]:
    """Return the names of the tensors of a network whose length is the number of classes: its last layer.

    Examples
    --------
    >>> sorted(head_tensors("vgg16"))
    ['classifier.6.bias', 'classifier.6.weight']
    """
    few, many = tensor_shapes(name, 11), tensor_shapes(name, 13)
    return frozenset(key for key, shape in few.items() if shape != many[key])


def classifier_with_classes(
    name: str,
    weights: str | Weights = PRETRAINED,
    *,
    class_names: Sequence[str],
    input_size: int | None = None,
    seed: int = 0,
) -> Classifier:
    """Build the classifier from which fine-tuning starts.

    Parameters
    ----------
    name : str
        As for `saliency_core.networks.classifier.load_classifier`.
    weights : str or Weights
        As for `saliency_core.networks.classifier.load_classifier`. ``"random"`` makes all layers anew.
    class_names : sequence of str
        The N classes to learn. Where the weights know all of these names, the last layer is taken from them, class
        by class; else a new one is made.
    input_size : int, optional
        Side of the square input. Default: as the weights were trained.
    seed : int
        Of all tensors that are made anew.

    Returns
    -------
    Classifier
        Its network is not frozen, and in training mode.

    Raises
    ------
    ClassifierError
        If the network has no last layer that can be replaced, or as for `load_classifier`.
    """
    check_network_name(name)
    if len(class_names) < 2:
        raise ClassifierError(f"a classifier needs at least 2 classes to tell apart, not {len(class_names)}")
    head = head_tensors(name)
    if not head:
        raise ClassifierError(f"{name} has no last layer for classes of one's own: choose another network")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build_network(name, len(class_names))
    source = RANDOM
    if weights == RANDOM:
        like = load_classifier(name, RANDOM, class_names=class_names, input_size=input_size)
    else:
        like = load_classifier(name, weights, input_size=input_size)
        source = like.weights_source
        tensors = like.network.state_dict()
        places = {known: index for index, known in enumerate(like.class_names)}
        rows = [places[wanted] for wanted in class_names if wanted in places]
        with torch.no_grad():
            for key, value in network.state_dict().items():
                if key not in head:
                    value.copy_(tensors[key])
                elif len(rows) == len(class_names):
                    value.copy_(tensors[key][rows])
    return Classifier(
        name=name,
        network=network,
        preprocessing=like.preprocessing,
        class_names=tuple(class_names),
        weights_source=source,
        weights_sha256=weights_checksum(network.state_dict()),
    )
