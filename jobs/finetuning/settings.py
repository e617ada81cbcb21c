"""The settings of the fine-tuning job: one typed object for the command line, for Python and for files."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from cyclopts import Parameter

from jobs.errors import SettingsError
from jobs.storage.redaction import redacted
from jobs.training.settings import TrainingSettings
from saliency_core.networks.options import PRETRAINED

Strategy = Literal["all", "head-faster", "head-only"]
STRATEGIES: tuple[Strategy, ...] = ("all", "head-faster", "head-only")
EACH = "each"


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class FinetuneSettings(TrainingSettings):
    """Settings of the fine-tuning job.

    Parameters
    ----------
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
    learning_rate
        Rate of the layers below the last, and of all layers with the strategy all.
    head_learning_rate
        Rate of the last layer with the strategies head-faster and head-only.
    augmentation
        How training images are varied: large random crops, mirroring and light for photographs; the eight symmetries
        of the square; or not at all.
    seed
        Of the new last layer, the held-out share, the order of the images, augmentation and dropout.
    """

    images: str | None = None
    dataset: str | None = None
    root: str | None = None
    split: str | None = None
    validation: str | None = None
    test: str | None = None
    class_names: str | None = None
    model: str = "vgg16"
    weights: str = PRETRAINED
    input_size: int | None = None
    strategy: Literal["all", "head-faster", "head-only", "each"] = "all"
    repeats: int = 1
    head_learning_rate: float = 1e-2
    augmentation: Literal["photographs", "symmetries", "none"] = "photographs"

    least: ClassVar[Mapping[str, float]] = {"input_size": 16, "repeats": 1, **TrainingSettings.least}
    positive: ClassVar[tuple[str, ...]] = ("learning_rate", "head_learning_rate")
    without_effect: ClassVar[frozenset[str]] = TrainingSettings.without_effect | {"images", "root", "weights"}

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
        super().__post_init__()

    @property
    def source(self) -> str:
        """What the images come from, for a person; without credentials."""
        if self.images is not None:
            return redacted(self.images)
        return redacted(f"{self.dataset} at {self.root}") + f", split {self.split or 'finetune'}"
