"""The settings of the saliency job: one typed object for the command line, for Python and for files."""

from dataclasses import dataclass, fields
from typing import Annotated, Any, ClassVar, Literal, get_args

from cyclopts import Group, Parameter

from jobs.errors import SettingsError
from jobs.run.recorded import RecordedSettings
from jobs.run.schema import STATUSES
from jobs.storage.redaction import redacted
from saliency_core.imaging.options import DEFAULT_MAX_PIXELS, MaskFormat
from saliency_core.methods.registry import METHODS, stages_of
from saliency_core.networks.options import PRETRAINED, Precision, Scores
from saliency_core.parameters import (
    WORKING_SIZE,
    ErasureParameters,
    LowLevelParameters,
    ObjectParameters,
    Preset,
    RefinementParameters,
    SaliencyParameters,
    SuperpixelParameters,
    ViewParameters,
    preset,
    preset_options,
)

# What the options are about, in the order of --help.
_INPUT, _METHOD, _NETWORK, _CLUSTER, _RUN = (
    Parameter(group=Group(name, sort_key=place))
    for place, name in enumerate(("Input", "Method", "Network", "Cluster", "Run"))
)

_OF_PRESET = SaliencyParameters()
"""These very objects stand for those of the preset; equal ones that somebody gives do not."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class SaliencySettings(RecordedSettings):
    """Settings of the saliency job.

    Parameters
    ----------
    output
        Where the results go: a folder or prefix.
    images
        The images: a folder or prefix, a text file of URIs (.txt), a manifest (.parquet or .csv with a column
        `uri` and, where wanted, `mask_uri`, `label` and `id`), or archives: tar shards (one, or many as in
        "s3://b/{00000..00012}.tar"), Parquet or Arrow files that hold the images.
    masks
        A folder or prefix of ground truth masks, paired with the images by name without the extension.
    image_column
        The column of encoded images in Parquet and Arrow files; by default the one that holds them.
    mask_column
        The column of their masks there; by default one called mask, segmentation, or the like.
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
    preset
        Constants to start from: "paper" (the published method alone), "fast", "default" or "best"; each can be given
        otherwise below.
    model
        The network: any classification network of torchvision, by name.
    weights
        Its weights: "pretrained" (torchvision's own, downloaded once), "random", or the URI of a .safetensors file
        or of a state dict.
    model_from
        Instead of a model and weights: the output of a run of jobs.finetune, jobs.distil or jobs.train_multi_context,
        or the URI of its model.safetensors.
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
        Processes that hold the network: a number, or MIN:MAX for as many as there are nodes for, now or later. By
        default one a GPU, or all CPU slots but two. A multiple of the GPUs lets several share one, so that it computes
        while others read and pass on their images.
    accelerator
        What the network runs on: gpu, where no GPU is there yet the run waits for one; cpu; or auto, GPUs where there
        are some or the cluster says that it can bring some.
    cpus_per_network_worker
        CPU slots, and threads, of each of them.
    slots
        CPU slots of the Ray that the job starts on this machine; by default its cores, at least 4.
    ray_address
        Address of a running Ray cluster; by default the one in RAY_ADDRESS, else a Ray of the job's own.
    price_gpu
        Price of a GPU for an hour, in any currency: the plan and the record say then what a million images cost.
    price_cpu
        Price of a CPU slot for an hour.
    log_format
        How the command says what it does: text for a person, or lines of JSON on standard error with the run's id.
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
    most_failed
        Share of the images, 0 to 1, that may fail: with more the run ends with exit code 3 and without _SUCCESS.
    """

    output: Annotated[str, _RUN]
    images: Annotated[str | None, _INPUT] = None
    masks: Annotated[str | None, _INPUT] = None
    image_column: Annotated[str | None, _INPUT] = None
    mask_column: Annotated[str | None, _INPUT] = None
    dataset: Annotated[str | None, _INPUT] = None
    root: Annotated[str | None, _INPUT] = None
    split: Annotated[str | None, _INPUT] = None
    class_labels: Annotated[bool, Parameter(negative=""), _INPUT] = False
    method: Annotated[str, _METHOD] = "clamped-erasure"
    preset: Annotated[Preset, _METHOD] = "default"
    model: Annotated[str, _NETWORK] = "vgg16"
    weights: Annotated[str, _NETWORK] = PRETRAINED
    model_from: Annotated[str | None, _NETWORK] = None
    class_names: Annotated[str | None, _NETWORK] = None
    num_classes: Annotated[int | None, _NETWORK] = None
    input_size: Annotated[int | None, _NETWORK] = None
    scores: Annotated[Scores, _NETWORK] = "logits"
    label: Annotated[int | None, _INPUT] = None
    working_size: Annotated[int, _METHOD] = WORKING_SIZE
    map_size: Annotated[Literal["working", "original"], _METHOD] = "working"
    max_pixels: Annotated[int, _INPUT] = DEFAULT_MAX_PIXELS
    accept_truncated: Annotated[bool, Parameter(negative=""), _INPUT] = False
    mask_format: Annotated[MaskFormat, _INPUT] = "auto"
    mask_orientation: Annotated[Literal["stored", "displayed"], _INPUT] = "stored"
    precision: Annotated[Precision, _NETWORK] = "float32"
    compile: Annotated[bool, Parameter(negative=""), _NETWORK] = False
    timings: Annotated[str | None, _CLUSTER] = None
    batch_size: Annotated[int | None, _NETWORK] = None
    rows_per_file: Annotated[int | None, _RUN] = None
    network_workers: Annotated[int | str | None, _CLUSTER] = None
    accelerator: Annotated[Literal["auto", "gpu", "cpu"], _CLUSTER] = "auto"
    cpus_per_network_worker: Annotated[int, _CLUSTER] = 1
    slots: Annotated[int | None, _CLUSTER] = None
    ray_address: Annotated[str | None, _CLUSTER] = None
    price_gpu: Annotated[float | None, _CLUSTER] = None
    price_cpu: Annotated[float | None, _CLUSTER] = None
    log_format: Annotated[Literal["text", "json"], _RUN] = "text"
    segment: Annotated[bool, Parameter(negative=""), _METHOD] = False
    extend: Annotated[bool, Parameter(negative=""), _RUN] = False
    retry_errors: Annotated[bool, Parameter(negative=""), _RUN] = False
    retry_statuses: Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative=""), _RUN] = ()
    overwrite: Annotated[bool, Parameter(negative=""), _RUN] = False
    most_failed: Annotated[float, _RUN] = 0.5
    erasure: Annotated[ErasureParameters, Parameter(name="*", group="Erasure (Eq. 1-3)")] = _OF_PRESET.erasure
    superpixels: Annotated[SuperpixelParameters, Parameter(name="*", group="Superpixels (Eq. 4)")] = (
        _OF_PRESET.superpixels
    )
    low_level: Annotated[LowLevelParameters, Parameter(name="*", group="Low-level saliency (Eq. 5)")] = (
        _OF_PRESET.low_level
    )
    refinement: Annotated[RefinementParameters, Parameter(name="*", group="Refinement (Eq. 6)")] = _OF_PRESET.refinement
    views: Annotated[ViewParameters, Parameter(name="*", group="Views", consume_multiple=True)] = _OF_PRESET.views
    objects: Annotated[ObjectParameters, Parameter(name="*", group="Whole objects", consume_multiple=True)] = (
        _OF_PRESET.objects
    )

    input_names: ClassVar[frozenset[str]] = frozenset(
        {"images", "masks", "image_column", "mask_column", "dataset", "root", "split", "class_labels"}
    )
    # The manifest and the weights count by their content.
    without_effect: ClassVar[frozenset[str]] = input_names | {
        "output",
        "weights",
        "model_from",
        "compile",
        "timings",
        "preset",  # its values are there
        "batch_size",
        "rows_per_file",
        "network_workers",
        "accelerator",
        "cpus_per_network_worker",
        "slots",
        "ray_address",
        "price_gpu",
        "price_cpu",
        "log_format",
        "extend",
        "retry_errors",
        "retry_statuses",
        "overwrite",
        "most_failed",
    }

    def __post_init__(self) -> None:
        if self.preset not in get_args(Preset):
            raise SettingsError(f"there is no preset {self.preset!r}: choose one of {', '.join(get_args(Preset))}")
        for group in fields(SaliencyParameters):
            if getattr(self, group.name) is getattr(_OF_PRESET, group.name):
                object.__setattr__(self, group.name, getattr(preset(self.preset), group.name))
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
        if not 0 <= self.most_failed <= 1:
            raise SettingsError(f"most_failed is a share, from 0 to 1, not {self.most_failed}")
        _ = self.network_workers_range
        for name in ("price_gpu", "price_cpu"):
            if (getattr(self, name) or 0.0) < 0:
                raise SettingsError(f"{name} is a price, 0 or more, not {getattr(self, name)}")
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise SettingsError(f"{name} must be {least} or more, not {value}")

    @property
    def network_workers_range(self) -> tuple[int, int] | None:
        """The least and the most network workers; None where the cluster decides."""
        if self.network_workers is None:
            return None
        least, _, most = str(self.network_workers).partition(":")
        try:
            found = int(least), int(most or least)
        except ValueError:
            found = (0, 0)
        if not 1 <= found[0] <= found[1]:
            raise SettingsError(
                f"network_workers must be a number from 1 on, or MIN:MAX such as 1:8, not {self.network_workers}"
            )
        return found

    def preset_options(self) -> dict[str, Any]:
        """Return the options that the preset stands for, beside the defaults."""
        return preset_options(self.preset)

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
        return SaliencyParameters(
            self.erasure, self.superpixels, self.low_level, self.refinement, self.views, self.objects
        )

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the maps that the method makes, in order."""
        return stages_of(self.method, self.parameters)

    def fingerprint(self, weights_sha256: str | None, manifest_sha256: str) -> str:
        """Digest all that decides the values of the results: equal fingerprints mean equal results.

        Parameters
        ----------
        weights_sha256 : str, optional
            Checksum of the network's weights; None for a method without a network.
        manifest_sha256 : str
            Digest of the list of images, masks and labels.
        """
        return self.digest(weights=weights_sha256, manifest=manifest_sha256)


_LEAST = {
    "num_classes": 2,
    "input_size": 16,
    "label": 0,
    "working_size": 16,
    "max_pixels": 1,
    "batch_size": 1,
    "rows_per_file": 1,
    "cpus_per_network_worker": 1,
    "slots": 1,
}
