"""What each worker process of Ray Train does: Lightning's loop over batches from Ray Data, a report every epoch."""

import json
import logging
import math
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import ray.train
import ray.train.lightning
import ray.train.torch
import torch

from jobs.errors import TrainingError
from jobs.pipeline.freed_memory import reuse_freed_memory
from jobs.training.module import PARTS, TrainingModule, mixed_seed

STATE = "state.ckpt"
"""Lightning's file in a checkpoint."""

SHUFFLED_TOGETHER = 1024
"""Images among which a worker picks the next of its batch, at least; the whole order is random from the start."""

DIVERGED = 1e30
"""Stands for a validation loss that is no number: Ray Train sorts by it."""


def train_in_worker(config: dict[str, Any]) -> None:
    """Train in one of the worker processes of Ray Train."""
    _quiet()
    torch.set_num_threads(config["cpus"])
    reuse_freed_memory()
    module: TrainingModule = config["make_module"]()
    settings = module.task.settings
    on_gpu = ray.train.torch.get_device().type == "cuda"
    callbacks: list[pl.Callback] = [Report(config["reports"])]
    if settings.patience:
        callbacks.insert(
            0, pl.callbacks.EarlyStopping("validation_loss", patience=settings.patience, check_finite=False)
        )
    with tempfile.TemporaryDirectory() as folder:
        trainer = pl.Trainer(
            accelerator="gpu" if on_gpu else "cpu",
            devices="auto",
            strategy=ray.train.lightning.RayDDPStrategy(),
            plugins=[ray.train.lightning.RayLightningEnvironment()],
            precision=_precision(settings.precision, on_gpu),
            sync_batchnorm=on_gpu and ray.train.get_context().get_world_size() > 1,
            max_epochs=settings.epochs,
            callbacks=callbacks,
            default_root_dir=folder,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
        )
        trainer = ray.train.lightning.prepare_trainer(trainer)
        loaders = (
            _Batches("train", config["batch_size"], module.task.steps_per_epoch, module),
            _Batches("validation", config["batch_size"], None, module),
        )
        checkpoint = ray.train.get_checkpoint()
        if checkpoint is None:
            trainer.fit(module, *loaders)
            return
        with checkpoint.as_directory() as start:
            path = Path(start) / STATE
            if not torch.load(path, map_location="cpu", weights_only=True)["is_finished"]:
                trainer.fit(module, *loaders, ckpt_path=path, weights_only=True)


class Report(pl.callbacks.Checkpoint):
    """Hands every epoch to Ray Train, with a checkpoint; runs behind early stopping.

    Parameters
    ----------
    reports : queue
        Where the first worker puts the epoch's row, for the driver to show.
    """

    def __init__(self, reports: Any) -> None:
        self.reports = reports
        self.started = time.perf_counter()
        self.is_finished = False

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save a checkpoint, report, and end a run that has diverged."""
        assert isinstance(pl_module, TrainingModule)
        row = pl_module.history[-1]
        now = time.perf_counter()
        row["seconds"], self.started = round(now - self.started, 3), now
        for part in PARTS:
            if row[f"{part}_unread"] and not row[f"{part}_read"]:
                raise TrainingError(f"none of the {part} images can be read")
        if not math.isfinite(row["train_loss"]):
            raise TrainingError(f"training diverged in epoch {row['epoch']}: give a smaller learning rate")
        self.is_finished = trainer.should_stop or row["epoch"] == trainer.max_epochs
        loss = row["validation_loss"]
        metrics = {
            "epoch": row["epoch"],
            "validation_loss": loss if math.isfinite(loss) else DIVERGED,
            "history": json.dumps(pl_module.history),
        }
        with tempfile.TemporaryDirectory() as folder:
            trainer.save_checkpoint(Path(folder) / STATE)
            checkpoint = ray.train.Checkpoint(folder) if trainer.is_global_zero else None
            ray.train.report(metrics, checkpoint, checkpoint_dir_name=f"epoch-{row['epoch']:04d}")
        if trainer.is_global_zero:
            self.reports.put(row)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Note whether training has come to its end, for a start that finds this checkpoint."""
        checkpoint["is_finished"] = self.is_finished


class _Batches:
    """The batches of one part of the images, for Lightning: every ``iter`` is a pass over this worker's share."""

    def __init__(self, part: str, batch_size: int, steps: int | None, module: TrainingModule) -> None:
        self.part, self.batch_size, self.steps, self.module = part, batch_size, steps, module
        self.shard = ray.train.get_dataset_shard(part)

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        options: dict[str, Any] = {}
        if self.part == "train":
            # Not the trainer's own count: when training goes on, Lightning makes the first iterator before it is right.
            epoch = len(self.module.history)
            options = {
                "local_shuffle_buffer_size": max(SHUFFLED_TOGETHER, 4 * self.batch_size),
                "local_shuffle_seed": mixed_seed(self.module.task.settings.seed, epoch),
            }
        batches = self.shard.iter_torch_batches(batch_size=self.batch_size, **options)
        for number, batch in enumerate(batches):
            if self.steps is None or number < self.steps:
                yield batch


def _precision(wanted: str, on_gpu: bool) -> Any:
    if wanted != "auto":
        return wanted
    if not on_gpu:
        return "32-true"
    return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"


def _quiet() -> None:
    warnings.filterwarnings("ignore", module="lightning|torch|ray")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
