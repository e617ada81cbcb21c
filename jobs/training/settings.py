"""The settings that every training job has."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from cyclopts import Parameter

from jobs.errors import SettingsError
from jobs.run.recorded import RecordedSettings
from saliency_core.imaging.options import DEFAULT_MAX_PIXELS


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class TrainingSettings(RecordedSettings):
    """Settings of a training job.

    Parameters
    ----------
    output
        Where the network and all about it go: a folder or prefix that every node of the cluster can write.
    validation_share
        Share of the training images that is held out to choose the best epoch by.
    epochs
        Passes over the training images, at most.
    patience
        Stop early after so many epochs without a smaller validation loss; 0: never.
    batch_size
        Images a step, over all workers.
    learning_rate
        Of the optimiser.
    optimiser
        Stochastic gradient descent with momentum 0.9, or AdamW.
    weight_decay
        Of the optimiser.
    schedule
        How the rates fall: along a cosine to zero, to a tenth at each third of the epochs, or not at all.
    warmup_epochs
        Epochs in which the rates first rise.
    precision
        Of the arithmetic: by default mixed (bfloat16 where the GPU has it, else float16) on a GPU, 32 bits on a CPU.
    seed
        Of all that is left to chance.
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
    validation_share: float = 0.1
    epochs: int = 30
    patience: int = 8
    batch_size: int = 32
    learning_rate: float = 1e-3
    optimiser: Literal["sgd", "adamw"] = "sgd"
    weight_decay: float = 5e-4
    schedule: Literal["cosine", "step", "constant"] = "cosine"
    warmup_epochs: float = 1.0
    precision: Literal["auto", "32-true", "16-mixed", "bf16-mixed"] = "auto"
    seed: int = 0
    workers: int | None = None
    cpus_per_worker: int | None = None
    slots: int | None = None
    ray_address: str | None = None
    max_failures: int = 2
    max_pixels: int = DEFAULT_MAX_PIXELS
    overwrite: Annotated[bool, Parameter(negative="")] = False

    least: ClassVar[Mapping[str, float]] = {
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
    """The smallest value of each of these."""

    positive: ClassVar[tuple[str, ...]] = ("learning_rate",)
    """Rates, which are above 0."""

    without_effect: ClassVar[frozenset[str]] = frozenset(
        {"output", "workers", "cpus_per_worker", "slots", "ray_address", "max_failures", "overwrite"}
    )
    """Settings that say where things lie and how the work is spread; what is read counts by its content."""

    def __post_init__(self) -> None:
        if not 0 < self.validation_share < 1:
            raise SettingsError(f"validation_share must lie between 0 and 1, not {self.validation_share}")
        for name, least in self.least.items():
            value = getattr(self, name)
            if value is not None and not value >= least:
                raise SettingsError(f"{name} must be {least} or more, not {value}")
        for name in self.positive:
            if not 0 < getattr(self, name) < float("inf"):
                raise SettingsError(f"{name} must be above 0, not {getattr(self, name)}")
        if self.warmup_epochs >= self.epochs:
            raise SettingsError(f"a warm-up of {self.warmup_epochs} epochs leaves nothing of {self.epochs} epochs")

    @property
    def source(self) -> str:
        """What the images come from, for a person; without credentials."""
        raise NotImplementedError

    def fingerprint(self, **checksums: str) -> str:
        """Digest all that decides the results but chance.

        Parameters
        ----------
        **checksums : str
            Of what is read: the weights that training starts from, the lists of images.
        """
        return self.digest(**checksums)
