"""What a collection of networks offers, and the shapes of a network's tensors."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from saliency_core.networks.preprocessing import Preprocessing


@dataclass(frozen=True)
class Zoo:
    """A collection of classification networks, each with a name.

    Parameters
    ----------
    check_name : callable
        Raises ClassifierError, with what to do, unless there is a network of that name.
    build : callable
        ``(name, number of classes) -> network`` with random weights, in training mode.
    pretrained : callable
        ``name -> (network, where its weights come from)`` with the collection's own weights; ClassifierError where
        there are none or they cannot be had.
    preprocessing : callable
        ``name -> Preprocessing`` of its own weights.
    pretrained_classes : callable
        ``name -> number of classes`` of its own weights; None where there are none.
    without_extras : callable
        ``(name, tensors) -> tensors`` without those of a file that serve training only.
    """

    check_name: Callable[[str], None]
    build: Callable[[str, int], nn.Module]
    pretrained: Callable[[str], tuple[nn.Module, str]]
    preprocessing: Callable[[str], Preprocessing]
    pretrained_classes: Callable[[str], int | None]
    without_extras: Callable[[str, Mapping[str, torch.Tensor]], dict[str, torch.Tensor]] = lambda _, tensors: dict(
        tensors
    )
