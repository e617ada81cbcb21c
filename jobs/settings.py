"""The settings of the saliency job: one typed object for the command line, for Python and for files."""

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from jobs.errors import SettingsError
from jobs.run.schema import STATUSES
from jobs.storage.redaction import redacted
from saliency_core.imaging.options import DEFAULT_MAX_PIXELS, MaskFormat
from saliency_core.methods.registry import METHODS
from saliency_core.networks.options import PRETRAINED, Precision, Scores
from saliency_core.parameters import (
    WORKING_SIZE,
    ErasureParameters,
    LowLevelParameters,
    RefinementParameters,
    SaliencyParameters,
    SuperpixelParameters,
)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class SaliencySettings:
    """Settings of the saliency job.

    Parameters
    ----------
    output
        Where the results go: a folder or prefix.
    images
        The images: a folder or prefix, a text file of URIs (.txt), or a manifest (.parquet or .csv with a column
        `uri` and, where wanted, `mask_uri`, `label` and `id`).
    masks
        A folder or prefix of ground truth masks, paired with the images by name without the extension.
    dataset
        Instead of images and masks: a data set by name, such as voc2012, msra10k or ecssd.
    root
        Where that data set was unpacked.
    split
        Which split of it; by default its test set.
    class_labels
        Explain the class that the data set gives for each image (VOC: its largest object), not the recognised one.
    method
        The saliency method.
    model
        The network: any classification network of torchvision, by name.
    weights
        Its weights: "pretrained" (torchvision's own, downloaded once), "random", or the URI of a .safetensors file
        or of a state dict.
    model_from
        Instead of a model and weights: the output of a run of jobs.finetune, or the URI of its model.safetensors.
    class_names
        URI of a text file with one class name a line.
    num_classes
        Number of classes; by default as many as the weights have.
    input_size
        Side of the network's square input in pixels; by default as the network was trained.
    scores
        Which scores are erased: the network's logits, or those before its last ReLU (SqueezeNet).
    label
        The class to explain in every image; by default the one recognised, or the manifest's.
    working_size
        Photographs with a longer side are reduced to it for superpixels and maps.
    map_size
        Size at which maps are stored and scored: working or original size.
    max_pixels
        Images with more pixels are not decoded; their status is too_large.
    accept_truncated
        Take what is there of JPEG, PNG and BMP files that end early; the column share_read says how much.
    mask_format
        How masks are coded: "binary" (0/1 or 0/255), "voc" (indices, 255 is void), "ids" (all but 0), or found out.
    mask_orientation
        Where EXIF turns an image without changing its size: does its mask follow the stored pixels or the
        displayed ones?
    precision
        What the network computes in: float32 (the reference), tf32 (NVIDIA GPUs), bfloat16 or float16.
    compile
        Compile the network (torch.compile) when a worker starts; where that fails it runs uncompiled, with a warning.
    timings
        Output of an earlier run, from whose measured times --dry-run predicts the speed of this one.
    batch_size
        Images per pass of the network at most; by default as many as fit a GPU's free memory, up to 16 on a CPU.
    rows_per_file
        Images per results file, the unit in which work is done and kept; by default up to 96.
    network_workers
        Processes that hold the network; by default one a GPU, or all CPU slots but two. A multiple of the GPUs lets
        several share one, so that it computes while others read and pass on their images.
    cpus_per_network_worker
        CPU slots, and threads, of each of them.
    slots
        CPU slots of the Ray that the job starts on this machine; by default its cores, at least 4.
    ray_address
        Address of a running Ray cluster; by default the one in RAY_ADDRESS, else a Ray of the job's own.
    segment
        Cut the object out as well (SaliencyCut, from the last map), and score the segmentation.
    extend
        Add the images to the run at the output that have come since its images were listed.
    retry_errors
        Do the rows of the run at the output again whose status is not ok.
    retry_statuses
        Do only rows of these statuses again, such as fetch_error.
    overwrite
        Start afresh where the output holds a run already.
    """

    output: str
    images: str | None = None
    masks: str | None = None
    dataset: str | None = None
    root: str | None = None
    split: str | None = None
    class_labels: Annotated[bool, Parameter(negative="")] = False
    method: str = "clamped-erasure"
    model: str = "vgg16"
    weights: str = PRETRAINED
    model_from: str | None = None
    class_names: str | None = None
    num_classes: int | None = None
    input_size: int | None = None
    scores: Scores = "logits"
    label: int | None = None
    working_size: int = WORKING_SIZE
    map_size: Literal["working", "original"] = "working"
    max_pixels: int = DEFAULT_MAX_PIXELS
    accept_truncated: Annotated[bool, Parameter(negative="")] = False
    mask_format: MaskFormat = "auto"
    mask_orientation: Literal["stored", "displayed"] = "stored"
    precision: Precision = "float32"
    compile: Annotated[bool, Parameter(negative="")] = False
    timings: str | None = None
    batch_size: int | None = None
    rows_per_file: int | None = None
    network_workers: int | None = None
    cpus_per_network_worker: int = 1
    slots: int | None = None
    ray_address: str | None = None
    segment: Annotated[bool, Parameter(negative="")] = False
    extend: Annotated[bool, Parameter(negative="")] = False
    retry_errors: Annotated[bool, Parameter(negative="")] = False
    retry_statuses: Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative="")] = ()
    overwrite: Annotated[bool, Parameter(negative="")] = False
    erasure: Annotated[ErasureParameters, Parameter(name="*", group="Erasure (Eq. 1-3)")] = field(
        default_factory=ErasureParameters
    )
    superpixels: Annotated[SuperpixelParameters, Parameter(name="*", group="Superpixels (Eq. 4)")] = field(
        default_factory=SuperpixelParameters
    )
    low_level: Annotated[LowLevelParameters, Parameter(name="*", group="Low-level saliency (Eq. 5)")] = field(
        default_factory=LowLevelParameters
    )
    refinement: Annotated[RefinementParameters, Parameter(name="*", group="Refinement (Eq. 6)")] = field(
        default_factory=RefinementParameters
    )

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise SettingsError(f"there is no method {self.method!r}: choose one of {', '.join(METHODS)}")
        if (self.images is None) == (self.dataset is None):
            raise SettingsError("give either --images, or --dataset with --root")
        if self.dataset is not None and (self.root is None or self.masks is not None):
            raise SettingsError("a data set needs --root, where it was unpacked, and brings its own masks")
        if self.dataset is None and (self.root is not None or self.split is not None or self.class_labels):
            raise SettingsError("--root, --split and --class-labels belong to a --dataset: name one")
        unknown = [status for status in self.retry_statuses if status not in STATUSES[1:]]
        if unknown:
            raise SettingsError(f"no row fails with {unknown[0]!r}: choose from {', '.join(STATUSES[1:])}")
        if sum((self.overwrite, self.extend, bool(self.retried_statuses))) > 1:
            raise SettingsError("of --overwrite, --extend and --retry-errors only one can be done at a time")
        if self.model_from is not None and (self.weights != PRETRAINED or self.class_names or self.num_classes):
            raise SettingsError("--model-from brings weights and classes: leave --weights and the classes out")
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise SettingsError(f"{name} must be {least} or more, not {value}")

    @property
    def source(self) -> str:
        """What the images come from, for a person; without credentials."""
        if self.images is not None:
            return redacted(self.images)
        return redacted(f"{self.dataset} at {self.root}") + (f", split {self.split}" if self.split else "")

    @property
    def retried_statuses(self) -> tuple[str, ...]:
        """The statuses of the rows that are to be done again; none where rows are left alone."""
        return self.retry_statuses or (STATUSES[1:] if self.retry_errors else ())

    @property
    def parameters(self) -> SaliencyParameters:
        """The constants of the methods."""
        return SaliencyParameters(self.erasure, self.superpixels, self.low_level, self.refinement)

    def recorded(self) -> dict[str, Any]:
        """Return the settings as plain values, without credentials, for the record of the run."""
        values = dataclasses.asdict(self)
        return {key: redacted(value) if isinstance(value, str) else value for key, value in values.items()}

    def differences(self, recorded: dict[str, Any]) -> list[str]:
        """Say which settings decide the results, or what goes in, and differ from those of a record, and how."""
        own = json.loads(json.dumps(self.recorded()))
        names = [name for name in own if name not in _WITHOUT_EFFECT or name in _SOURCE]
        return [text for name in names for text in _difference(name, recorded.get(name), own[name])]

    def fingerprint(self, weights_sha256: str | None, manifest_sha256: str) -> str:
        """Digest all that decides the values of the results: equal fingerprints mean equal results.

        Parameters
        ----------
        weights_sha256 : str, optional
            Checksum of the network's weights; None for a method without a network.
        manifest_sha256 : str
            Digest of the list of images, masks and labels.
        """
        values = {key: value for key, value in self.recorded().items() if key not in _WITHOUT_EFFECT}
        content = {"settings": values, "weights": weights_sha256, "manifest": manifest_sha256}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _difference(name: str, there: Any, here: Any) -> list[str]:
    if there == here:
        return []
    if isinstance(there, dict) and isinstance(here, dict):
        return [text for part in here for text in _difference(part, there.get(part), here[part])]
    values = [json.dumps(value) for value in (there, here)]
    if max(map(len, values)) > _LONGEST_VALUE:
        return [name]
    return [f"{name} ({values[0]} there, {values[1]} here)"]


_LONGEST_VALUE = 80
"""Characters of a setting's value in a sentence."""

_LEAST = {
    "num_classes": 2,
    "input_size": 16,
    "label": 0,
    "working_size": 16,
    "max_pixels": 1,
    "batch_size": 1,
    "rows_per_file": 1,
    "network_workers": 1,
    "cpus_per_network_worker": 1,
    "slots": 1,
}

# What goes in: a run that goes on keeps its manifest, so these must name the same.
_SOURCE = frozenset({"images", "masks", "dataset", "root", "split", "class_labels"})

# These say where things lie and how the work is spread; the manifest and the weights count by their content.
_WITHOUT_EFFECT = _SOURCE | frozenset(
    {
        "output",
        "weights",
        "model_from",
        "compile",
        "timings",
        "batch_size",
        "rows_per_file",
        "network_workers",
        "cpus_per_network_worker",
        "slots",
        "ray_address",
        "extend",
        "retry_errors",
        "retry_statuses",
        "overwrite",
    }
)
