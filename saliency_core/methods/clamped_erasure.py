"""Clamped backprop erasure: lower the recognised class's logit, clamp all others (Eq. 1-3, Algorithm 1)."""

import numpy as np
import torch
from numpy.typing import NDArray

from saliency_core.methods.attribution import NO_LABEL, Attribution
from saliency_core.networks.classifier import Classifier
from saliency_core.parameters import ErasureParameters


def erase(
    classifier: Classifier,
    images: NDArray[np.uint8],
    labels: NDArray[np.integer] | None = None,
    parameters: ErasureParameters = ErasureParameters(),
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

    Returns
    -------
    Attribution
        Its raw map is X(0) - X(T), averaged over R, G and B in common pixel units (parts of the range 0..1).

    Raises
    ------
    ValueError
        If a label is not a class of the network.

    Notes
    -----
    Exactly T forward and T backward passes; the pass that recognises the label is the first of them. X is not
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
    original = normalised_input(classifier, images)
    # Not inference_mode: the input's gradient is what this is about.
    with torch.inference_mode(False), torch.enable_grad():
        # Summed apart from X: X(0) - X(T) would lose the digits of S that are small beside X.
        change = torch.zeros_like(original)
        for step in range(parameters.iterations):
            current = (original - change).requires_grad_(True)
            logits = classifier.network(current)
            values = logits.detach().float()
            if step == 0:
                before = values.clone()  # a CUDA graph writes the next logits to the same place
                target = target_labels(before, labels)
                rows = torch.arange(len(target), device=target.device)
            error = 2.0 * parameters.gamma * (values - before)
            error[rows, target] = 1.0
            (gradient,) = torch.autograd.grad(logits, current, grad_outputs=error.to(logits.dtype))
            change += parameters.epsilon * gradient.clamp_min(0.0)
    change *= _per_channel(classifier.preprocessing.std, original)
    others = values - before
    others[rows, target] = 0.0
    drift = (others.square().sum(dim=1) / max(values.shape[1] - 1, 1)).sqrt()
    return Attribution(
        raw=change.mean(dim=1).cpu().numpy(),
        label=target.cpu().numpy(),
        probability=before.softmax(dim=1)[rows, target].cpu().numpy(),
        logit_before=before[rows, target].cpu().numpy(),
        logit_after=values[rows, target].cpu().numpy(),
        drift=drift.cpu().numpy(),
    )


def normalised_input(classifier: Classifier, images: NDArray[np.uint8]) -> torch.Tensor:
    """Bring uint8 images (B, S, S, 3) to the network's device as normalised float32 (B, 3, S, S)."""
    if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8:
        raise ValueError(f"images must be uint8 of shape (B, S, S, 3), not {images.dtype} {images.shape}")
    device = next(classifier.network.parameters()).device
    # Bytes travel, floats do not; the permuted view is what torch calls channels_last.
    pixels = torch.from_numpy(np.require(images, requirements=["C", "W"]))
    pixels = pixels.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else pixels.to(device)
    values = pixels.permute(0, 3, 1, 2).float() / 255.0
    mean = _per_channel(classifier.preprocessing.mean, values)
    return (values - mean) / _per_channel(classifier.preprocessing.std, values)


def target_labels(logits: torch.Tensor, labels: NDArray[np.integer] | None) -> torch.Tensor:
    """Take the given labels (B,), and the class of the largest logit where -1 or nothing is given."""
    recognised = logits.argmax(dim=1)
    if labels is None:
        return recognised
    given = torch.tensor(np.asarray(labels), dtype=torch.int64, device=logits.device)
    if given.shape != recognised.shape:
        raise ValueError(f"{len(recognised)} images need as many labels, not {tuple(given.shape)}")
    if bool(((given < NO_LABEL) | (given >= logits.shape[1])).any()):
        raise ValueError(f"labels must be -1 or lie in 0..{logits.shape[1] - 1}, the network's classes")
    return torch.where(given == NO_LABEL, recognised, given)


def _per_channel(values: tuple[float, float, float], like: torch.Tensor) -> torch.Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device).view(1, 3, 1, 1)
