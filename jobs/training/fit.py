"""Training on Ray Train: Lightning in every worker, images from Ray Data, checkpoints in the output."""

import json
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import ray
import ray.data
import ray.train
import ray.train.torch
import torch
from ray.util.queue import Empty, Queue

from jobs.errors import TrainingError
from jobs.storage import files as storage
from jobs.training.checkpoint_files import checkpoint_storage
from jobs.training.module import TrainingModule
from jobs.training.plan import TrainingPlan
from jobs.training.worker import STATE, train_in_worker
from saliency_core.networks.weights import StateDict

Found = TypeVar("Found")

OnEpoch = Callable[[dict[str, Any]], None]
"""Is shown the row of every epoch as soon as it is finished."""

FOLDER = "_training"
"""Below the output: Ray Train's checkpoints, while a run lasts."""


@dataclass(frozen=True)
class Trained:
    """What training leaves.

    Parameters
    ----------
    tensors : mapping of str to Tensor
        The state dict of the module after the best epoch.
    history : list of dict
        A row for every epoch.
    best_epoch : int
        Counted from 1.
    stopped_early : bool
    """

    tensors: StateDict
    history: list[dict[str, Any]]
    best_epoch: int
    stopped_early: bool

    def part(self, name: str) -> StateDict:
        """Return the state dict of one part of the module."""
        prefix = f"{name}."
        return {key.removeprefix(prefix): value for key, value in self.tensors.items() if key.startswith(prefix)}


def fit(
    plan: TrainingPlan,
    make_module: Callable[[], TrainingModule],
    sets: Mapping[str, ray.data.Dataset],
    on_epoch: OnEpoch,
    folder: str = "",
) -> Trained:
    """Train as planned, from the last checkpoint in the output where there is one.

    Parameters
    ----------
    plan : TrainingPlan
    make_module : callable
        Is called in every worker, and so travels there.
    sets : mapping of str to Dataset
        One for each of `jobs.training.module.PARTS`, with the columns that the module reads.
    on_epoch : OnEpoch
    folder : str
        Above the checkpoints, below the output; for jobs that train several times.

    Raises
    ------
    TrainingError
        With the reason of the last failed attempt.
    """
    settings = plan.settings
    reports: Queue = Queue(actor_options={"num_cpus": 0})
    config = {
        "make_module": make_module,
        "batch_size": plan.batch_size_per_worker,
        "cpus": plan.cpus_per_worker,
        "reports": reports,
    }
    filesystem, path = checkpoint_storage(storage.join(settings.output, folder).rstrip("/"))
    trainer = ray.train.torch.TorchTrainer(
        train_in_worker,
        train_loop_config=config,
        scaling_config=ray.train.ScalingConfig(
            num_workers=plan.workers,
            use_gpu=bool(plan.cluster.gpus),
            resources_per_worker={"CPU": plan.cpus_per_worker} | ({"GPU": 1} if plan.cluster.gpus else {}),
        ),
        run_config=ray.train.RunConfig(
            name=FOLDER,
            storage_path=path,
            storage_filesystem=filesystem,
            failure_config=ray.train.FailureConfig(
                max_failures=settings.max_failures,
                controller_failure_limit=settings.max_failures,  # type: ignore[call-arg]
            ),
            # The best one and, whatever its score, the last one.
            checkpoint_config=ray.train.CheckpointConfig(
                num_to_keep=1, checkpoint_score_attribute="validation_loss", checkpoint_score_order="min"
            ),
        ),
        datasets=dict(sets),
        dataset_config=ray.train.DataConfig(
            # The same images make up the same batches in every start of a run.
            execution_options=ray.data.ExecutionOptions(preserve_order=True)
        ),
    )
    with _Listener(reports, on_epoch):
        try:
            result = _in_a_thread(trainer.fit)
        except ray.train.TrainingFailedError as error:
            raise TrainingError(_reason(error)) from error
    assert result.metrics is not None
    history = json.loads(result.metrics["history"])
    checkpoint, metrics = min(result.best_checkpoints or [], key=lambda pair: pair[1]["validation_loss"])
    with checkpoint.as_directory() as folder:
        state = torch.load(Path(folder) / STATE, map_location="cpu", weights_only=True)
    return Trained(state["state_dict"], history, metrics["epoch"], len(history) < settings.epochs)


def _in_a_thread(call: Callable[[], Found]) -> Found:
    """Wait for what runs in a thread of its own.

    In the main thread Ray Train would put a handler of SIGINT in the place of the job's: one that ends the process with
    the exit code 0.
    """
    found: Future[Found] = Future()

    def run() -> None:
        try:
            found.set_result(call())
        except BaseException as error:  # handed over to the main thread
            found.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return found.result()


class _Listener:
    """Shows what the workers report, in a thread, for a ``with`` block."""

    def __init__(self, reports: Queue, on_epoch: OnEpoch) -> None:
        self.reports, self.on_epoch = reports, on_epoch
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        self.reports.shutdown()

    def _listen(self) -> None:
        while True:
            is_last = self._end.is_set()
            try:
                while True:
                    self.on_epoch(self.reports.get(timeout=0.5))
            except Empty:
                if is_last:
                    return


def _reason(error: Exception) -> str:
    """Find the sentence of the worker that failed first in Ray Train's account."""
    failures = getattr(error, "worker_failures", None) or {}
    causes: list[BaseException] = [failures[rank] for rank in sorted(failures)] or [error]
    cause = causes[0]
    while (inner := getattr(cause, "cause", None) or cause.__cause__) is not None and inner is not cause:
        cause = inner
    return " ".join(str(cause).split()) or type(cause).__name__
