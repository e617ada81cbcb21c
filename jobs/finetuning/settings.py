"""The settings of the fine-tuning job: one typed object for the command line, for Python and for files."""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from jobs.errors import SettingsError
from jobs.storage.redaction import redacted
from saliency_core.imaging.options import DEFAULT_MAX_PIXELS
from saliency_core.networks.options import PRETRAINED

Strategy = Literal["all", "head-faster", "head-only"]
STRATEGIES: tuple[Strategy, ...] = ("all", "head-faster", "head-only")
EACH = "each"


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class FinetuneSettings:
    """Settings of the fine-tuning job.

    Parameters
    ----------
    output
        Where the network and all about it go: a folder or prefix that every node of the cluster can write.
    images
        The training images: a folder or prefix with a folder for every class, or a manifest (.parquet or .csv with
        the columns `uri` and `label`).
    dataset
        Instead of images: a data set with classes by name, voc2012 or voc; an image's class is that of its largest
        object.
    root
        Where that data set was unpacked.
    split
        Its split to train on; by default finetune, all that is not in the test set.
    validation
        Images to choose the best epoch by: another split of the data set, or another folder or manifest; by default a
        share of the training images is held out.
    validation_share
        That share, of every class.
    test
        Images on which the chosen network is measured at the end: a split, or a folder or manifest; by default the
        split val of a data set.
    class_names
        URI of a text file with one class name a line, in the order wanted; by default a data set's own classes, or
        the names found, sorted.
    model
        The network: any classification network of torchvision, by name.
    weights
        Weights to start from: "pretrained" (torchvision's own, downloaded once), "random", or the URI of a
        .safetensors file or of a state dict.
    input_size
        Side of the network's square input in pixels; by default as the network was trained.
    strategy
        What is trained: all layers at one rate; all layers, the last at a larger rate; the last layer only; or each
        of these three in turn, for a table.
    repeats
        With --strategy each: runs of each strategy, with seeds that count up from --seed.
    epochs
        Passes over the training images, at most.
    patience
        Stop early after so many epochs without a smaller validation loss; 0: never.
    batch_size
        Images a step, over all workers.
    learning_rate
        Rate of the layers below the last, and of all layers with the strategy all.
    head_learning_rate
        Rate of the last layer with the strategies head-faster and head-only.
    optimiser
        Stochastic gradient descent with momentum 0.9, or AdamW.
    weight_decay
        Of the optimiser.
    schedule
        How the rates fall: along a cosine to zero, to a tenth at each third of the epochs, or not at all.
    warmup_epochs
        Epochs in which the rates first rise.
    augmentation
        How training images are varied: large random crops, mirroring and light for photographs; the eight symmetries
        of the square; or not at all.
    precision
        Of the arithmetic: by default mixed (bfloat16 where the GPU has it, else float16) on a GPU, 32 bits on a CPU.
    seed
        Of the new last layer, the held-out share, the order of the images, augmentation and dropout.
    workers
        Processes that train; by default one a GPU, or one.
    cpus_per_worker
        CPU slots, and threads, of each of them; by default 1 beside a GPU, else all slots but two, shared out.
    slots
        CPU slots of the Ray that the job starts on this machine; by default its cores, at least 4.
    ray_address
        Address of a running Ray cluster; by default the one in RAY_ADDRESS, else a Ray of the job's own.
    max_failures
        How often training goes on from its last checkpoint by itself after a worker died.
    max_pixels
        Images with more pixels are not decoded.
    overwrite
        Start afresh where the output holds a run already.
    """

    output: str
    images: str | None = None
    dataset: str | None = None
    root: str | None = None
    split: str | None = None
    validation: str | None = None
    validation_share: float = 0.1
    test: str | None = None
    class_names: str | None = None
    model: str = "vgg16"
    weights: str = PRETRAINED
    input_size: int | None = None
    strategy: Literal["all", "head-faster", "head-only", "each"] = "all"
    repeats: int = 1
    epochs: int = 30
    patience: int = 8
    batch_size: int = 32
    learning_rate: float = 1e-3
    head_learning_rate: float = 1e-2
    optimiser: Literal["sgd", "adamw"] = "sgd"
    weight_decay: float = 5e-4
    schedule: Literal["cosine", "step", "constant"] = "cosine"
    warmup_epochs: float = 1.0
    augmentation: Literal["photographs", "symmetries", "none"] = "photographs"
    precision: Literal["auto", "32-true", "16-mixed", "bf16-mixed"] = "auto"
    seed: int = 0
    workers: int | None = None
    cpus_per_worker: int | None = None
    slots: int | None = None
    ray_address: str | None = None
    max_failures: int = 2
    max_pixels: int = DEFAULT_MAX_PIXELS
    overwrite: Annotated[bool, Parameter(negative="")] = False

    def __post_init__(self) -> None:
        if (self.images is None) == (self.dataset is None):
            raise SettingsError("give either --images, or --dataset with --root")
        if (self.dataset is None) != (self.root is None):
            raise SettingsError("--dataset and --root belong together: the name of a data set and where it lies")
        if self.dataset is None and self.split is not None:
            raise SettingsError("--split belongs to a --dataset: name one")
        if self.dataset is not None and self.class_names is not None:
            raise SettingsError("a data set brings its own classes: leave --class-names out")
        if self.repeats != 1 and self.strategy != EACH:
            raise SettingsError("--repeats belongs to --strategy each: give --seed for a single run")
        if not 0 < self.validation_share < 1:
            raise SettingsError(f"validation_share must lie between 0 and 1, not {self.validation_share}")
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value is not None and not value >= least:
                raise SettingsError(f"{name} must be {least} or more, not {value}")
        for name in ("learning_rate", "head_learning_rate"):
            if not 0 < getattr(self, name) < float("inf"):
                raise SettingsError(f"{name} must be above 0, not {getattr(self, name)}")
        if self.warmup_epochs >= self.epochs:
            raise SettingsError(f"a warm-up of {self.warmup_epochs} epochs leaves nothing of {self.epochs} epochs")

    @property
    def source(self) -> str:
        """What the images come from, for a person; without credentials."""
        if self.images is not None:
            return redacted(self.images)
        return redacted(f"{self.dataset} at {self.root}") + f", split {self.split or 'finetune'}"

    def recorded(self) -> dict[str, Any]:
        """Return the settings as plain values, without credentials, for the record of the run."""
        values = dataclasses.asdict(self)
        return {key: redacted(value) if isinstance(value, str) else value for key, value in values.items()}

    def differences(self, recorded: dict[str, Any]) -> list[str]:
        """Name the settings that decide the results and differ from those of a record."""
        own = json.loads(json.dumps(self.recorded()))
        return [name for name in own if name not in _WITHOUT_EFFECT and own[name] != recorded.get(name)]

    def fingerprint(self, weights_sha256: str, images_sha256: str) -> str:
        """Digest all that decides the results but chance.

        Parameters
        ----------
        weights_sha256 : str
            Checksum of the weights that training starts from.
        images_sha256 : str
            Digest of the lists of images and labels.
        """
        values = {key: value for key, value in self.recorded().items() if key not in _WITHOUT_EFFECT}
        content = {"settings": values, "weights": weights_sha256, "images": images_sha256}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


_LEAST = {
    "input_size": 16,
    "repeats": 1,
    "epochs": 1,
    "patience": 0,
    "batch_size": 1,
    "weight_decay": 0,
    "warmup_epochs": 0,
    "workers": 1,
    "cpus_per_worker": 1,
    "slots": 1,
    "max_failures": 0,
    "max_pixels": 1,
}

# These say where things lie and how the work is spread; images and weights count by their content.
_WITHOUT_EFFECT = frozenset(
    {
        *("output", "images", "root", "weights", "workers", "cpus_per_worker", "slots"),
        *("ray_address", "max_failures", "overwrite"),
    }
)
