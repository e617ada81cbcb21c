"""The settings of the job that trains multi-context saliency."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from cyclopts import Parameter

from jobs.errors import SettingsError
from jobs.storage.redaction import redacted
from jobs.training.settings import TrainingSettings
from saliency_core.imaging.options import MaskFormat
from saliency_core.networks.options import PRETRAINED


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class MultiContextSettings(TrainingSettings):
    """Settings of the job that trains multi-context saliency.

    Parameters
    ----------
    images
        The training images: a folder or prefix, a text file of URIs (.txt), or a manifest (.parquet or .csv with the
        columns `uri` and `mask_uri`).
    masks
        A folder or prefix of their masks, paired with the images by name without the extension.
    image_column
        The column of encoded images in Parquet and Arrow files; by default the one that holds them.
    mask_column
        The column of their masks there; by default one called mask, segmentation, or the like.
    dataset
        Instead of both: a data set by name, such as msra10k, ecssd or voc2012.
    root
        Where that data set was unpacked.
    split
        Which split of it; by default its test set.
    mask_format
        How masks are coded: "binary" (0/1 or 0/255), "voc" (indices, 255 is void), "ids" (all but 0), or found out.
    model
        The network that both start from: any classification network of torchvision, by name.
    weights
        Its weights: "pretrained" (torchvision's own, downloaded once), "random", or the URI of a .safetensors file,
        such as a fine-tuned network's, or of a state dict.
    input_size
        Side of the square windows in pixels; by default as the network was trained.
    segments
        Superpixels an image, as asked of SLIC.
    windows
        Windows of every image in an epoch, drawn at random.
    foreground_share
        Share of them around salient superpixels, in images that have some.
    batch_size
        Images a step, over all workers; each brings its windows.
    epochs
        Passes over the training images, at most, of each of the two stages.
    learning_rate
        Rate of the networks' own layers.
    head_learning_rate
        Rate of the new layers on them.
    head_width
        Channels to which these bring every depth of the network.
    augmentation
        Whether half of the images are mirrored, at random.
    """

    images: str | None = None
    masks: str | None = None
    image_column: str | None = None
    mask_column: str | None = None
    dataset: str | None = None
    root: str | None = None
    split: str | None = None
    mask_format: MaskFormat = "auto"
    model: str = "vgg16"
    weights: str = PRETRAINED
    input_size: int | None = None
    segments: int = 100
    windows: int = 16
    foreground_share: float = 0.25
    epochs: int = 12
    patience: int = 4
    batch_size: int = 8
    learning_rate: float = 1e-4
    head_learning_rate: float = 1e-3
    head_width: int = 32
    optimiser: Literal["sgd", "adamw"] = "adamw"
    weight_decay: float = 5e-4
    warmup_epochs: float = 0.5
    augmentation: Literal["mirror", "none"] = "mirror"

    least: ClassVar[Mapping[str, float]] = {
        **TrainingSettings.least,
        "input_size": 16,
        "segments": 2,
        "windows": 2,
        "head_width": 1,
    }
    positive: ClassVar[tuple[str, ...]] = ("learning_rate", "head_learning_rate")
    without_effect: ClassVar[frozenset[str]] = TrainingSettings.without_effect | {"images", "masks", "root", "weights"}

    def __post_init__(self) -> None:
        if (self.images is None) == (self.dataset is None):
            raise SettingsError("give either --images with --masks, or --dataset with --root")
        if (self.dataset is None) != (self.root is None) or (self.dataset is not None and self.masks is not None):
            raise SettingsError("a data set needs --root, where it was unpacked, and brings its own masks")
        if self.dataset is None and self.split is not None:
            raise SettingsError("--split belongs to a --dataset: name one")
        if not 0 < self.foreground_share < 1:
            raise SettingsError(f"foreground_share must lie between 0 and 1, not {self.foreground_share}")
        super().__post_init__()

    @property
    def class_labels(self) -> bool:
        """Whether a data set's classes are wanted: they are not."""
        return False

    @property
    def source(self) -> str:
        """What the images come from, for a person; without credentials."""
        if self.images is not None:
            return redacted(self.images)
        return redacted(f"{self.dataset} at {self.root}") + (f", split {self.split}" if self.split else "")
