"""The classifier as Lightning trains it: loss, rates of the strategies, augmentation and the errors of every epoch."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy
from torchvision.transforms import v2

from jobs.finetuning.settings import FinetuneSettings
from jobs.training.module import PARTS, Counts, Task, TensorBatch, TrainingModule, unread_images


class ErrorCounts(Counts):
    """Loss and errors of one part of the images over an epoch.

    Parameters
    ----------
    classes : int
        Top-5 errors are top-N errors where there are N < 5 classes.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        right = {f"top{k}": MulticlassAccuracy(classes, top_k=min(k, classes), average="micro") for k in (1, 5)}
        self.right = MetricCollection(dict(right))

    def update(self, logits: torch.Tensor, labels: torch.Tensor, loss: torch.Tensor, unread: int) -> None:
        """Count a batch: logits (B, N) and labels (B,) of its images, their mean loss, and how many were unreadable."""
        self.count(loss, len(labels), len(labels), unread)
        if len(labels):
            self.right.update(logits, labels)

    def further(self) -> dict[str, float]:
        """Return the errors, and start over."""
        right = self.right.compute()
        self.right.reset()
        return {f"{name}_error": 1 - float(share) for name, share in right.items()}


def augmentation(kind: str, side: int) -> v2.Transform:
    """Return what varies one training image, uint8 (3, H, W); the result is (3, side, side).

    The saliency job squashes whole images, so the crops stay large.
    """
    if kind == "photographs":
        steps = [
            v2.RandomResizedCrop(side, scale=(0.6, 1.0), ratio=(0.8, 1.25), antialias=True),
            v2.RandomHorizontalFlip(),
            v2.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2),
        ]
    elif kind == "symmetries":
        quarter_turn = v2.RandomApply([v2.RandomRotation((90, 90))])
        steps = [v2.RandomHorizontalFlip(), v2.RandomVerticalFlip(), quarter_turn]
    else:
        steps = [v2.Identity()]
    return v2.Compose(steps)


@dataclass(frozen=True)
class FinetuneTask(Task):
    """What a worker has to know beside the weights.

    Parameters
    ----------
    settings : FinetuneSettings
    classes : int
    head : frozenset of str
        Names of the parameters of the last layer.
    """

    settings: FinetuneSettings
    classes: int
    head: frozenset[str]


class FineTuning(TrainingModule):
    """A classifier in training.

    Parameters
    ----------
    network : Module
        Takes float32 (B, 3, S, S) normalised input, returns logits (B, N).
    task : FinetuneTask
    """

    task: FinetuneTask

    def __init__(self, network: nn.Module, task: FinetuneTask) -> None:
        super().__init__(task, {part: ErrorCounts(task.classes) for part in PARTS})
        self.network = network.to(memory_format=torch.channels_last)
        self.augment = augmentation(task.settings.augmentation, task.preprocessing.input_size)
        if task.settings.strategy == "head-only":
            for name, parameter in network.named_parameters():
                parameter.requires_grad_(name in task.head)

    def rate_groups(self) -> list[dict[str, Any]]:
        """Return the parameters with the rates of the strategy."""
        settings = self.task.settings
        head: list[nn.Parameter] = []
        below: list[nn.Parameter] = []
        for name, parameter in self.network.named_parameters():
            (head if name in self.task.head else below).append(parameter)
        return {
            "all": [{"params": below + head, "lr": settings.learning_rate}],
            "head-faster": [
                {"params": head, "lr": settings.head_learning_rate},
                {"params": below, "lr": settings.learning_rate},
            ],
            "head-only": [{"params": head, "lr": settings.head_learning_rate}],
        }[settings.strategy]

    def rate_columns(self) -> dict[str, float]:
        """Return the rates of the layers below the last, and of the last."""
        below = 0.0 if self.task.settings.strategy == "head-only" else self.rates[-1]
        return {"learning_rate": below, "head_learning_rate": self.rates[0]}

    def on_train_epoch_start(self) -> None:
        """Settle chance, and keep the statistics of frozen layers."""
        super().on_train_epoch_start()
        if self.task.settings.strategy == "head-only":
            for module in self.network.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()

    def training_step(self, batch: TensorBatch, _: int) -> torch.Tensor:
        """Return the loss of a batch, varied image by image."""
        images = torch.stack([self.augment(image) for image in batch["image"].permute(0, 3, 1, 2)])
        return self._step("train", batch, images)

    def validation_step(self, batch: TensorBatch, _: int) -> None:
        """Count the errors of a batch."""
        self._step("validation", batch, batch["image"].permute(0, 3, 1, 2))

    def _step(self, part: str, batch: TensorBatch, images: torch.Tensor) -> torch.Tensor:
        counts, labels = batch["counts"], batch["label"]
        logits = self.network(self.normalised(images))
        loss = logits.sum() * 0  # every worker takes part in every step, with images or without
        if counts.any():
            loss = functional.cross_entropy(logits[counts], labels[counts])
        self.counts_of(part).update(logits[counts].detach(), labels[counts], loss.detach(), unread_images(batch))
        return loss
