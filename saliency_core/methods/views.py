"""Several views of an image (sizes, mirror images), and several depths of the network, read as one attribution."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 -- as in torch's own documentation

from saliency_core.methods.depths import (
    Depth,
    DepthReader,
    depths_of,
    feature_depths,
    layer_evidence,
    packed,
    takes_size,
    unit_features,
)
from saliency_core.methods.network_pass import Labels, TensorAttribution, TensorFeatures, attribute, labels_on
from saliency_core.networks.classifier import Classifier
from saliency_core.parameters import ViewParameters


@dataclass(eq=False)
class Pass:
    """What a method finds in one view of a batch; tensors on the network's device.

    Parameters
    ----------
    raw : float32 Tensor (B, s, s)
    target : int64 Tensor (B,)
        The class explained.
    shares : float32 Tensor (B, N)
        Of every logit in what was explained: 1 for the target, or less for each of several classes.
    before, after : float32 Tensor (B, N)
        Logits on the view itself and at the last forward pass.
    evidence : list of float32 Tensor (B, h, w)
        Sums over the steps, one a depth.
    activations : list of Tensor
        At the depths, on the view itself.
    """

    raw: torch.Tensor
    target: torch.Tensor
    shares: torch.Tensor
    before: torch.Tensor
    after: torch.Tensor
    evidence: list[torch.Tensor]
    activations: list[torch.Tensor]


Explain = Callable[[torch.Tensor, torch.Tensor | None, "Depths", Pass | None], Pass]
"""A method's work on one view: normalised images (B, 3, s, s), labels (B,) on their device or None, the depths, and
what was found in the first view, whose classes are explained in the others, too."""


class Depths:
    """Reads a network at its depths while a method takes its gradients.

    Parameters
    ----------
    network : Module
    places : sequence of Depth
        May be empty.
    scale : float
        Factor by which gradients are carried through the network, so that its numbers can hold them.
    """

    def __init__(self, network: torch.nn.Module, places: Sequence[Depth], scale: float = 1.0) -> None:
        self.network = network
        self.places = places
        self.scale = scale
        self.evidence: list[torch.Tensor] = []
        self.activations: list[torch.Tensor] = []
        self._values: list[torch.Tensor] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits of images, and keep the values at the depths."""
        if not self.places:
            logits: torch.Tensor = self.network(images)
            return logits
        with DepthReader(self.network, self.places).reading() as values:
            logits = self.network(images)
        self._values = values
        if not self.activations:
            self.activations = [value.detach() for value in values]
        return logits

    def gradient(self, logits: torch.Tensor, images: torch.Tensor, error: torch.Tensor) -> torch.Tensor:
        """Return the gradient to the images of the last forward pass, and add up what it tells at the depths."""
        carried = (self.scale * error).to(logits.dtype)
        gradients = torch.autograd.grad(logits, [images, *self._values], grad_outputs=carried, allow_unused=True)
        found = [
            layer_evidence(value, torch.zeros_like(value) if gradient is None else gradient, place) / self.scale
            for value, gradient, place in zip(self._values, gradients[1:], self.places, strict=True)
        ]
        self.evidence = [a + b for a, b in zip(self.evidence, found, strict=True)] if self.evidence else found
        self._values = []
        return gradients[0] / self.scale


def attribute_views(
    classifier: Classifier, pixels: torch.Tensor, labels: Labels, views: ViewParameters, explain: Explain
) -> TensorAttribution:
    """Explain every view of a batch of images and put together what is found.

    Parameters
    ----------
    classifier : Classifier
    pixels : float32 tensor (B, 3, S, S)
        Values 0..1, on the classifier's device.
    labels : integer array or tensor (B,), optional
        Class to explain for each image; -1 (and the default) stands for the class of the largest logit of the first
        view, which then counts for all of them.
    views : ViewParameters
        A size that the network does not take is left out.
    explain : callable
        The method.

    Returns
    -------
    TensorAttribution
        On the classifier's device. Its raw map is the mean over the views; label, logits and drift are those of the
        first view.
    """
    places = depths_of(classifier) if views.depths else ()
    given = labels_on(classifier.device, labels)

    def compute(original: torch.Tensor, scale: float) -> TensorAttribution:
        return _explained(classifier, original, given, views, explain, places, scale)

    return attribute(classifier, pixels, compute)


def _explained(
    classifier: Classifier,
    original: torch.Tensor,
    given: torch.Tensor | None,
    views: ViewParameters,
    explain: Explain,
    places: Sequence[Depth],
    scale: float,
) -> TensorAttribution:
    first: Pass | None = None
    raw = torch.zeros_like(original[:, 0])
    evidence: list[torch.Tensor] = []
    for size, is_mirrored in views_of(classifier, views):
        view = original if size == original.shape[2] else _resized(original, size)
        view = view.flip(3) if is_mirrored else view
        found = explain(view, given, Depths(classifier.network, places, scale), first)
        if first is None:
            first = found
            evidence = [torch.zeros_like(values) for values in found.evidence]
        maps = [values.flip(2) for values in (found.raw, *found.evidence)] if is_mirrored else None
        maps = maps or [found.raw, *found.evidence]
        raw += _like(maps[0], raw)
        evidence = [total + _like(values, total) for total, values in zip(evidence, maps[1:], strict=True)]
    assert first is not None
    rows = torch.arange(len(raw), device=raw.device)
    change = first.after - first.before
    change[rows, first.target] = 0.0
    return TensorAttribution(
        raw=raw / len(views_of(classifier, views)),
        label=first.target,
        probability=first.before.softmax(dim=1)[rows, first.target],
        logit_before=first.before[rows, first.target],
        logit_after=first.after[rows, first.target],
        drift=(change.square().sum(dim=1) / max(change.shape[1] - 1, 1)).sqrt(),
        evidence=tuple(_to_unit_range(values).half() for values in evidence),
        features=_features(first.activations, places, original.shape[2]),
    )


def views_of(classifier: Classifier, views: ViewParameters) -> list[tuple[int, bool]]:
    """Return size and mirroring of every view that the network can be shown."""
    own = classifier.preprocessing.input_size
    sizes = [own if part == 1.0 else max(round(part * own / 32) * 32, 32) for part in views.sizes]
    sizes = [size for size in dict.fromkeys(sizes) if size == own or takes_size(classifier, size)] or [own]
    return [(size, is_mirrored) for size in sizes for is_mirrored in ((False, True) if views.mirror else (False,))]


def _resized(images: torch.Tensor, size: int) -> torch.Tensor:
    found = F.interpolate(images, size=(size, size), mode="bilinear", antialias=True)
    return found.contiguous(memory_format=torch.channels_last)


def _like(values: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Resize values (B, h, w) to the size of others."""
    if values.shape == other.shape:
        return values
    return F.interpolate(values[:, None], size=other.shape[1:], mode="bilinear", align_corners=False)[:, 0]


def _to_unit_range(values: torch.Tensor) -> torch.Tensor:
    """Divide values (B, h, w), none of them negative, by the largest one of each image; zeros stay zeros."""
    largest = values.amax(dim=(1, 2), keepdim=True)
    return torch.where(largest > 0, values / largest, torch.zeros_like(values))


def _features(activations: Sequence[torch.Tensor], places: Sequence[Depth], size: int) -> tuple[TensorFeatures, ...]:
    found = []
    for position in feature_depths(places, size):
        codes, scale = packed(unit_features(activations[position], places[position]))
        found.append(TensorFeatures(codes.contiguous(), scale))
    return tuple(found)
