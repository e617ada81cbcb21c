"""What a fine-tuning run will do, settled and checked before any work: images, classes, network, workers, output."""

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jobs.errors import SettingsError
from jobs.finetuning.labels import Images, list_images
from jobs.finetuning.settings import FinetuneSettings
from jobs.planning.cluster import Cluster
from jobs.storage import files as storage
from jobs.training.plan import TrainingPlan, common_fields, settled
from saliency_core.errors import ClassifierError

if TYPE_CHECKING:
    from saliency_core.networks.classifier import Classifier
PREDICTIONS = "predictions.parquet"
NAMES = "class_names.txt"
PREPROCESSING = "preprocessing.json"


@dataclass(frozen=True, kw_only=True)
class FinetunePlan(TrainingPlan):
    """A checked run.

    Parameters
    ----------
    settings : FinetuneSettings
    classifier : Classifier
        With the classes to learn and the weights to start from.
    images : Images
    """

    job = "finetune"
    room = "finetuning"
    own_files = (PREDICTIONS, NAMES, PREPROCESSING)

    settings: FinetuneSettings
    classifier: "Classifier"
    images: Images

    @property
    def fingerprint(self) -> str:
        """Digest of all that decides the results."""
        return self.settings.fingerprint(weights=self.classifier.weights_sha256, images=self.images.sha256)

    @property
    def contents(self) -> dict[str, tuple[str, str]]:
        """What is read; see `TrainingPlan`."""
        return {
            "the images and their classes": ("images_sha256", self.images.sha256),
            "weights": ("start_weights_sha256", self.classifier.weights_sha256),
        }

    def facts(self) -> dict[str, Any]:
        """Return what else the record says."""
        return {
            "classes": len(self.classifier.class_names),
            "images": {part: len(images) for part, images in self.images.parts.items()},
            "without_class": sum(images.without_class for images in self.images.parts.values()),
            "start_weights_source": self.classifier.weights_source,
        }

    @property
    def steps_per_epoch(self) -> int:
        """Steps an epoch."""
        return self.steps_of(len(self.images.train))

    def describe(self) -> str:
        """Return the plan as lines for a person."""
        settings, images, classifier = self.settings, self.images, self.classifier
        counts = sorted(Counter(images.train.labels.tolist()).values())
        parts = ", ".join(f"{len(part)} {name}" for name, part in images.parts.items())
        without = sum(part.without_class for part in images.parts.values())
        size = classifier.preprocessing.input_size
        rates = {
            "all": f"{settings.learning_rate:g} for all layers",
            "head-faster": f"{settings.learning_rate:g}, last layer {settings.head_learning_rate:g}",
            "head-only": f"{settings.head_learning_rate:g} for the last layer alone",
        }[settings.strategy]
        return "\n".join(
            [
                f"images    {parts} of {settings.source}; {without} without a class left out",
                f"classes   {len(images.class_names)}, of {counts[0]} to {counts[-1]} training images",
                f"model     {classifier.name}, input {size} x {size}",
                f"weights   {storage.redacted(settings.weights)} "
                f"({classifier.weights_source}, sha256 {classifier.weights_sha256[:12]})",
                f"strategy  {settings.strategy}: {settings.optimiser}, rate {rates}, {settings.schedule}",
                *self.describe_work(len(images.train)),
            ]
        )


def make_plan(settings: FinetuneSettings, cluster: Cluster) -> FinetunePlan:
    """Check everything that can be checked before work starts. Nothing is written.

    Raises
    ------
    SettingsError
        With one sentence that says what is wrong and what to do.
    """
    common = common_fields(FinetunePlan, settings, cluster)
    images = list_images(settings)
    classifier = _classifier(settings, images.class_names)
    return settled(FinetunePlan(**common, classifier=classifier, images=images), len(images.train))


def _classifier(settings: FinetuneSettings, class_names: tuple[str, ...]) -> "Classifier":
    # Here, because it imports torch, for which nobody with a wrong setting shall wait.
    from jobs.planning.networks import weights_at
    from saliency_core.networks.heads import classifier_with_classes

    try:
        return classifier_with_classes(
            settings.model,
            weights_at(settings.weights),
            class_names=class_names,
            input_size=settings.input_size,
            seed=settings.seed,
        )
    except ClassifierError as error:
        raise SettingsError(storage.redacted(str(error))) from error
