"""A network as Lightning trains it, whatever it learns: rates, schedule, chance, and a row of figures every epoch."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as pl
import torch
from torch import nn
from torch.optim import lr_scheduler
from torchmetrics import MeanMetric, SumMetric

from jobs.training.settings import TrainingSettings
from saliency_core.networks.preprocessing import Preprocessing

MOMENTUM = 0.9
FALL = 0.1
"""Factor of the rates at each third of the epochs, with the schedule in steps."""

PARTS = ("train", "validation")

TensorBatch = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Task:
    """What a worker has to know beside the weights.

    Parameters
    ----------
    settings : TrainingSettings
    preprocessing : Preprocessing
    steps_per_epoch : int
    """

    settings: TrainingSettings
    preprocessing: Preprocessing
    steps_per_epoch: int


class Counts(nn.Module):
    """The loss on one part of the images over an epoch, and how many of them were read, summed up over all workers."""

    def __init__(self) -> None:
        super().__init__()
        # By default torchmetrics leaves losses out that are no numbers: here they show that training has diverged.
        self.loss, self.read, self.unread = MeanMetric(nan_strategy="disable"), SumMetric(), SumMetric()

    def count(self, loss: torch.Tensor, weight: float, read: int, unread: int) -> None:
        """Count a batch: its mean loss, the weight of that, and how many images it has and lacks."""
        if read:
            self.loss.update(loss, weight)
        self.read.update(read)
        self.unread.update(unread)

    def take(self) -> dict[str, Any]:
        """Return the figures of the epoch, and start over."""
        figures = {
            "loss": float(self.loss.compute()),
            **self.further(),
            "read": int(self.read.compute()),
            "unread": int(self.unread.compute()),
        }
        for metric in (self.loss, self.read, self.unread):
            metric.reset()
        return figures

    def further(self) -> dict[str, float]:
        """Return the figures that a job adds, and start over."""
        return {}


class TrainingModule(pl.LightningModule):
    """A network in training.

    Parameters
    ----------
    task : Task
    counts : dict of str to Counts
        One for each of `PARTS`.

    Attributes
    ----------
    history : list of dict
        A row for every finished epoch; it travels with the checkpoints.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, task: Task, counts: Mapping[str, Counts]) -> None:
        super().__init__()
        self.task = task
        self.history: list[dict[str, Any]] = []
        self.rates: list[float] = []
        for name in ("mean", "std"):
            values = torch.tensor(getattr(task.preprocessing, name)).view(3, 1, 1)
            self.register_buffer(name, values, persistent=False)
        self.counts = nn.ModuleDict({f"{part}_counts": counts[part] for part in PARTS})

    def rate_groups(self) -> list[dict[str, Any]]:
        """Return the groups of parameters with their rates (``lr``), as optimisers take them."""
        raise NotImplementedError

    def rate_columns(self) -> dict[str, float]:
        """Return the rates of the epoch, as columns of its row."""
        return {"learning_rate": self.rates[0]}

    def normalised(self, images: torch.Tensor) -> torch.Tensor:
        """Take uint8 images (B, 3, S, S) to the network's input."""
        pixels = (images.float() / 255 - self.mean) / self.std
        return pixels.contiguous(memory_format=torch.channels_last)

    def configure_optimizers(self) -> Any:
        """Make the optimiser with its groups of rates, and the schedule over all steps."""
        settings, steps = self.task.settings, self.task.steps_per_epoch
        groups = self.rate_groups()
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
        """Make chance depend on seed, epoch and worker alone."""
        self.rates = [group["lr"] for group in self.trainer.optimizers[0].param_groups]
        torch.manual_seed(mixed_seed(self.task.settings.seed, self.current_epoch, self.global_rank))

    def on_train_epoch_end(self) -> None:
        """Add a row to the history; it stands behind the validation of the epoch."""
        row: dict[str, Any] = {"epoch": self.current_epoch + 1, **self.rate_columns()}
        for part in PARTS:
            row |= {f"{part}_{name}": value for name, value in self.counts_of(part).take().items()}
        self.history.append(row)
        self.log("validation_loss", row["validation_loss"])  # for early stopping, which runs next

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put the history into a checkpoint."""
        checkpoint["history"] = self.history

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the history out of a checkpoint."""
        self.history = checkpoint["history"]

    def counts_of(self, part: str) -> Any:
        """Return what counts the figures of a part."""
        return self.counts[f"{part}_counts"]


def unread_images(batch: TensorBatch) -> int:
    """Count the images of a batch that could not be read; rows that fill it up are none."""
    return int((~batch["counts"] & (batch["index"] >= 0)).sum())


def mixed_seed(*parts: int) -> int:
    """Make one 32-bit seed of several numbers."""
    mixed = 0
    for part in parts:
        mixed = (mixed * 1_000_003 + part + 1) % 2**32
    return mixed
