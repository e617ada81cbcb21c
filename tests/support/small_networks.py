"""Small networks with known properties, and the method written out naively in float64."""

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from saliency_core.networks.classifier import Classifier
from saliency_core.networks.preprocessing import Preprocessing

MEAN = (0.4, 0.5, 0.6)
STD = (0.2, 0.3, 0.5)


class PassCounter(nn.Module):
    """The identity, counting the forward and the backward passes that go through it."""

    def __init__(self) -> None:
        super().__init__()
        self.forwards = 0
        self.backwards = 0

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        counter = self

        class Identity(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, values: torch.Tensor) -> torch.Tensor:
                counter.forwards += 1
                return values.clone()

            @staticmethod
            def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
                counter.backwards += 1
                return gradient

        return Identity.apply(values)


def classifier_of(network: nn.Module, size: int = 12, mean: tuple = MEAN, std: tuple = STD) -> Classifier:
    network = network.eval().requires_grad_(False)
    with torch.no_grad():
        count = network(torch.zeros(1, 3, size, size)).shape[1]
    names = tuple(f"class {index}" for index in range(count))
    return Classifier("small", network, Preprocessing(size, mean, std), names, "test", "")


def convolutional(
    seed: int, classes: int = 6, activation: type[nn.Module] = nn.ReLU, pooling: type[nn.Module] = nn.MaxPool2d
) -> nn.Sequential:
    """Two convolutions, pooling, batch normalisation, dropout and a linear layer, gains near 1."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            activation(),
            pooling(2),
            nn.BatchNorm2d(8),
            nn.Conv2d(8, 12, 3),
            activation(),
            nn.Flatten(),
            nn.Dropout(0.5),
            nn.LazyLinear(classes),
        )
        network(torch.zeros(2, 3, 12, 12))
        for parameter in network.parameters():
            nn.init.normal_(parameter, std=1.5 / np.sqrt(parameter[0].numel()))
    return network


def linear(weights: NDArray[np.floating]) -> nn.Sequential:
    """Logits `sum(weights[k] * x)`, weights (N, 3, S, S)."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(weights[0].size, len(weights), bias=False))
    network[1].weight.data = torch.from_numpy(weights.reshape(len(weights), -1).astype(np.float32))
    return network


def random_images(seed: int, count: int, size: int = 12) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def normalise(classifier: Classifier, image: NDArray[np.uint8]) -> torch.Tensor:
    """One image (S, S, 3) as float64 (1, 3, S, S), by the definition."""
    mean, std = classifier.preprocessing.mean, classifier.preprocessing.std
    channels = [(image[:, :, c].astype(np.float64) / 255 - mean[c]) / std[c] for c in range(3)]
    return torch.from_numpy(np.stack(channels)[None])


@dataclass(frozen=True)
class NaiveErasure:
    raw: NDArray[np.float64]
    label: int
    logits_before: NDArray[np.float64]
    logits_after: NDArray[np.float64]


def naive_erasure(
    classifier: Classifier,
    image: NDArray[np.uint8],
    label: int = -1,
    *,
    epsilon: float,
    gamma: float,
    iterations: int,
) -> NaiveErasure:
    """Eq. 1-3 for one image (S, S, 3): automatic differentiation of the cost F itself, in float64."""
    network = copy.deepcopy(classifier.network).double()
    start = normalise(classifier, image)
    original_logits = network(start)[0].detach()
    if label == -1:
        label = int(np.argmax(original_logits.numpy()))
    current = start.clone()
    for _ in range(iterations):
        current = current.detach().requires_grad_(True)
        logits = network(current)[0]
        cost = logits[label]
        for k in range(len(logits)):
            if k != label:
                cost = cost + gamma * (logits[k] - original_logits[k]) ** 2
        cost.backward()
        assert current.grad is not None
        step = np.maximum(current.grad.numpy(), 0)
        current = current.detach() - epsilon * torch.from_numpy(step)
    change = (start - current)[0].numpy()
    std = classifier.preprocessing.std
    raw = (change[0] * std[0] + change[1] * std[1] + change[2] * std[2]) / 3
    return NaiveErasure(raw, label, original_logits.numpy(), logits.detach().numpy())
