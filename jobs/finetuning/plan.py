"""What a fine-tuning run will do, settled and checked before any work: images, classes, network, workers, output."""

import dataclasses
import json
import os
from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal

from jobs.errors import SettingsError
from jobs.finetuning.labels import Images, list_images
from jobs.finetuning.settings import FinetuneSettings
from jobs.planning.cluster import TASK_SLOTS, Cluster, check_slots
from jobs.planning.networks import weights_at
from jobs.run.layout import RECORD, SUCCESS
from jobs.storage import files as storage
from saliency_core.errors import ClassifierError
from saliency_core.networks.classifier import Classifier
from saliency_core.networks.heads import classifier_with_classes

OutputState = Literal["new", "unfinished", "finished", "overwrite"]


@dataclass(frozen=True)
class FinetunePlan:
    """A checked run.

    Parameters
    ----------
    settings : FinetuneSettings
    classifier : Classifier
        With the classes to learn and the weights to start from.
    images : Images
    cluster : Cluster
    workers, cpus_per_worker : int
        Processes that train, and the CPU slots of each.
    output_state : {"new", "unfinished", "finished", "overwrite"}
        "unfinished" goes on where an earlier start of the same run stopped; "finished" is the same run, done.
    record : dict, optional
        The record of the run that is there, with `output_state` as its ``state``.
    """

    settings: FinetuneSettings
    classifier: Classifier
    images: Images
    cluster: Cluster
    workers: int
    cpus_per_worker: int
    output_state: OutputState
    record: dict[str, Any] | None = None

    @property
    def fingerprint(self) -> str:
        """Digest of all that decides the results."""
        return self.settings.fingerprint(self.classifier.weights_sha256, self.images.sha256)

    @property
    def batch_size_per_worker(self) -> int:
        """Images a step of one worker."""
        return max(1, self.settings.batch_size // self.workers)

    @property
    def steps_per_epoch(self) -> int:
        """Steps an epoch: what is left for a smaller batch waits for the next epoch's order."""
        rows = -(-len(self.images.train) // self.workers)
        return max(1, rows // self.batch_size_per_worker)

    def describe(self) -> str:
        """Return the plan as lines for a person."""
        settings, images, classifier = self.settings, self.images, self.classifier
        counts = sorted(Counter(images.train.labels).values())
        parts = ", ".join(f"{len(part)} {name}" for name, part in images.parts.items())
        without = sum(part.without_class for part in images.parts.values())
        size = classifier.preprocessing.input_size
        rates = {
            "all": f"{settings.learning_rate:g} for all layers",
            "head-faster": f"{settings.learning_rate:g}, last layer {settings.head_learning_rate:g}",
            "head-only": f"{settings.head_learning_rate:g} for the last layer alone",
        }[settings.strategy]
        return "\n".join(
            [
                f"images    {parts} of {settings.source}; {without} without a class left out",
                f"classes   {len(images.class_names)}, of {counts[0]} to {counts[-1]} training images",
                f"model     {classifier.name}, input {size} x {size}",
                f"weights   {storage.redacted(settings.weights)} "
                f"({classifier.weights_source}, sha256 {classifier.weights_sha256[:12]})",
                f"strategy  {settings.strategy}: {settings.optimiser}, rate {rates}, {settings.schedule}",
                f"epochs    up to {settings.epochs} of {self.steps_per_epoch} steps of "
                f"{self.batch_size_per_worker * self.workers} images, patience {settings.patience}, "
                f"seed {settings.seed}",
                f"slots     {self.slots_asked} CPU asked, {self.cluster.slots} available; {self.cluster.gpus} GPUs; "
                f"{self.workers} workers",
                f"cluster   {self.cluster.address or 'started on this machine'}",
                f"output    {storage.redacted(settings.output)} ({self.output_state})",
            ]
        )

    @property
    def slots_asked(self) -> int:
        """CPU slots that the run needs at least."""
        return self.workers * self.cpus_per_worker + TASK_SLOTS


def make_plan(settings: FinetuneSettings, cluster: Cluster) -> FinetunePlan:
    """Check everything that can be checked before work starts. Nothing is written.

    Raises
    ------
    SettingsError
        With one sentence that says what is wrong and what to do.
    """
    # Workers may run in another folder.
    settings = dataclasses.replace(settings, output=storage.absolute(settings.output))
    workers, cpus = _workers(settings, cluster)
    record = stored_record(settings)
    images = list_images(settings)
    classifier = _classifier(settings, images.class_names)
    plan = FinetunePlan(settings, classifier, images, cluster, workers, cpus, "new")
    if len(images.train) < workers:
        raise SettingsError(f"{workers} workers have {len(images.train)} training images: give fewer workers")
    if record is None:
        return plan
    if settings.overwrite:
        return dataclasses.replace(plan, output_state="overwrite", record=record)
    _check_same(plan, record)
    return dataclasses.replace(plan, output_state=record["state"], record=record)


def _workers(settings: FinetuneSettings, cluster: Cluster) -> tuple[int, int]:
    workers = settings.workers or cluster.gpus or 1
    if cluster.gpus and workers > cluster.gpus:
        raise SettingsError(f"{workers} workers need a GPU each, but there are {cluster.gpus}")
    if settings.batch_size % workers:
        raise SettingsError(f"a batch of {settings.batch_size} cannot be shared by {workers} workers: give a multiple")
    cpus = settings.cpus_per_worker
    if cpus is None:
        cores = cluster.slots if cluster.address else min(cluster.slots, os.cpu_count() or 1)
        free = min(cores, cluster.slots - TASK_SLOTS)
        cpus = 1 if cluster.gpus else max(1, free // workers)
    check_slots(cluster, workers, cpus)
    return workers, cpus


def stored_record(settings: FinetuneSettings) -> dict[str, Any] | None:
    """Read what an earlier start left, and note in ``state`` whether it finished."""
    output = settings.output
    try:
        is_finished, is_there = (storage.exists(storage.join(output, name)) for name in (SUCCESS, RECORD))
        record = json.loads(storage.read_bytes(storage.join(output, RECORD))) if is_there else None
    except Exception as error:  # every storage has errors of its own
        raise SettingsError(
            f"the output {storage.redacted(output)} cannot be used: {storage.redacted(str(error))}"
        ) from error
    if record is None:
        return None
    if record.get("job") != "finetune" and not settings.overwrite:
        raise SettingsError(f"{storage.redacted(output)} holds a run of another job: give another --output")
    return record | {"state": "finished" if is_finished else "unfinished"}


def _check_same(plan: FinetunePlan, record: dict[str, Any]) -> None:
    different = plan.settings.differences(record["settings"])
    if plan.images.sha256 != record["images_sha256"]:
        different.append("the images and their classes")
    if plan.classifier.weights_sha256 != record["start_weights_sha256"]:
        different.append("weights")
    if different:
        state = "a finished" if record["state"] == "finished" else "an unfinished"
        raise SettingsError(
            f"{storage.redacted(plan.settings.output)} holds {state} run with other settings "
            f"({', '.join(different)}): give the same settings to go on with it, another --output, or --overwrite"
        )


def _classifier(settings: FinetuneSettings, class_names: tuple[str, ...]) -> Classifier:
    try:
        return classifier_with_classes(
            settings.model,
            weights_at(settings.weights),
            class_names=class_names,
            input_size=settings.input_size,
            seed=settings.seed,
        )
    except ClassifierError as error:
        raise SettingsError(storage.redacted(str(error))) from error
