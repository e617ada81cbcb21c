"""The settings of the distillation job."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from cyclopts import Parameter

from jobs.errors import SettingsError
from jobs.storage.redaction import redacted
from jobs.training.settings import TrainingSettings


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class DistilSettings(TrainingSettings):
    """Settings of the distillation job.

    Parameters
    ----------
    run
        Output of a finished run of the saliency job, whose maps teach; no mask takes part.
    images
        Folder or prefix with the run's images, if they have moved since; by default where the run found them.
    stage
        Which of its maps; by default the last of the run's method.
    sample
        Images taken from the run at most, at random; no more of its results are read than these need.
    model
        The network that the head reads: any classification network of torchvision, by name; by default the run's.
    weights
        Its weights, as for the saliency job; by default the run's.
    input_size
        Side of its square input in pixels; by default as in the run, or as the network was trained.
    rounds
        How often a head is taught: in every further round a part of the target is what heads of the last round say of
        images that they were not taught with.
    folds
        Parts of the training images that such heads are taught without, one a part.
    own_share
        That part of the target; the rest is the teacher's map.
    trust
        How much an image counts: alike, by the network's probability of its class, by how far the erasure brought the
        class's logit down, or by both.
    augmentation
        Whether half of the images are mirrored, at random.
    """

    run: str
    images: str | None = None
    stage: str | None = None
    sample: int = 20_000
    model: str | None = None
    weights: str | None = None
    input_size: int | None = None
    rounds: int = 2
    folds: int = 2
    own_share: float = 0.5
    trust: Literal["equal", "probability", "fall", "both"] = "equal"
    augmentation: Literal["mirror", "none"] = "mirror"
    epochs: int = 30
    patience: int = 8
    batch_size: int = 16
    learning_rate: float = 2e-3
    optimiser: Literal["sgd", "adamw"] = "adamw"
    weight_decay: float = 1e-3

    least: ClassVar[Mapping[str, float]] = {
        **TrainingSettings.least,
        "sample": 2,
        "input_size": 16,
        "rounds": 1,
        "folds": 2,
    }
    without_effect: ClassVar[frozenset[str]] = TrainingSettings.without_effect | {"run", "images", "weights"}

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.own_share < 1:
            raise SettingsError(f"own_share must be 0 or more and below 1, not {self.own_share}")

    @property
    def source(self) -> str:
        """What teaches, for a person; without credentials."""
        return redacted(self.run)
