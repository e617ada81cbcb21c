"""A student's map: one forward pass of a network that was taught by another method's maps."""

import dataclasses

import numpy as np
import torch
from numpy.typing import NDArray

from saliency_core.errors import ArgumentError
from saliency_core.methods.attribution import Attribution
from saliency_core.methods.depths import depths_of, feature_depths, on_grid
from saliency_core.methods.network_pass import (
    Labels,
    TensorAttribution,
    checked_pixels,
    pixels_of_images,
    target_labels,
)
from saliency_core.methods.views import Depths, Pass, attribute_views
from saliency_core.networks.classifier import Classifier
from saliency_core.networks.saliency_head import SaliencyHead, Student
from saliency_core.parameters import ViewParameters


def student_map(
    classifier: Classifier,
    images: NDArray[np.uint8],
    labels: NDArray[np.integer] | None = None,
    views: ViewParameters = ViewParameters(),
) -> Attribution:
    """Compute a student's maps of a batch of images, one forward pass a view.

    Parameters
    ----------
    classifier : Student
        Its network may lie on any device; the work happens there.
    images : uint8 array (B, S, S, 3)
        sRGB images, squashed to the classifier's input size.
    labels : integer array (B,), optional
        Classes that are written down; -1 (and the default) stands for the class of the largest logit. The map does not
        depend on them.
    views : ViewParameters
        The network is read at its depths whatever they say.

    Returns
    -------
    Attribution
        Its raw map is the head's, in [0, 1]. Nothing is erased: `logit_after` equals `logit_before` and `drift` is 0.

    Raises
    ------
    ArgumentError
        If the classifier is no student.
    """
    return _in_views(classifier, pixels_of_images(classifier, images), labels, views).arrays()


def student_map_tensor(
    classifier: Classifier, pixels: torch.Tensor, labels: Labels = None, views: ViewParameters = ViewParameters()
) -> TensorAttribution:
    """Do what `student_map` does from tensors to tensors.

    Parameters
    ----------
    classifier : Student
    pixels : float tensor (B, 3, S, S)
        sRGB images, values 0..1, not normalised, on any device. No gradient flows back to them.
    labels : integer tensor or array (B,), optional
    views : ViewParameters

    Returns
    -------
    TensorAttribution
        On the device of `pixels`.
    """
    return _in_views(classifier, checked_pixels(classifier, pixels), labels, views).to(pixels.device)


def _in_views(classifier: Classifier, pixels: torch.Tensor, labels: Labels, views: ViewParameters) -> TensorAttribution:
    if not isinstance(classifier, Student):
        raise ArgumentError("the method student needs a network that was taught to give maps: see jobs.distil")
    head = classifier.head.to(device=classifier.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def explain(view: torch.Tensor, given: torch.Tensor | None, depths: Depths, first: Pass | None) -> Pass:
        with torch.no_grad():
            values = depths.forward(view).float()
            map_ = read_map(head, depths).float().sigmoid()
        target = target_labels(values, given) if first is None else first.target
        shares = torch.zeros_like(values)
        return Pass(map_, target, shares, values, values.clone(), [], depths.activations)

    return attribute_views(classifier, pixels, labels, dataclasses.replace(views, depths=True), explain)


def read_map(head: torch.nn.Module, depths: Depths) -> torch.Tensor:
    """Return the logits (B, h, w) of a head's map from the last forward pass, computed in the network's precision."""
    layers = []
    for values, place in zip(depths.activations, depths.places, strict=True):
        grid = on_grid(values, place)
        layers.append(grid.clamp_min(0.0) if place.rectified else grid)
    kind = layers[0].dtype
    with torch.autocast(layers[0].device.type, kind, enabled=kind != torch.float32):
        found: torch.Tensor = head(layers)
    return found


def new_head(classifier: Classifier, seed: int = 0) -> SaliencyHead:
    """Make a head for a classifier's depths, with random weights; its map has the grid of the fine features.

    Raises
    ------
    ArgumentError
        If the network has no depths that a map could be read off.
    """
    places = depths_of(classifier)
    size = classifier.preprocessing.input_size
    if not places:
        raise ArgumentError(
            f"{classifier.name} has no layers in which an image keeps its shape: choose another network"
        )
    depths = Depths(classifier.network, places)
    with torch.no_grad():
        depths.forward(torch.zeros(1, 3, size, size, device=classifier.device))
    channels = [on_grid(values, place).shape[1] for values, place in zip(depths.activations, places, strict=True)]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return SaliencyHead(channels, places[feature_depths(places, size)[0]].side)
