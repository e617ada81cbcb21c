"""What all methods that ask a network share: its input, the labels, and gradients that its numbers can hold."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from saliency_core.errors import ArgumentError
from saliency_core.methods.attribution import NO_LABEL, Attribution, Features
from saliency_core.networks.classifier import Classifier
from saliency_core.networks.precision import arithmetic_of

Labels = NDArray[np.integer[Any]] | torch.Tensor | None

FLOAT16_SCALE = 1024.0
"""float16 has no numbers below 6e-8, and input gradients are that small: they are carried this much larger."""


@dataclass(frozen=True, eq=False)
class TensorFeatures:
    """Unit-length activations of one layer on a grid, as `Features`.

    Parameters
    ----------
    codes : uint8 tensor (B, h, w, C)
    scale : float32 tensor (B, 2)
    """

    codes: torch.Tensor
    scale: torch.Tensor


@dataclass(frozen=True, eq=False)
class TensorAttribution:
    """What a pass through the network says about a batch of B images, as tensors on one device.

    Parameters
    ----------
    raw : float32 tensor (B, S, S)
    label : int64 tensor (B,)
    probability, logit_before, logit_after, drift : float32 tensors (B,)
    evidence : tuple of float16 tensors (B, h, w)
    features : tuple of TensorFeatures
        All as in `Attribution`.
    """

    raw: torch.Tensor
    label: torch.Tensor
    probability: torch.Tensor
    logit_before: torch.Tensor
    logit_after: torch.Tensor
    drift: torch.Tensor
    evidence: tuple[torch.Tensor, ...] = ()
    features: tuple[TensorFeatures, ...] = ()

    def to(self, device: torch.device) -> "TensorAttribution":
        """Return the same on a device."""
        return _changed(lambda value, _: value.to(device), self, self)

    def arrays(self) -> Attribution:
        """Return the same as arrays."""
        return Attribution(
            **{name: getattr(self, name).cpu().numpy() for name in _PER_IMAGE},
            evidence=tuple(layer.cpu().numpy() for layer in self.evidence),
            features=tuple(Features(layer.codes.cpu().numpy(), layer.scale.cpu().numpy()) for layer in self.features),
        )


_PER_IMAGE = ("raw", "label", "probability", "logit_before", "logit_after", "drift")


def _changed(
    change: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], one: TensorAttribution, other: TensorAttribution
) -> TensorAttribution:
    """Apply a function to all pairs of tensors of two attributions."""
    return TensorAttribution(
        **{name: change(getattr(one, name), getattr(other, name)) for name in _PER_IMAGE},
        evidence=tuple(change(a, b) for a, b in zip(one.evidence, other.evidence, strict=True)),
        features=tuple(
            TensorFeatures(change(a.codes, b.codes), change(a.scale, b.scale))
            for a, b in zip(one.features, other.features, strict=True)
        ),
    )


Compute = Callable[[torch.Tensor, float], TensorAttribution]
"""From normalised images (B, 3, S, S) and the factor by which gradients are carried to what is said about them."""


def attribute(classifier: Classifier, pixels: torch.Tensor, compute: Compute) -> TensorAttribution:
    """Run a method where gradients are on, in the classifier's arithmetic, and with a gradient scale that fits.

    In float16 an image whose map overflows is done again with half the scale, and so on down to 1. The others keep
    what they had: no image's result depends on its neighbours.

    Parameters
    ----------
    classifier : Classifier
    pixels : float32 tensor (B, 3, S, S)
        Values 0..1, on the classifier's device.
    compute : callable

    Returns
    -------
    TensorAttribution
        On the classifier's device.
    """
    # Not inference_mode: the input's gradient is what this is about.
    with torch.inference_mode(False), torch.enable_grad(), arithmetic_of(classifier.precision):
        original = normalised(classifier, pixels.detach())
        scale = FLOAT16_SCALE if classifier.precision == "float16" else 1.0
        found = compute(original, scale)
        while scale > 1.0 and bool((overflown := _overflown(found)).any()):
            scale /= 2
            found = _replaced(found, compute(original, scale), overflown)
    return found


def _overflown(found: TensorAttribution) -> torch.Tensor:
    """Say of every image (B,) whether its logits are finite and what was made of their gradients is not."""
    sound = found.logit_after.isfinite() & found.drift.isfinite()
    for values in (found.raw, *found.evidence):
        sound &= values.isfinite().flatten(1).all(dim=1)
    return found.logit_before.isfinite() & ~sound


def _replaced(old: TensorAttribution, new: TensorAttribution, where: torch.Tensor) -> TensorAttribution:
    return _changed(lambda a, b: torch.where(where.view(-1, *[1] * (a.ndim - 1)), b, a), old, new)


def pixels_of_images(classifier: Classifier, images: NDArray[np.uint8], side: int | None = None) -> torch.Tensor:
    """Bring images to the classifier's device.

    Parameters
    ----------
    classifier : Classifier
    images : uint8 array (B, S, S, 3)
    side : int, optional
        S. Default: the classifier's input size.

    Returns
    -------
    float32 tensor (B, 3, S, S)
        Values 0..1.

    Raises
    ------
    ArgumentError
        If `images` is anything else.
    """
    if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8:
        raise ArgumentError(f"images must be uint8 of shape (B, S, S, 3), not {images.dtype} {images.shape}")
    size = classifier.preprocessing.input_size if side is None else side
    if images.shape[1:3] != (size, size):
        what = "the classifier's input size" if side is None else "the size that the method wants"
        raise ArgumentError(f"images must have {what}, {size} x {size}, not {images.shape[1:3]}")
    # Bytes travel, floats do not; the permuted view is what torch calls channels_last.
    pixels = torch.from_numpy(np.require(images, requirements=["C", "W"]))
    on_gpu = classifier.device.type == "cuda"
    pixels = pixels.pin_memory().to(classifier.device, non_blocking=True) if on_gpu else pixels.to(classifier.device)
    return pixels.permute(0, 3, 1, 2).float() / 255.0


def normalised(classifier: Classifier, pixels: torch.Tensor) -> torch.Tensor:
    """Bring pixels (B, 3, S, S) in 0..1 to the units of the network's input."""
    mean, std = (per_channel(of, pixels) for of in (classifier.preprocessing.mean, classifier.preprocessing.std))
    return (pixels - mean) / std


def checked_pixels(classifier: Classifier, pixels: torch.Tensor) -> torch.Tensor:
    """Bring the pixels of a caller to the classifier's device, in float32 and apart from the caller's gradients.

    Parameters
    ----------
    classifier : Classifier
    pixels : float tensor (B, 3, S, S)
        Values 0..1, on any device.

    Raises
    ------
    ArgumentError
        If `pixels` is anything else, or not of the classifier's input size.
    """
    size = classifier.preprocessing.input_size
    if not pixels.is_floating_point() or pixels.ndim != 4 or tuple(pixels.shape[1:]) != (3, size, size):
        raise ArgumentError(
            f"pixels must be a float tensor (B, 3, {size}, {size}), not {pixels.dtype} {tuple(pixels.shape)}"
        )
    pixels = pixels.detach()
    if len(pixels) and not bool(((pixels >= 0) & (pixels <= 1)).all()):
        raise ArgumentError("the values of pixels must lie in 0..1: divide 8-bit values by 255, and do not normalise")
    return pixels.to(classifier.device, torch.float32).contiguous(memory_format=torch.channels_last)


def labels_on(device: torch.device, labels: Labels) -> torch.Tensor | None:
    """Bring labels to a device.

    Raises
    ------
    ArgumentError
        If they are no whole numbers.
    """
    if labels is None:
        return None
    given = labels.detach() if isinstance(labels, torch.Tensor) else torch.tensor(np.asarray(labels))
    if given.is_floating_point() or given.is_complex() or given.dtype == torch.bool:
        raise ArgumentError(f"labels must be whole numbers, not {given.dtype}")
    return given.to(device, torch.int64)


def target_labels(logits: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
    """Take the given labels (B,), and the class of the largest logit where -1 or nothing is given."""
    recognised = logits.argmax(dim=1)
    if labels is None:
        return recognised
    if labels.shape != recognised.shape:
        raise ArgumentError(f"{len(recognised)} images need as many labels, not {tuple(labels.shape)}")
    if bool(((labels < NO_LABEL) | (labels >= logits.shape[1])).any()):
        raise ArgumentError(f"labels must be -1 or lie in 0..{logits.shape[1] - 1}, the network's classes")
    return torch.where(labels == NO_LABEL, recognised, labels)


def per_channel(values: tuple[float, float, float], like: torch.Tensor) -> torch.Tensor:
    """Return three numbers as a tensor that fits images (B, 3, S, S)."""
    return torch.tensor(values, dtype=like.dtype, device=like.device).view(1, 3, 1, 1)
