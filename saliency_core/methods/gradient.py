"""The gradient of one logit (Simonyan, Vedaldi & Zisserman), the method that the erasure extends."""

import numpy as np
import torch
from numpy.typing import NDArray

from saliency_core.methods.attribution import Attribution
from saliency_core.methods.clamped_erasure import normalised_input, target_labels
from saliency_core.networks.classifier import Classifier


def input_gradient(
    classifier: Classifier, images: NDArray[np.uint8], labels: NDArray[np.integer] | None = None
) -> Attribution:
    """Compute the largest absolute gradient over the colour channels, one backward pass.

    Parameters
    ----------
    classifier : Classifier
    images : uint8 array (B, S, S, 3)
        sRGB images, squashed to the classifier's input size.
    labels : integer array (B,), optional
        Class of each image; -1 (and the default) stands for the class of the largest logit.

    Returns
    -------
    Attribution
        Nothing is modified here: `logit_after` equals `logit_before` and `drift` is 0.

    References
    ----------
    Simonyan, Vedaldi, Zisserman, "Deep Inside Convolutional Networks", arXiv 1312.6034, section 3.1:
    ``M = max over channels |d a_l / dX|`` on the unnormalised class score.
    """
    # Also the input is made outside inference mode: autograd refuses tensors that were made inside.
    with torch.inference_mode(False), torch.enable_grad():
        current = normalised_input(classifier, images).requires_grad_(True)
        logits = classifier.network(current)
        values = logits.detach().float()
        target = target_labels(values, labels)
        chosen = torch.zeros_like(logits).scatter_(1, target[:, None], 1.0)
        (gradient,) = torch.autograd.grad(logits, current, grad_outputs=chosen)
    rows = torch.arange(len(target), device=target.device)
    score = values[rows, target].cpu().numpy()
    return Attribution(
        raw=gradient.abs().amax(dim=1).float().cpu().numpy(),
        label=target.cpu().numpy(),
        probability=values.softmax(dim=1)[rows, target].cpu().numpy(),
        logit_before=score,
        logit_after=score.copy(),
        drift=np.zeros_like(score),
    )
