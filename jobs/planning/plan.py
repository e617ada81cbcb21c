"""What a run will do, settled and checked before any work: input, network, slots, state of the output."""

import dataclasses
import functools
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jobs.errors import SettingsError
from jobs.inputs.listing import described
from jobs.inputs.manifest import KnownImages, StagedManifest, joined_digest, stage_manifest
from jobs.inputs.sources import open_inputs
from jobs.planning.cluster import TASK_SLOTS, Cluster
from jobs.planning.cost import cost_per_million
from jobs.planning.network_pool import NetworkPool, network_pool
from jobs.planning.prediction import Prediction, prediction
from jobs.planning.sizes import bytes_of_an_image
from jobs.run.manifest_files import known_images
from jobs.run.output import OutputState, finished_shards, look
from jobs.run.recorded import refuse_other_settings
from jobs.run.redo import failed_shards
from jobs.run.shards import Segment, Shards, choose_rows_per_shard
from jobs.run.tally import read_tally
from jobs.settings import SaliencySettings
from jobs.storage import files as storage
from jobs.storage.hashing import hash64
from saliency_core.errors import ClassifierError
from saliency_core.methods.registry import METHODS, MULTI_CONTEXT, NetworkMethod
from saliency_core.networks.torchvision_names import check_torchvision_name
from saliency_core.parameters import OBJECTS

if TYPE_CHECKING:
    from jobs.planning.networks import FineTuned
    from saliency_core.networks.classifier import Classifier


@dataclass(frozen=True, eq=False)
class Plan:
    """A checked run.

    Parameters
    ----------
    settings : SaliencySettings
    classifier : Classifier, optional
        None for a method without a network.
    shards : Shards
        All of the run, with those that are to be added to it.
    masks : int
        Images with a mask.
    manifest_sha256 : str
        Digest of the manifest.
    cluster : Cluster
    pool : NetworkPool, optional
        The network workers; None for a method without a network.
    output_state : {"new", "unfinished", "finished", "overwrite"}
        What the output holds: see `jobs.run.output.FoundOutput`.
    record : dict, optional
        The record of the unfinished or finished run that is there.
    staged : StagedManifest, optional
        Rows of the manifest that are to be written: all of a new run, the new ones of one that is extended.
    finished : int64 array
        Shards whose results are there.
    failed : dict of int to int
        Shards with rows that are to be done again, and how many.
    fine_tuned : FineTuned, optional
        Where the network comes from, if it is one of the fine-tuning job's.
    epoch : str
        Of the results, see `jobs.run.layout.shard_file`.
    left_out : dict
        Files of the input folder that are no images by their extension: how many, by extension.
    """

    settings: SaliencySettings
    classifier: "Classifier | None"
    shards: Shards
    masks: int
    manifest_sha256: str
    cluster: Cluster
    pool: NetworkPool | None
    output_state: OutputState
    record: dict[str, Any] | None = None
    staged: StagedManifest | None = None
    finished: NDArray[np.int64] = dataclasses.field(default_factory=lambda: np.empty(0, np.int64))
    failed: dict[int, int] = dataclasses.field(default_factory=dict)
    fine_tuned: "FineTuned | None" = None
    epoch: str = ""
    left_out: dict[str, int] = dataclasses.field(default_factory=dict)

    @property
    def stages(self) -> Sequence[str]:
        """Names of the method's maps."""
        return self.settings.stages

    @property
    def images(self) -> int:
        """Images of the run."""
        return self.shards.images

    @property
    def written_shards(self) -> Shards:
        """Those whose rows of the manifest are below the output already."""
        segments = self.shards.segments if self.staged is None else self.shards.segments[:-1]
        return dataclasses.replace(self.shards, segments=segments)

    @property
    def remaining(self) -> NDArray[np.int64]:
        """The shards that have no results yet, in order."""
        return np.setdiff1d(self.shards.numbers, self.finished)

    @property
    def rows_to_do(self) -> int:
        """Images that will be worked on."""
        return int(self.shards.rows(self.remaining).sum()) + sum(self.failed.values())

    def _depths(self) -> list[str] | str | None:
        """Say where the network is read for the map of whole objects."""
        if self.classifier is None or OBJECTS not in self.stages or not self.settings.views.depths:
            return None
        # Here, because it imports torch, which is there where a classifier is.
        from saliency_core.methods.depths import depths_of
        from saliency_core.methods.window_network import MultiContext

        read = self.classifier.of_images if isinstance(self.classifier, MultiContext) else self.classifier
        places = [f"{depth.module} ({depth.side} x {depth.side})" for depth in depths_of(read)]
        return places or "none: the network has no values on a grid, whole objects are found from the raw map alone"

    @property
    def is_nothing_to_do(self) -> bool:
        """Whether the output is finished as asked."""
        return self.output_state == "finished" and self.rows_to_do == 0

    @property
    def fingerprint(self) -> str:
        """Digest of all that decides the results."""
        checksum = self.classifier.weights_sha256 if self.classifier else None
        return self.settings.fingerprint(checksum, self.manifest_sha256)

    @property
    def run_id(self) -> str:
        """Name of the run in logs and metrics: that of its output, whichever start of it."""
        return f"{hash64(self.settings.output):016x}"[:8]

    def recorded(self) -> dict[str, Any]:
        """Return the plan as plain values, for the record of the run."""
        classifier = self.classifier
        return {
            "run_id": self.run_id,
            "fingerprint": self.fingerprint,
            "settings": self.settings.recorded(),
            **self.shards.recorded(),
            "epoch": self.epoch,
            "masks": self.masks,
            "left_out": self.left_out,
            "manifest_sha256": self.manifest_sha256,
            "weights_source": classifier.weights_source if classifier else None,
            "weights_sha256": classifier.weights_sha256 if classifier else None,
            "fine_tuned": self.fine_tuned.origin if self.fine_tuned else None,
            "depths": self._depths(),
            "cluster": {
                "slots": self.cluster.slots,
                "gpus": self.cluster.gpus,
                "network_workers": self.network_workers,
                "least_network_workers": self.pool.least if self.pool else 0,
                "network_workers_on": str(self.pool) if self.pool else None,
                "nodes": self.cluster.nodes,
            },
        }

    def describe(self) -> str:
        """Return the plan as lines for a person."""
        settings = self.settings
        lines = [f"method    {settings.method}, preset {settings.preset}: {', '.join(self.stages)}"]
        if self.classifier is not None:
            size = self.classifier.preprocessing.input_size
            weights = self.fine_tuned.origin["uri"] if self.fine_tuned else storage.redacted(settings.weights)
            classes = f"{len(self.classifier.class_names)} classes"
            tells = "a pair that tells salient windows" if settings.method == MULTI_CONTEXT else classes
            lines += [
                f"model     {self.classifier.name}, input {size} x {size}, {tells}",
                f"weights   {weights} ({self.classifier.weights_source}, sha256 {self.classifier.weights_sha256[:12]})",
            ]
        count = len(self.shards.numbers)
        predicted = self._prediction()
        lines.append(f"images    {self.images} of {settings.source}, {self.masks} with a mask")
        if self.left_out:
            lines.append(f"left out  {described(self.left_out)}")
        lines += [f"warning   {warning}" for warning in (self.staged.warnings if self.staged else ())]
        lines += [
            f"shards    {count} of up to {self.shards.rows_per_shard} images",
            f"slots     {self.slots_asked} CPU asked, {self.cluster.slots} available; {self.cluster.gpus} GPUs",
            f"network   {self.pool or 'none'}",
            f"speed     {predicted.text}",
            *self._cost(predicted),
            f"cluster   {self.cluster.address or 'started on this machine'}",
            f"output    {storage.redacted(settings.output)} ({self.output_state}, "
            f"{len(self.finished)} of {count} shards are there)",
        ]
        if settings.extend and self.record is not None:
            lines.append(f"extend    {self.staged.images if self.staged else 0} new images")
        if settings.retried_statuses:
            lines.append(f"retry     {sum(self.failed.values())} rows in {len(self.failed)} shards")
        return "\n".join(lines)

    def _cost(self, predicted: Prediction) -> list[str]:
        settings = self.settings
        if settings.price_gpu is None and settings.price_cpu is None:
            return []
        gpus, slots, rate = self.cluster.gpus, self.cluster.slots, predicted.images_per_second
        if rate is None:
            return ["cost      unknown, as the speed is: --timings names an earlier run that tells it"]
        cost = cost_per_million(rate, gpus, slots, settings.price_gpu, settings.price_cpu)
        return [f"cost      about {cost:.2f} a million images, for {gpus} GPUs and {slots} CPU slots at that speed"]

    def _prediction(self) -> Prediction:
        cluster, workers = self.cluster, self.network_workers
        if cluster.slots < TASK_SLOTS:
            return Prediction("unknown: the cluster's nodes are yet to come")
        gpus = cluster.gpus if self.gpu_share else 0
        if self.gpu_share and not gpus:
            return Prediction("unknown: the GPUs are yet to come")
        if self.pool is not None and self.pool.is_elastic:  # what is there now
            workers = max(self.pool.least, min(workers, gpus or cluster.slots - TASK_SLOTS))
        said = prediction(self.settings, gpus, workers, cluster.slots, cluster.address is None)
        if self.pool is None or not self.pool.is_elastic:
            return said
        return dataclasses.replace(said, text=f"{said.text} with the nodes that are there now")

    @property
    def network_workers(self) -> int:
        """Network workers at most; 0 for a method without a network."""
        return self.pool.most if self.pool else 0

    @property
    def bytes_of_a_shard(self) -> int:
        """Bytes of a shard between the steps, about."""
        size = self.classifier.preprocessing.input_size if self.classifier else None
        return self.shards.rows_per_shard * bytes_of_an_image(self.settings, size)

    @property
    def gpu_share(self) -> float:
        """What part of a GPU each network worker has; 0 where they compute on CPUs."""
        return self.pool.gpu_share if self.pool else 0.0

    @property
    def expected_slots(self) -> int:
        """CPU slots that may work on the run: where nodes are to come, as many as the network workers want at least."""
        if not self.cluster.has_autoscaler and not (self.pool and self.pool.is_elastic):
            return self.cluster.slots
        each = self.settings.cpus_per_network_worker
        return max(self.cluster.most_slots, self.network_workers * (each + TASK_SLOTS))

    @property
    def slots_asked(self) -> int:
        """CPU slots that the run needs at least."""
        return (self.pool.least if self.pool else 0) * self.settings.cpus_per_network_worker + TASK_SLOTS


def make_plan(settings: SaliencySettings, cluster: Cluster, before_network: Callable[[], None] = lambda: None) -> Plan:
    """Check everything that can be checked before work starts. Nothing is written.

    Parameters
    ----------
    settings : SaliencySettings
    cluster : Cluster
    before_network : callable
        Called when all else is in order and the network is about to be read, unless the run is finished already.

    Returns
    -------
    Plan

    Raises
    ------
    SettingsError
        With one sentence that says what is wrong and what to do.
    """
    # Workers may run in another folder.
    try:
        settings = dataclasses.replace(settings, output=storage.absolute(settings.output))
    except (ValueError, ImportError) as error:  # no such kind of store, or credentials in the URI
        raise SettingsError(f"the output cannot be used: {storage.redacted(str(error))}") from error
    found = look(settings.output, settings.overwrite)
    if found.record is None and (settings.extend or settings.retried_statuses):
        raise SettingsError(
            f"there is no run at {storage.redacted(settings.output)} to extend or to retry: "
            "leave --extend, --retry-errors and --retry-statuses out to start one"
        )
    needs_network = isinstance(METHODS[settings.method], NetworkMethod)
    pool = network_pool(settings, cluster) if needs_network else None
    plan = Plan(settings, None, Shards(1), 0, "", cluster, pool, found.state, found.record)
    try:
        before = before_network if found.state != "finished" else lambda: None
        plan, load = _with_network(plan, before) if needs_network else (plan, lambda: None)
        return _begun(plan, load) if found.record is None else _resumed(plan, found.record, load)
    except ClassifierError as error:
        raise SettingsError(storage.redacted(str(error))) from error


_Load = Callable[[], "Classifier | None"]


def _with_network(plan: Plan, before: Callable[[], None]) -> tuple[Plan, _Load]:
    """Check the network's name, and return how to load it: that is done when it is asked for first."""
    settings, fine_tuned = plan.settings, None
    if settings.model_from:
        # Here and below, because it imports torch: neither what needs no network nor who mistypes waits for it.
        from jobs.planning.networks import read_fine_tuned, with_its_architecture

        fine_tuned = read_fine_tuned(settings.model_from)
        settings = with_its_architecture(settings, fine_tuned)
    if settings.model.isidentifier():  # neither the user's own code nor another collection's name
        check_torchvision_name(settings.model)

    @functools.cache
    def load() -> "Classifier":
        before()
        from jobs.planning.networks import chosen_classifier

        return chosen_classifier(settings, fine_tuned)

    return dataclasses.replace(plan, settings=settings, fine_tuned=fine_tuned), load


def _begun(plan: Plan, load: _Load) -> Plan:
    """Complete the plan of a run that begins."""
    settings, staged = _staged(plan.settings, load, None)
    classifier = load()
    each = bytes_of_an_image(settings, classifier.preprocessing.input_size if classifier else None)
    rows = choose_rows_per_shard(staged.images, plan.expected_slots, settings.rows_per_file, each)
    return dataclasses.replace(
        plan,
        settings=settings,
        classifier=classifier,
        shards=Shards(rows, (Segment(0, staged.images),)),
        masks=staged.masks,
        manifest_sha256=staged.digest,
        staged=staged,
        epoch=secrets.token_hex(4) if plan.output_state == "overwrite" else "",
        left_out=staged.left_out,
    )


def _staged(
    settings: SaliencySettings, load: _Load, known: KnownImages | None
) -> tuple[SaliencySettings, StagedManifest]:
    """List the inputs; return them with the settings, which say then how masks are coded."""

    def class_names() -> Sequence[str] | None:
        classifier = load()
        return classifier.class_names if classifier else None

    inputs = open_inputs(settings)
    if settings.mask_format == "auto":
        settings = dataclasses.replace(settings, mask_format=inputs.mask_format)
    return settings, stage_manifest(inputs, settings.label, class_names, known)


def _resumed(plan: Plan, record: dict[str, Any], load: _Load) -> Plan:
    """Complete the plan of a run that is there from what its earlier starts left, or refuse other settings."""
    output = plan.settings.output
    settings = plan.settings
    if settings.mask_format == "auto":
        settings = dataclasses.replace(settings, mask_format=record["settings"]["mask_format"])
    plan = dataclasses.replace(plan, classifier=load())
    different = settings.differences(record["settings"])
    checksum = plan.classifier.weights_sha256 if plan.classifier else None
    if checksum != record["weights_sha256"]:
        different.append(f"weights (sha256 {_short(record['weights_sha256'])} there, {_short(checksum)} here)")
    refuse_other_settings(output, plan.output_state == "finished", different)
    plan = dataclasses.replace(
        plan,
        settings=settings,
        shards=Shards.from_record(record),
        masks=record["masks"],
        left_out=record["left_out"],
        manifest_sha256=record["manifest_sha256"],
        epoch=record.get("epoch", ""),
    )
    plan = dataclasses.replace(plan, finished=finished_shards(output, plan.shards, plan.epoch))
    if plan.output_state == "finished" and len(plan.remaining):
        # Somebody has removed results of a finished run: it is none any more.
        plan = dataclasses.replace(plan, output_state="unfinished")
    if settings.extend:
        plan = _extended(plan, load)
    if settings.retried_statuses:
        plan = dataclasses.replace(plan, failed=_failed(plan))
    return plan


def _extended(plan: Plan, load: _Load) -> Plan:
    """Add the images to the plan that have come since the manifest was made."""
    _, staged = _staged(plan.settings, load, known_images(plan.settings.output, plan.shards))
    if not staged.images:
        return plan
    return dataclasses.replace(
        plan,
        shards=plan.shards.extended(staged.images),
        masks=plan.masks + staged.masks,
        manifest_sha256=joined_digest(plan.manifest_sha256, staged.digest),
        staged=staged,
        left_out=staged.left_out,
    )


def _failed(plan: Plan) -> dict[int, int]:
    """Find the shards with rows that are to be done again."""
    output = plan.settings.output
    tally, _ = read_tally(output, plan.stages)
    # The sums know the shards of most failures, so that only these have to be looked into.
    shards = [shard for shard in plan.finished.tolist() if shard in tally.failed or shard not in tally.covered]
    return dict(failed_shards(output, shards, plan.epoch, plan.settings.retried_statuses))


def _short(checksum: str | None) -> str:
    return checksum[:12] if checksum else "none"
