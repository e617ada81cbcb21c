"""The gradient of one logit (Simonyan, Vedaldi & Zisserman), the method that the erasure extends."""

import numpy as np
import torch
from numpy.typing import NDArray

from saliency_core.methods.attribution import Attribution
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
from saliency_core.parameters import ONE_VIEW, ViewParameters


def input_gradient(
    classifier: Classifier,
    images: NDArray[np.uint8],
    labels: NDArray[np.integer] | None = None,
    views: ViewParameters = ONE_VIEW,
) -> Attribution:
    """Compute the largest absolute gradient over the colour channels, one backward pass.

    Gradients are taken by pixels in common units, parts of the range 0..1: by the network's normalised input, which
    channel is the largest would depend on the deviations that the channels were divided by.

    Parameters
    ----------
    classifier : Classifier
    images : uint8 array (B, S, S, 3)
        sRGB images, squashed to the classifier's input size.
    labels : integer array (B,), optional
        Class of each image; -1 (and the default) stands for the class of the largest logit.
    views : ViewParameters

    Returns
    -------
    Attribution
        Nothing is modified here: `logit_after` equals `logit_before` and `drift` is 0.

    References
    ----------
    Simonyan, Vedaldi, Zisserman, "Deep Inside Convolutional Networks", arXiv 1312.6034, section 3.1:
    ``M = max over channels |d a_l / dX|`` on the unnormalised class score.
    """
    return _in_views(classifier, pixels_of_images(classifier, images), labels, views).arrays()


def input_gradient_tensor(
    classifier: Classifier, pixels: torch.Tensor, labels: Labels = None, views: ViewParameters = ViewParameters()
) -> TensorAttribution:
    """Do what `input_gradient` does from tensors to tensors.

    Parameters
    ----------
    classifier : Classifier
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
    def explain(view: torch.Tensor, given: torch.Tensor | None, depths: Depths, first: Pass | None) -> Pass:
        current = view.detach().requires_grad_(True)
        logits = depths.forward(current)
        values = logits.detach().float()
        target = target_labels(values, given) if first is None else first.target
        chosen = torch.zeros_like(values).scatter_(1, target[:, None], 1.0)
        gradient = depths.gradient(logits, current, chosen)
        # The network's input is a pixel divided by std: so is the derivative by a pixel.
        raw = (gradient.abs().float() / per_channel(classifier.preprocessing.std, view)).amax(dim=1)
        return Pass(raw, target, chosen, values, values.clone(), depths.evidence, depths.activations)

    return attribute_views(classifier, pixels, labels, views, explain)
