"""The gradient of one logit (Simonyan, Vedaldi & Zisserman), the method that the erasure extends."""

import numpy as np
import torch
from numpy.typing import NDArray

from saliency_core.methods.attribution import Attribution
from saliency_core.methods.views import Depths, Pass, attribute_views, target_labels
from saliency_core.networks.classifier import Classifier
from saliency_core.parameters import ViewParameters


def input_gradient(
    classifier: Classifier,
    images: NDArray[np.uint8],
    labels: NDArray[np.integer] | None = None,
    views: ViewParameters = ViewParameters(),
) -> Attribution:
    """Compute the largest absolute gradient over the colour channels, one backward pass.

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

    def explain(view: torch.Tensor, given: torch.Tensor | None, depths: Depths, first: Pass | None) -> Pass:
        current = view.detach().requires_grad_(True)
        logits = depths.forward(current)
        values = logits.detach().float()
        target = target_labels(values, given) if first is None else first.target
        chosen = torch.zeros_like(logits).scatter_(1, target[:, None], 1.0)
        gradient = depths.gradient(logits, current, chosen)
        raw = gradient.abs().amax(dim=1).float()
        return Pass(raw, target, chosen, values, values.clone(), depths.evidence, depths.activations)

    return attribute_views(classifier, images, labels, views, explain)
