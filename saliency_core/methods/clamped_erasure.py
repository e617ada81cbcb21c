"""Clamped backprop erasure: lower the recognised class's logit, clamp all others (Eq. 1-3, Algorithm 1)."""

import numpy as np
import torch
from numpy.typing import NDArray

from saliency_core.methods.attribution import NO_LABEL, Attribution
from saliency_core.methods.network_pass import (
    Labels,
    TensorAttribution,
    checked_pixels,
    per_channel,
    pixels_of_images,
    target_labels,
)
from saliency_core.methods.views import Depths, Pass, attribute_views
from saliency_core.networks.classifier import Classifier
from saliency_core.parameters import ONE_VIEW, ErasureParameters, ViewParameters


def erase(
    classifier: Classifier,
    images: NDArray[np.uint8],
    labels: NDArray[np.integer] | None = None,
    parameters: ErasureParameters = ErasureParameters(),
    views: ViewParameters = ONE_VIEW,
) -> Attribution:
    """Erase the recognised object from a batch of images and say what had to change.

    Parameters
    ----------
    classifier : Classifier
        Its network may lie on any device; the work happens there.
    images : uint8 array (B, S, S, 3)
        sRGB images, squashed to the classifier's input size.
    labels : integer array (B,), optional
        Class to erase for each image; -1 (and the default) stands for the class of the largest logit.
    parameters : ErasureParameters
    views : ViewParameters

    Returns
    -------
    Attribution
        Its raw map is X(0) - X(T), averaged over R, G and B in common pixel units (parts of the range 0..1).

    Raises
    ------
    ArgumentError
        If the images cannot be used, or a label is not a class of the network.

    Notes
    -----
    Exactly T forward and T backward passes a view; the pass that recognises the label is the first of them. X is not
    clipped to the range of pixel values: black pixels must be able to change as well.

    References
    ----------
    Pan & Jiang, arXiv 1602.00577, Eq. 1-3 and Algorithm 1.

    Examples
    --------
    >>> from saliency_core.networks.classifier import load_classifier
    >>> classifier = load_classifier("squeezenet1_1", "random", num_classes=5, input_size=64)
    >>> images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    >>> result = erase(classifier, images, parameters=ErasureParameters(iterations=2))
    >>> result.raw.shape, bool((result.raw >= 0).all())
    ((2, 64, 64), True)
    """
    return _in_views(classifier, pixels_of_images(classifier, images), labels, parameters, views).arrays()


def erase_tensor(
    classifier: Classifier,
    pixels: torch.Tensor,
    labels: Labels = None,
    parameters: ErasureParameters = ErasureParameters(),
    views: ViewParameters = ViewParameters(),
) -> TensorAttribution:
    """Do what `erase` does from tensors to tensors.

    Parameters
    ----------
    classifier : Classifier
    pixels : float tensor (B, 3, S, S)
        sRGB images, values 0..1, not normalised, on any device. No gradient flows back to them.
    labels : integer tensor or array (B,), optional
    parameters : ErasureParameters
    views : ViewParameters

    Returns
    -------
    TensorAttribution
        On the device of `pixels`.

    Raises
    ------
    ArgumentError
        If the pixels or a label cannot be used.
    """
    checked = checked_pixels(classifier, pixels)
    return _in_views(classifier, checked, labels, parameters, views).to(pixels.device)


def _in_views(
    classifier: Classifier, pixels: torch.Tensor, labels: Labels, parameters: ErasureParameters, views: ViewParameters
) -> TensorAttribution:
    def explain(view: torch.Tensor, given: torch.Tensor | None, depths: Depths, first: Pass | None) -> Pass:
        return _erase(classifier, view, given, parameters, depths, first)

    return attribute_views(classifier, pixels, labels, views, explain)


def _erase(
    classifier: Classifier,
    original: torch.Tensor,
    labels: torch.Tensor | None,
    parameters: ErasureParameters,
    depths: Depths,
    first: Pass | None,
) -> Pass:
    # Summed apart from X: X(0) - X(T) would lose the digits of S that are small beside X.
    change = torch.zeros_like(original)
    for step in range(parameters.iterations):
        current = (original - change).requires_grad_(True)
        logits = depths.forward(current)
        values = logits.detach().float()
        if step == 0:
            before = values.clone()  # a CUDA graph writes the next logits to the same place
            target = target_labels(before, labels) if first is None else first.target
            shares = _shares(before, target, labels, parameters.erased_classes) if first is None else first.shares
        error = torch.where(shares > 0, shares, 2.0 * parameters.gamma * (values - before))
        gradient = depths.gradient(logits, current, error)
        change += parameters.epsilon * gradient.clamp_min(0.0)
    change *= per_channel(classifier.preprocessing.std, original)
    return Pass(change.mean(dim=1), target, shares, before, values, depths.evidence, depths.activations)


def _shares(logits: torch.Tensor, target: torch.Tensor, labels: torch.Tensor | None, count: int) -> torch.Tensor:
    """Return the share (B, N) of every class in what is erased: of the mean of the largest logits, or of one label."""
    alone = torch.zeros_like(logits).scatter_(1, target[:, None], 1.0)
    count = min(count, logits.shape[1])
    if count == 1:
        return alone
    largest = logits.topk(count, dim=1).indices
    several = torch.zeros_like(logits).scatter_(1, largest, 1.0 / count)
    return several if labels is None else torch.where((labels == NO_LABEL)[:, None], several, alone)
