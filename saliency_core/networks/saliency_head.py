"""A small head that reads a saliency map off a network's layers, and the network that carries one: a student."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F  # noqa: N812 -- as in torch's own documentation
from torch import nn

from saliency_core.errors import ClassifierError
from saliency_core.networks.classifier import Classifier, load_classifier
from saliency_core.networks.metadata import classifier_metadata
from saliency_core.networks.options import Scores
from saliency_core.networks.weights import StateDict, Weights, weights_checksum

WIDTH = 96
"""Channels of the head's own layers."""

_SHAPE = "saliency_head"
"""The key of a weights file's metadata that says it is a student's, and what its head is like."""


class SaliencyHead(nn.Module):
    """From activations at several depths to one map on a grid.

    The activations of each depth are brought to unit length over the channels, times the square root of their number,
    and to the grid; then come a 1x1 convolution over all of them, a depthwise 5x5 one, 1x1, depthwise 5x5 dilated by
    2, 1x1, and 1x1 to one logit, with ReLUs between.

    Parameters
    ----------
    channels : sequence of int
        Of each depth.
    grid : int
        Cells a side of the map.
    width : int
        Channels between.

    Examples
    --------
    >>> head = SaliencyHead([8, 16], grid=6)
    >>> head([torch.rand(2, 8, 12, 12), torch.rand(2, 16, 3, 3)]).shape
    torch.Size([2, 6, 6])
    """

    def __init__(self, channels: Sequence[int], grid: int, width: int = WIDTH) -> None:
        super().__init__()
        self.channels, self.grid, self.width = tuple(channels), grid, width
        # The first convolution, depth by depth: on its own grid it is the same, and cheaper where that is coarse.
        whole = nn.Conv2d(sum(channels), width, 1)
        self.bias = nn.Parameter(whole.bias.detach().clone())  # type: ignore[union-attr]
        self.weights = nn.ParameterList([part.clone() for part in whole.weight.detach().split(self.channels, dim=1)])
        self.layers = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(width, width, 5, padding=2, groups=width),
            nn.ReLU(),
            nn.Conv2d(width, width, 1),
            nn.ReLU(),
            nn.Conv2d(width, width, 5, padding=4, dilation=2, groups=width),
            nn.ReLU(),
            nn.Conv2d(width, width, 1),
            nn.ReLU(),
            nn.Conv2d(width, 1, 1),
        )

    def forward(self, activations: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return the logits (B, grid, grid) of the map from activations (B, C, h, w), one a depth."""
        found = self.bias.view(1, -1, 1, 1)
        for values, weight in zip(activations, self.weights, strict=True):
            units = F.normalize(values, dim=1, eps=1e-6) * values.shape[1] ** 0.5
            if values.shape[2] > self.grid:
                found = found + F.conv2d(F.adaptive_avg_pool2d(units, self.grid), weight)
            else:
                found = found + _enlarged(F.conv2d(units, weight), self.grid)
        logits: torch.Tensor = self.layers(found)
        return logits[:, 0]

    @property
    def shape(self) -> str:
        """What `SaliencyHead` is made with, as JSON."""
        return json.dumps({"channels": self.channels, "grid": self.grid, "width": self.width})


def _enlarged(values: torch.Tensor, side: int) -> torch.Tensor:
    if values.shape[2] == side:
        return values
    return F.interpolate(values, size=(side, side), mode="bilinear", align_corners=False)


@dataclass(frozen=True, eq=False, kw_only=True)
class Student(Classifier):
    """A frozen classifier with a head that was taught to give the map.

    Parameters
    ----------
    head : SaliencyHead
        Is moved to the network's device when it is used.
    """

    head: SaliencyHead = field(repr=False)


def is_student(metadata: Mapping[str, str]) -> bool:
    """Say whether a weights file is a student's, from its metadata."""
    return _SHAPE in metadata


def student_weights(classifier: Classifier, head: SaliencyHead) -> Weights:
    """Return all tensors of a student, with the metadata of its file."""
    tensors = {f"network.{key}": value for key, value in classifier.network.state_dict().items()}
    tensors |= {f"head.{key}": value for key, value in head.state_dict().items()}
    metadata = classifier_metadata(classifier.name, classifier.class_names, classifier.preprocessing)
    return Weights(tensors, {**metadata, _SHAPE: head.shape})


def load_student(name: str, weights: Weights, *, input_size: int | None = None, scores: Scores = "logits") -> Student:
    """Build a student from its file's content.

    Parameters
    ----------
    name : str
        Of the architecture, as for `load_classifier`.
    weights : Weights
        As `student_weights` made them.
    input_size, scores
        As for `load_classifier`; the head was taught at the size that the file says.

    Raises
    ------
    ClassifierError
        If they are no student's, or are damaged.
    """
    if not is_student(weights.metadata):
        raise ClassifierError("this network was not taught to give maps: give a model that jobs.distil left")
    network = Weights(_part(weights.tensors, "network."), weights.metadata)
    classifier = load_classifier(name, network, input_size=input_size, scores=scores)
    try:
        head = SaliencyHead(**json.loads(weights.metadata[_SHAPE]))
        head.load_state_dict(dict(_part(weights.tensors, "head.")))
    except (TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ClassifierError(f"the head of the student cannot be read: {reason}") from error
    head.eval().requires_grad_(False)
    return Student(
        **(vars(classifier) | {"weights_sha256": weights_checksum(weights.tensors)}),
        head=head,
    )


def _part(tensors: StateDict, prefix: str) -> StateDict:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
