"""Heads as Lightning teaches them: one frozen network, one or several heads on it, the loss against soft maps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional
from torchmetrics import MeanMetric

from jobs.distillation.settings import DistilSettings
from jobs.training.module import PARTS, Counts, Task, TensorBatch, TrainingModule, mixed_seed, unread_images
from saliency_core.methods.depths import depths_of
from saliency_core.methods.student import read_map
from saliency_core.methods.views import Depths
from saliency_core.networks.classifier import Classifier
from saliency_core.networks.placement import place
from saliency_core.networks.saliency_head import SaliencyHead

HELD_OUT = -1
"""The fold of an image that no head is taught with."""


@dataclass(frozen=True)
class Lessons:
    """What heads are taught with, image by image.

    Parameters
    ----------
    targets : uint8 array (N, grid, grid)
    weights : float32 array (N,)
    folds : int64 array (N,)
        Head k is not taught with fold k where there are several heads; `HELD_OUT` for no head.
    """

    targets: NDArray[np.uint8]
    weights: NDArray[np.float32]
    folds: NDArray[np.int64]


class MapCounts(Counts):
    """Loss and mean absolute difference of one part of the images over an epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.difference = MeanMetric(nan_strategy="disable")

    def further(self) -> dict[str, float]:
        """Return the difference, and start over."""
        found = float(self.difference.compute())
        self.difference.reset()
        return {"difference": found}


@dataclass(frozen=True)
class DistilTask(Task):
    """What a worker has to know beside the network.

    Parameters
    ----------
    settings : DistilSettings
    heads : int
        How many are taught; one is taught with all folds.
    round : int
        Counted from 1; chance depends on it.
    """

    settings: DistilSettings
    heads: int
    round: int


class Distilling(TrainingModule):
    """Heads in training; the network is no part of the module's state.

    Parameters
    ----------
    classifier : Classifier
        Frozen.
    head : SaliencyHead
        Its shape is that of all heads.
    lessons : mapping of str to Lessons
        One for each of `PARTS`; batches name images by their position in them (``index``).
    task : DistilTask
    """

    task: DistilTask

    def __init__(
        self, classifier: Classifier, head: SaliencyHead, lessons: Mapping[str, Lessons], task: DistilTask
    ) -> None:
        super().__init__(task, {part: MapCounts() for part in PARTS})
        self.classifier = classifier
        self.lessons = lessons
        self.heads = nn.ModuleList(new_heads(head, task.heads, mixed_seed(task.settings.seed, task.round)))

    def rate_groups(self) -> list[dict[str, Any]]:
        """Return the parameters of all heads."""
        return [{"params": list(self.heads.parameters()), "lr": self.task.settings.learning_rate}]

    def on_fit_start(self) -> None:
        """Bring the network to the module's device."""
        self.classifier = place(self.classifier, self.device)

    def training_step(self, batch: TensorBatch, _: int) -> torch.Tensor:
        """Return the loss of a batch, half of it mirrored."""
        is_mirrored = torch.zeros(len(batch["index"]), dtype=torch.bool)
        if self.task.settings.augmentation == "mirror":
            is_mirrored = torch.rand(len(batch["index"])) < 0.5
        return self._step("train", batch, is_mirrored)

    def validation_step(self, batch: TensorBatch, _: int) -> None:
        """Count the loss of a batch."""
        self._step("validation", batch, torch.zeros(len(batch["index"]), dtype=torch.bool))

    def _step(self, part: str, batch: TensorBatch, is_mirrored: torch.Tensor) -> torch.Tensor:
        lessons, device = self.lessons[part], batch["image"].device
        places = batch["index"].clamp_min(0).cpu().numpy()
        targets = torch.from_numpy(lessons.targets[places]).to(device).float() / 255
        folds = torch.from_numpy(lessons.folds[places]).to(device)
        weights = torch.from_numpy(lessons.weights[places]).to(device) * batch["counts"]
        flip = is_mirrored.to(device)
        images = batch["image"].permute(0, 3, 1, 2)
        images = torch.where(flip.view(-1, 1, 1, 1), images.flip(3), images)
        targets = torch.where(flip.view(-1, 1, 1), targets.flip(2), targets)
        depths = read_depths(self.classifier, self.normalised(images))
        losses, differences, total = [], [], 0.0
        for number, head in enumerate(self.heads):
            own = weights * (folds != number) if len(self.heads) > 1 else weights
            logits = read_map(head, depths).float()
            each = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean((1, 2))
            away = (logits.detach().sigmoid() - targets).abs().mean((1, 2))
            whole = own.sum()
            # Every head takes part in every step, with images or without.
            losses.append((each * own).sum() / whole.clamp_min(1e-6))
            differences.append((away * own).sum() / whole.clamp_min(1e-6))
            total += float(whole)
        loss = torch.stack(losses).mean()
        read = int(batch["counts"].sum())
        counts = self.counts_of(part)
        counts.count(loss.detach(), total, read if total else 0, unread_images(batch))
        if total:
            counts.difference.update(torch.stack(differences).mean(), total)
        return loss


def new_heads(head: SaliencyHead, count: int, seed: int) -> Sequence[SaliencyHead]:
    """Make heads of one shape with random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return [SaliencyHead(head.channels, head.grid, head.width) for _ in range(count)]


def read_depths(classifier: Classifier, images: torch.Tensor) -> Depths:
    """Run a frozen network on normalised images (B, 3, S, S), and keep what it says at its depths."""
    depths = Depths(classifier.network, depths_of(classifier))
    with torch.no_grad():
        depths.forward(images)
    return depths


def blended(teacher: NDArray[np.uint8], own: NDArray[np.uint8], own_share: float) -> NDArray[np.uint8]:
    """Return the targets of a further round."""
    mixed = own_share * own.astype(np.float32) + (1 - own_share) * teacher.astype(np.float32)
    return mixed.round().astype(np.uint8)
