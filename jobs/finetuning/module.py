"""The network as Lightning trains it: loss, rates, schedule, augmentation and the errors of every epoch."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as pl
import torch
from torch import nn
from torch.nn import functional
from torch.optim import lr_scheduler
from torchmetrics import MeanMetric, MetricCollection, SumMetric
from torchmetrics.classification import MulticlassAccuracy
from torchvision.transforms import v2

from jobs.finetuning.settings import FinetuneSettings
from saliency_core.networks.preprocessing import Preprocessing

MOMENTUM = 0.9
FALL = 0.1
"""Factor of the rates at each third of the epochs, with the schedule in steps."""

PARTS = ("train", "validation")

TensorBatch = Mapping[str, torch.Tensor]


class Counts(nn.Module):
    """Loss and errors of one part of the images over an epoch, summed up over all workers.

    Parameters
    ----------
    classes : int
        Top-5 errors are top-N errors where there are N < 5 classes.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        # By default torchmetrics leaves losses out that are no numbers: here they show that training has diverged.
        self.loss, self.read, self.unread = MeanMetric(nan_strategy="disable"), SumMetric(), SumMetric()
        right = {f"top{k}": MulticlassAccuracy(classes, top_k=min(k, classes), average="micro") for k in (1, 5)}
        self.right = MetricCollection(dict(right))

    def update(self, logits: torch.Tensor, labels: torch.Tensor, loss: torch.Tensor, unread: int) -> None:
        """Count a batch: logits (B, N) and labels (B,) of its images, their mean loss, and how many were unreadable."""
        if len(labels):
            self.loss.update(loss, len(labels))
            self.right.update(logits, labels)
        self.read.update(len(labels))
        self.unread.update(unread)

    def take(self) -> dict[str, Any]:
        """Return the figures of the epoch, and start over."""
        right = self.right.compute()
        figures = {
            "loss": float(self.loss.compute()),
            **{f"{name}_error": 1 - float(share) for name, share in right.items()},
            "read": int(self.read.compute()),
            "unread": int(self.unread.compute()),
        }
        for metric in (self.loss, self.right, self.read, self.unread):
            metric.reset()
        return figures


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
class Task:
    """What a worker has to know beside the weights.

    Parameters
    ----------
    settings : FinetuneSettings
    classes : int
    preprocessing : Preprocessing
    head : frozenset of str
        Names of the parameters of the last layer.
    steps_per_epoch : int
    """

    settings: FinetuneSettings
    classes: int
    preprocessing: Preprocessing
    head: frozenset[str]
    steps_per_epoch: int


class FineTuning(pl.LightningModule):
    """A network in training.

    Parameters
    ----------
    network : Module
        Takes float32 (B, 3, S, S) normalised input, returns logits (B, N).
    task : Task

    Attributes
    ----------
    history : list of dict
        A row for every finished epoch; it travels with the checkpoints.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, network: nn.Module, task: Task) -> None:
        super().__init__()
        self.network = network.to(memory_format=torch.channels_last)
        self.task = task
        self.history: list[dict[str, Any]] = []
        self.rates: list[float] = []
        self.augment = augmentation(task.settings.augmentation, task.preprocessing.input_size)
        for name in ("mean", "std"):
            values = torch.tensor(getattr(task.preprocessing, name)).view(3, 1, 1)
            self.register_buffer(name, values, persistent=False)
        self.counts = nn.ModuleDict({f"{part}_counts": Counts(task.classes) for part in PARTS})
        if task.settings.strategy == "head-only":
            for name, parameter in network.named_parameters():
                parameter.requires_grad_(name in task.head)

    def configure_optimizers(self) -> Any:
        """Make the optimiser with its groups of rates, and the schedule over all steps."""
        settings, steps = self.task.settings, self.task.steps_per_epoch
        head: list[nn.Parameter] = []
        below: list[nn.Parameter] = []
        for name, parameter in self.network.named_parameters():
            (head if name in self.task.head else below).append(parameter)
        groups = {
            "all": [{"params": below + head, "lr": settings.learning_rate}],
            "head-faster": [
                {"params": head, "lr": settings.head_learning_rate},
                {"params": below, "lr": settings.learning_rate},
            ],
            "head-only": [{"params": head, "lr": settings.head_learning_rate}],
        }[settings.strategy]
        optimiser: torch.optim.Optimizer
        if settings.optimiser == "sgd":
            optimiser = torch.optim.SGD(groups, momentum=MOMENTUM, weight_decay=settings.weight_decay)
        else:
            optimiser = torch.optim.AdamW(groups, weight_decay=settings.weight_decay)
        warmup = round(settings.warmup_epochs * steps)
        rest = max(1, settings.epochs * steps - warmup)
        after: lr_scheduler.LRScheduler
        if settings.schedule == "cosine":
            after = lr_scheduler.CosineAnnealingLR(optimiser, rest)
        elif settings.schedule == "step":
            after = lr_scheduler.StepLR(optimiser, math.ceil(rest / 3), FALL)
        else:
            after = lr_scheduler.ConstantLR(optimiser, 1.0)
        if warmup:
            rise = lr_scheduler.LinearLR(optimiser, 1 / (warmup + 1), total_iters=warmup)
            after = lr_scheduler.SequentialLR(optimiser, [rise, after], [warmup])
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": after, "interval": "step"}}

    def on_train_epoch_start(self) -> None:
        """Make chance depend on seed, epoch and worker alone, and keep the statistics of frozen layers."""
        self.rates = [group["lr"] for group in self.trainer.optimizers[0].param_groups]
        torch.manual_seed(mixed_seed(self.task.settings.seed, self.current_epoch, self.global_rank))
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

    def on_train_epoch_end(self) -> None:
        """Add a row to the history; it stands behind the validation of the epoch."""
        below = 0.0 if self.task.settings.strategy == "head-only" else self.rates[-1]
        row: dict[str, Any] = {
            "epoch": self.current_epoch + 1,
            "learning_rate": below,
            "head_learning_rate": self.rates[0],
        }
        for part in PARTS:
            row |= {f"{part}_{name}": value for name, value in self._counts(part).take().items()}
        self.history.append(row)
        self.log("validation_loss", row["validation_loss"])  # for early stopping, which runs next

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put the history into a checkpoint."""
        checkpoint["history"] = self.history

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the history out of a checkpoint."""
        self.history = checkpoint["history"]

    def _step(self, part: str, batch: TensorBatch, images: torch.Tensor) -> torch.Tensor:
        counts, labels = batch["counts"], batch["label"]
        pixels = ((images.float() / 255 - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        logits = self.network(pixels)
        unread = int((~counts & (batch["index"] >= 0)).sum())
        loss = logits.sum() * 0  # every worker takes part in every step, with images or without
        if counts.any():
            loss = functional.cross_entropy(logits[counts], labels[counts])
        self._counts(part).update(logits[counts].detach(), labels[counts], loss.detach(), unread)
        return loss

    def _counts(self, part: str) -> "Counts":
        counts = self.counts[f"{part}_counts"]
        assert isinstance(counts, Counts)
        return counts


def mixed_seed(*parts: int) -> int:
    """Make one 32-bit seed of several numbers."""
    mixed = 0
    for part in parts:
        mixed = (mixed * 1_000_003 + part + 1) % 2**32
    return mixed
