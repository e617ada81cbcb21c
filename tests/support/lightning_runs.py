"""Training modules under Lightning, without Ray: short runs, and whether one goes on from its checkpoints."""

import queue
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import ray.train
import torch

from jobs.training import worker
from jobs.training.module import TrainingModule

Batch = dict[str, torch.Tensor]


class Batches:
    """The same batches again and again."""

    def __init__(self, *batches: Batch) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[Batch]:
        return iter(self.batches)


class Shard:
    """Batches in an order that the seed decides, as Ray Data's."""

    def __init__(self, batches: Batches) -> None:
        self.batches = batches.batches

    def iter_torch_batches(self, batch_size: int, local_shuffle_seed: int = 0, **_: int) -> Iterator[Batch]:
        generator = torch.Generator().manual_seed(local_shuffle_seed)
        for index in torch.randperm(len(self.batches), generator=generator).tolist():
            yield self.batches[index]


def fit(
    trained: TrainingModule,
    folder: Path,
    epochs: int,
    batches: Iterable[Batch],
    validation: Iterable[Batch],
    start: Path | None = None,
    callbacks: Sequence[pl.Callback] = (),
) -> None:
    """Train a module, from a checkpoint if one is given."""
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        logger=False,
        callbacks=list(callbacks),
        enable_checkpointing=bool(callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=folder,
    )
    trainer.fit(trained, batches, validation, ckpt_path=start, weights_only=True)


def check_going_on(make: Callable[[], TrainingModule], train: Batches, validation: Batches, folder: Path) -> None:
    """Check that training that goes on from any checkpoint ends as if it had not stopped, to the bit.

    Parameters
    ----------
    make : callable
        Makes the module as it is before it learns; its settings say how many epochs.
    train, validation : Batches
    folder : Path
    """
    states: list[bytes] = []

    def report(metrics: dict[str, Any], checkpoint: ray.train.Checkpoint, checkpoint_dir_name: str) -> None:
        states.append((Path(checkpoint.path) / worker.STATE).read_bytes())

    def trained(start: Path | None = None) -> TrainingModule:
        module = make()
        batches = worker._Batches("train", 8, len(train.batches), module)
        epochs = module.task.settings.epochs
        fit(module, folder, epochs, batches, validation, start, [worker.Report(queue.Queue())])
        return module

    def course(module: TrainingModule) -> list[dict[str, Any]]:
        return [{key: value for key, value in row.items() if key != "seconds"} for row in module.history]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ray.train, "report", report)
        patch.setattr(ray.train, "get_dataset_shard", lambda _: Shard(train))
        undisturbed = trained()
        for state in (states[0], states[len(undisturbed.history) - 2]):
            (folder / "state.ckpt").write_bytes(state)
            resumed = trained(folder / "state.ckpt")
            assert course(resumed) == course(undisturbed)
            for key, value in undisturbed.state_dict().items():
                assert torch.equal(resumed.state_dict()[key], value), key
