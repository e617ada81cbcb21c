"""What a run will do, settled and checked before any work: input, network, slots, state of the output."""

import dataclasses
import json
import os
from dataclasses import dataclass
from typing import Literal

import torch

from jobs import manifest as manifests
from jobs import results, storage
from jobs.manifest import SCHEMA, Manifest, build_manifest, list_inputs, shard_rows, stored_manifest
from jobs.settings import SaliencySettings, SettingsError
from saliency_core.classifiers import (
    PRETRAINED,
    RANDOM,
    Classifier,
    ClassifierError,
    Weights,
    check_network_name,
    load_classifier,
    read_weights,
)
from saliency_core.methods import METHODS, NetworkMethod

OutputState = Literal["new", "unfinished", "overwrite"]

SUCCESS = "_SUCCESS"
RECORD = "_run.json"
TASK_SLOTS = 2
"""CPU slots that the tasks beside the network workers need at least: one to prepare, one to finish."""


@dataclass(frozen=True)
class Cluster:
    """Where the job runs.

    Parameters
    ----------
    address : str, optional
        Of a running Ray; None: one that the job starts on this machine.
    slots : int
        CPU slots.
    gpus : int
    """

    address: str | None
    slots: int
    gpus: int


@dataclass(frozen=True)
class Plan:
    """A checked run.

    Parameters
    ----------
    settings : SaliencySettings
    classifier : Classifier, optional
        None for a method without a network.
    manifest : Manifest
    rows_per_shard, shards : int
    cluster : Cluster
    network_workers : int
        0 for a method without a network.
    output_state : {"new", "unfinished", "overwrite"}
        "unfinished" goes on where an earlier start of the same run stopped; "overwrite" replaces what is there.
    finished_shards : frozenset of int
        Shards whose results an earlier start has written.
    """

    settings: SaliencySettings
    classifier: Classifier | None
    manifest: Manifest
    rows_per_shard: int
    shards: int
    cluster: Cluster
    network_workers: int
    output_state: OutputState
    finished_shards: frozenset[int] = frozenset()

    @property
    def remaining_shards(self) -> list[int]:
        """The shards to do, in order."""
        return [shard for shard in range(self.shards) if shard not in self.finished_shards]

    @property
    def fingerprint(self) -> str:
        """Digest of all that decides the results."""
        checksum = self.classifier.weights_sha256 if self.classifier else None
        return self.settings.fingerprint(checksum, self.manifest.sha256)

    def describe(self) -> str:
        """Return the plan as lines for a person."""
        settings, manifest = self.settings, self.manifest
        lines = [f"method    {settings.method}"]
        if self.classifier is not None:
            size = self.classifier.preprocessing.input_size
            lines += [
                f"model     {self.classifier.name}, input {size} x {size}, {len(self.classifier.class_names)} classes",
                f"weights   {storage.redacted(settings.weights)} "
                f"({self.classifier.weights_source}, sha256 {self.classifier.weights_sha256[:12]})",
            ]
        lines += [
            f"images    {manifest.table.num_rows} of {settings.source}, {manifest.masks} with a mask",
            f"shards    {self.shards} of up to {self.rows_per_shard} images",
            f"slots     {self.slots_asked} CPU asked, {self.cluster.slots} available; {self.cluster.gpus} GPUs; "
            f"{self.network_workers} network workers",
            f"cluster   {self.cluster.address or 'started on this machine'}",
            f"output    {storage.redacted(settings.output)} ({self.output_state}, "
            f"{len(self.finished_shards)} of {self.shards} shards are there)",
        ]
        return "\n".join(lines)

    @property
    def slots_asked(self) -> int:
        """CPU slots that the run needs at least."""
        return self.network_workers * self.settings.cpus_per_network_worker + TASK_SLOTS


def make_plan(settings: SaliencySettings, cluster: Cluster) -> Plan:
    """Check everything that can be checked before work starts. Nothing is written.

    Parameters
    ----------
    settings : SaliencySettings
    cluster : Cluster

    Returns
    -------
    Plan

    Raises
    ------
    SettingsError
        With one sentence that says what is wrong and what to do.
    """
    # Workers may run in another folder.
    settings = dataclasses.replace(settings, output=storage.absolute(settings.output))
    state = _output_state(settings)
    method = METHODS[settings.method]
    needs_network = isinstance(method, NetworkMethod)
    workers = _network_workers(settings, cluster) if needs_network else 0
    try:
        check_network_name(settings.model)
        inputs = None if state == "unfinished" else list_inputs(settings)
        classifier = _classifier(settings) if needs_network else None
    except ClassifierError as error:
        raise SettingsError(storage.redacted(str(error))) from error
    plan = Plan(settings, classifier, Manifest(SCHEMA.empty_table(), ""), 1, 0, cluster, workers, state)
    if inputs is None:
        return _resumed(plan)
    if settings.mask_format == "auto":
        plan = dataclasses.replace(plan, settings=dataclasses.replace(settings, mask_format=inputs.mask_format))
    manifest = build_manifest(inputs, settings.label, classifier.class_names if classifier else None)
    count = manifest.table.num_rows
    rows = shard_rows(count, cluster.slots, settings.rows_per_file)
    return dataclasses.replace(plan, manifest=manifest, rows_per_shard=rows, shards=-(-count // rows))


def _resumed(plan: Plan) -> Plan:
    """Complete the plan of an unfinished run from what its earlier start left, or refuse other settings."""
    output = plan.settings.output
    record = json.loads(storage.read_bytes(storage.join(output, RECORD)))
    manifest = stored_manifest(output)
    recorded = record["settings"]
    settings = plan.settings
    if settings.mask_format == "auto":
        settings = dataclasses.replace(settings, mask_format=recorded["mask_format"])
    checksum = plan.classifier.weights_sha256 if plan.classifier else None
    different = settings.differences(recorded) + (["weights"] if checksum != record["weights_sha256"] else [])
    if different:
        raise SettingsError(
            f"{storage.redacted(output)} holds an unfinished run with other settings ({', '.join(different)}): "
            "give the same settings to go on with it, another --output, or --overwrite"
        )
    shards = record["shards"]
    names = {uri.rsplit("/", 1)[-1] for uri in storage.list_files(storage.join(output, results.FOLDER))}
    finished = frozenset(
        shard for shard in range(shards) if results.shard_file(output, shard).rsplit("/", 1)[-1] in names
    )
    return dataclasses.replace(
        plan,
        settings=settings,
        manifest=manifest,
        rows_per_shard=record["rows_per_shard"],
        shards=shards,
        finished_shards=finished,
    )


def local_cluster(settings: SaliencySettings) -> Cluster:
    """Describe the Ray that the job would start on this machine."""
    slots = settings.slots or max(4, os.cpu_count() or 1)
    return Cluster(address=None, slots=slots, gpus=torch.cuda.device_count())


def remove_run(output: str) -> None:
    """Remove a run, and nothing else that may lie in its folder; the mark of a finished one goes first."""
    for name in (SUCCESS, RECORD, results.FOLDER, manifests.FOLDER):
        storage.remove_tree(storage.join(output, name))


def _output_state(settings: SaliencySettings) -> OutputState:
    output = settings.output
    try:
        finished, recorded, filled = (
            storage.exists(storage.join(output, name)) for name in (SUCCESS, RECORD, results.FOLDER)
        )
    except Exception as error:  # every storage has errors of its own
        raise SettingsError(
            f"the output {storage.redacted(output)} cannot be reached: {storage.redacted(str(error))}"
        ) from error
    if settings.overwrite:
        return "overwrite" if finished or recorded or filled else "new"
    if finished or (filled and not recorded):
        what = "a finished run" if finished else "results without a record of their run"
        raise SettingsError(f"{storage.redacted(output)} holds {what} already: give another --output, or --overwrite")
    # The record is written behind the manifest: where it is, the run can go on.
    return "unfinished" if recorded else "new"


def _network_workers(settings: SaliencySettings, cluster: Cluster) -> int:
    each = settings.cpus_per_network_worker
    if settings.network_workers is not None:
        workers = settings.network_workers
    elif cluster.gpus:
        workers = cluster.gpus
    else:
        workers = max(1, (cluster.slots - TASK_SLOTS) // each)
    asked = workers * each + TASK_SLOTS
    if asked > cluster.slots:
        raise SettingsError(
            f"the job needs {asked} CPU slots ({workers} network workers of {each} and {TASK_SLOTS} for tasks) but "
            f"{cluster.slots} are available: give more slots or fewer workers"
        )
    if cluster.gpus and workers > cluster.gpus:
        raise SettingsError(f"{workers} network workers need a GPU each, but there are {cluster.gpus}")
    return workers


def _classifier(settings: SaliencySettings) -> Classifier:
    names = None
    if settings.class_names is not None:
        try:
            text = storage.read_bytes(storage.absolute(settings.class_names)).decode("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"the class names {settings.class_names} cannot be read: {error}") from error
        names = [line.strip() for line in text.splitlines() if line.strip()]
    weights: str | Weights = settings.weights
    if weights not in (PRETRAINED, RANDOM):
        try:
            with storage.LocalCopy(settings.weights) as path:
                weights = read_weights(path)
        except (OSError, ImportError) as error:
            raise ClassifierError(f"the weights {settings.weights} cannot be read: {error}") from error
    return load_classifier(
        settings.model,
        weights,
        num_classes=settings.num_classes,
        class_names=names,
        input_size=settings.input_size,
        scores=settings.scores,
    )
