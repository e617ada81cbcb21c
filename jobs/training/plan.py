"""What every training run settles before any work: workers, and what the output holds."""

import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

from jobs.errors import SettingsError
from jobs.planning.cluster import TASK_SLOTS, Cluster, check_slots
from jobs.run.layout import RECORD, SUCCESS
from jobs.run.recorded import refuse_other_settings
from jobs.storage import files as storage
from jobs.training.settings import TrainingSettings

if TYPE_CHECKING:  # it imports torch, for which nobody with a wrong setting shall wait
    from saliency_core.networks.classifier import Classifier

OutputState = Literal["new", "unfinished", "finished", "overwrite"]


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """The part of a checked run that all training jobs have.

    Parameters
    ----------
    settings : TrainingSettings
    classifier : Classifier
        The network to begin with.
    cluster : Cluster
    workers, cpus_per_worker : int
        Processes that train, and the CPU slots of each.
    output_state : {"new", "unfinished", "finished", "overwrite"}
        "unfinished" goes on where an earlier start of the same run stopped; "finished" is the same run, done.
    record : dict, optional
        The record of the run that is there, with `output_state` as its ``state``.
    """

    job: ClassVar[str]
    """What the record of a run calls the job."""

    room: ClassVar[str]
    """Its folder below ``jobs/``, where the template of the model card lies."""

    own_files: ClassVar[tuple[str, ...]] = ()
    """What a run of this job leaves beside what all leave."""

    settings: TrainingSettings
    classifier: "Classifier"
    cluster: Cluster
    workers: int
    cpus_per_worker: int
    output_state: OutputState = "new"
    record: dict[str, Any] | None = None

    @property
    def fingerprint(self) -> str:
        """Digest of all that decides the results."""
        raise NotImplementedError

    @property
    def contents(self) -> Mapping[str, tuple[str, str]]:
        """What is read: by what a person calls it, its key in the record and its checksum."""
        raise NotImplementedError

    def facts(self) -> dict[str, Any]:
        """Return what else the record of a run says of its plan."""
        raise NotImplementedError

    def describe(self) -> str:
        """Return the plan as lines for a person."""
        raise NotImplementedError

    @property
    def batch_size_per_worker(self) -> int:
        """Images a step of one worker."""
        return max(1, self.settings.batch_size // self.workers)

    def steps_of(self, images: int) -> int:
        """Return the steps an epoch: what is left for a smaller batch waits for the next epoch's order."""
        rows = -(-images // self.workers)
        return max(1, rows // self.batch_size_per_worker)

    @property
    def slots_asked(self) -> int:
        """CPU slots that the run needs at least."""
        return self.workers * self.cpus_per_worker + TASK_SLOTS

    def describe_work(self, images: int) -> list[str]:
        """Return what a person wants to know of epochs, slots and output, as lines."""
        settings = self.settings
        return [
            f"epochs    up to {settings.epochs} of {self.steps_of(images)} steps of "
            f"{self.batch_size_per_worker * self.workers} images, patience {settings.patience}, "
            f"seed {settings.seed}",
            f"slots     {self.slots_asked} CPU asked, {self.cluster.slots} available; {self.cluster.gpus} GPUs; "
            f"{self.workers} workers",
            f"cluster   {self.cluster.address or 'started on this machine'}",
            f"output    {storage.redacted(settings.output)} ({self.output_state})",
        ]


Plan = TypeVar("Plan", bound=TrainingPlan)


def common_fields(kind: type[TrainingPlan], settings: TrainingSettings, cluster: Cluster) -> dict[str, Any]:
    """Settle the fields of a plan that all jobs settle alike.

    Raises
    ------
    SettingsError
        If there is no room for the workers, or the output cannot be used.
    """
    # Workers may run in another folder.
    settings = dataclasses.replace(settings, output=storage.absolute(settings.output))
    workers, cpus = share_workers(settings, cluster)
    record = stored_record(settings, kind.job)
    return {"settings": settings, "cluster": cluster, "workers": workers, "cpus_per_worker": cpus, "record": record}


def settled(plan: Plan, images: int | None = None) -> Plan:
    """Check a plan against its training images, where their number is known, and against what its output holds.

    Raises
    ------
    SettingsError
        If there are fewer images than workers, or the output holds a run with other settings, or of other contents.
    """
    if images is not None and images < plan.workers:
        raise SettingsError(f"{plan.workers} workers have {images} training images: give fewer workers")
    return dataclasses.replace(plan, output_state=_output_state(plan))


def share_workers(settings: TrainingSettings, cluster: Cluster) -> tuple[int, int]:
    """Return how many workers train, and the CPU slots of each.

    Raises
    ------
    SettingsError
        If there is no room for them, or a batch cannot be shared evenly.
    """
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


def stored_record(settings: TrainingSettings, job: str) -> dict[str, Any] | None:
    """Read what an earlier start left, and note in ``state`` whether it finished.

    Raises
    ------
    SettingsError
        If the output cannot be used, or holds a run of another job than `job` that must not be removed.
    """
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
    if record.get("job") != job and not settings.overwrite:
        raise SettingsError(f"{storage.redacted(output)} holds a run of another job: give another --output")
    return record | {"state": "finished" if is_finished else "unfinished"}


def _output_state(plan: TrainingPlan) -> OutputState:
    """Say what the plan's record means for a start with its settings."""
    record = plan.record
    if record is None:
        return "new"
    if plan.settings.overwrite:
        return "overwrite"
    different = plan.settings.differences(record["settings"])
    different += [what for what, (key, checksum) in plan.contents.items() if record.get(key) != checksum]
    refuse_other_settings(plan.settings.output, record["state"] == "finished", different)
    state_there: OutputState = record["state"]
    return state_there
