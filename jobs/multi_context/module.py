"""One of the two networks as Lightning trains it: windows of every image, drawn anew each epoch, and their labels."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional
from torchmetrics import MeanMetric

from jobs.multi_context.settings import MultiContextSettings
from jobs.training.module import PARTS, Counts, Task, TensorBatch, TrainingModule, unread_images
from saliency_core.methods.window_network import WindowNetwork
from saliency_core.methods.windows import global_canvas, local_canvas, map_canvas

SALIENT = 0.5
"""Share of a superpixel that has to be foreground for it to be salient."""

FirstStage = Mapping[str, NDArray[np.uint8]]
"""What the first network said of every superpixel (N, n) of every image, by part."""


class WindowCounts(Counts):
    """Loss and share of wrong answers of one part of the images over an epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.error = MeanMetric(nan_strategy="disable")

    def further(self) -> dict[str, float]:
        """Return the error, and start over."""
        found = float(self.error.compute())
        self.error.reset()
        return {"error": found}


@dataclass(frozen=True)
class WindowTask(Task):
    """What a worker has to know beside the network.

    Parameters
    ----------
    settings : MultiContextSettings
    """

    settings: MultiContextSettings


class WindowTraining(TrainingModule):
    """A network of windows in training.

    Parameters
    ----------
    network : WindowNetwork
    task : WindowTask
    first : mapping, optional
        What the first network said, where this is the second; batches name images by their position (``index``).
    """

    task: WindowTask

    def __init__(self, network: WindowNetwork, task: WindowTask, first: FirstStage | None = None) -> None:
        super().__init__(task, {part: WindowCounts() for part in PARTS})
        self.network = network.to(memory_format=torch.channels_last)
        self.first = first

    def rate_groups(self) -> list[dict[str, Any]]:
        """Return the parameters of the new layers, then those of the network below."""
        settings = self.task.settings
        below = [values for values in self.network.trunk.parameters() if values.requires_grad]
        return [
            {"params": list(self.network.head.parameters()), "lr": settings.head_learning_rate},
            {"params": below, "lr": settings.learning_rate},
        ]

    def rate_columns(self) -> dict[str, float]:
        """Return the rates of the layers below, and of the new ones."""
        return {"learning_rate": self.rates[1], "head_learning_rate": self.rates[0]}

    def training_step(self, batch: TensorBatch, _: int) -> torch.Tensor:
        """Return the loss of the windows of a batch of images, half of them mirrored."""
        count = len(batch["index"])
        is_mirrored = torch.zeros(count, dtype=torch.bool)
        if self.task.settings.augmentation == "mirror":
            is_mirrored = torch.rand(count) < 0.5
        return self._step("train", batch, is_mirrored, None)

    def validation_step(self, batch: TensorBatch, _: int) -> None:
        """Count the errors of the windows of a batch of images: the same ones in every epoch."""
        generator = torch.Generator().manual_seed(0)
        self._step("validation", batch, torch.zeros(len(batch["index"]), dtype=torch.bool), generator)

    def _step(
        self, part: str, batch: TensorBatch, is_mirrored: torch.Tensor, generator: torch.Generator | None
    ) -> torch.Tensor:
        settings, device = self.task.settings, batch["image"].device
        shares = batch["shares"].cpu()
        which, chosen = drawn_windows(
            shares, batch["counts"].cpu(), settings.windows, settings.foreground_share, generator
        )
        size = self.task.preprocessing.input_size
        labels = (shares[which, chosen] >= SALIENT).long().to(device)
        flip = is_mirrored[which].to(device)
        which, chosen = which.to(device), chosen.to(device)
        centres = batch["centres"][which, chosen]
        images = self.normalised(batch["image"].permute(0, 3, 1, 2))
        maps = None
        if self.first is None:
            windows = global_canvas(images, size).cut(which, centres)
        else:
            windows = local_canvas(images, size).cut(which, centres)
            maps = map_canvas(self._maps(part, batch)[:, None]).cut(which, centres)[:, 0]
            maps = torch.where(flip.view(-1, 1, 1), maps.flip(2), maps)
        windows = torch.where(flip.view(-1, 1, 1, 1), windows.flip(3), windows)
        counts = self.counts_of(part)
        read = int(batch["counts"].sum())
        if len(labels):
            logits = self.network(windows, maps)
            loss = functional.cross_entropy(logits, labels)
            counts.error.update((logits.argmax(1) != labels).float().mean(), len(labels))
        else:  # every worker takes part in every step, with images or without
            nothing = windows.new_zeros(1, 3, size, size)
            loss = self.network(nothing, None if maps is None else maps.new_zeros(1, *maps.shape[1:])).sum() * 0
        counts.count(loss.detach(), len(labels), read if len(labels) else 0, unread_images(batch))
        return loss

    def _maps(self, part: str, batch: TensorBatch) -> torch.Tensor:
        """Return the first stage's maps (B, CELLS, CELLS) of a batch."""
        assert self.first is not None
        places = batch["index"].clamp_min(0).cpu().numpy()
        values = torch.from_numpy(self.first[part][places]).to(batch["image"].device).float() / 255
        cells = batch["cells"].long()
        return values.gather(1, cells.flatten(1)).view(cells.shape)


def drawn_windows(
    shares: torch.Tensor,
    counts: torch.Tensor,
    windows: int,
    foreground_share: float,
    generator: torch.Generator | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw windows of every image that counts, a given share of them around salient superpixels.

    Parameters
    ----------
    shares : float tensor (B, n)
        Foreground of each superpixel; negative where there is none.
    counts : bool tensor (B,)
    windows : int
        Of each image.
    foreground_share : float
        Where an image has both kinds; where it has one kind only, all are of that.
    generator : Generator, optional

    Returns
    -------
    which, chosen : int64 tensors (N,)
        Image and superpixel of each. A superpixel is drawn twice only where there are too few.
    """
    which, chosen = [], []
    for image in torch.nonzero(counts).flatten().tolist():
        salient = torch.nonzero(shares[image] >= SALIENT).flatten()
        others = torch.nonzero((shares[image] >= 0) & (shares[image] < SALIENT)).flatten()
        wanted = round(windows * foreground_share) if len(salient) and len(others) else windows * bool(len(salient))
        for members, number in ((salient, wanted), (others, windows - wanted)):
            if not number:
                continue
            rounds = -(-number // len(members))
            order = torch.cat([torch.randperm(len(members), generator=generator) for _ in range(rounds)])
            chosen.append(members[order[:number]])
        which.append(torch.full((windows,), image))
    if not which:
        nothing = torch.zeros(0, dtype=torch.int64)
        return nothing, nothing
    return torch.cat(which), torch.cat(chosen)
