"""What a run will do, settled and checked before any work: images with masks, network, workers, output."""

from dataclasses import dataclass
from typing import Any

from jobs.errors import SettingsError
from jobs.multi_context.images import Images, list_images
from jobs.multi_context.settings import MultiContextSettings
from jobs.planning.cluster import Cluster
from jobs.planning.networks import weights_at
from jobs.storage import files as storage
from jobs.training.plan import TrainingPlan, common_fields, settled
from saliency_core.errors import ClassifierError
from saliency_core.methods.depths import depths_of
from saliency_core.networks.classifier import Classifier, load_classifier


@dataclass(frozen=True, kw_only=True)
class MultiContextPlan(TrainingPlan):
    """A checked run.

    Parameters
    ----------
    settings : MultiContextSettings
    classifier : Classifier
        With the weights that both networks start from.
    images : Images
    """

    job = "train-multi-context"
    room = "multi_context"

    settings: MultiContextSettings
    classifier: Classifier
    images: Images

    @property
    def fingerprint(self) -> str:
        """Digest of all that decides the results."""
        return self.settings.fingerprint(weights=self.classifier.weights_sha256, images=self.images.sha256)

    @property
    def contents(self) -> dict[str, tuple[str, str]]:
        """What is read; see `TrainingPlan`."""
        return {
            "the images and their masks": ("images_sha256", self.images.sha256),
            "weights": ("start_weights_sha256", self.classifier.weights_sha256),
        }

    def facts(self) -> dict[str, Any]:
        """Return what else the record says."""
        return {
            "images": {part: len(images) for part, images in self.images.parts.items()},
            "without_mask": self.images.without_mask,
            "start_weights_source": self.classifier.weights_source,
        }

    def describe(self) -> str:
        """Return the plan as lines for a person."""
        settings, classifier = self.settings, self.classifier
        counts = {name: len(part) for name, part in self.images.parts.items()}
        size = classifier.preprocessing.input_size
        places = ", ".join(f"{place.side} x {place.side}" for place in depths_of(classifier))
        return "\n".join(
            [
                f"images    {counts['train']} of {settings.source} to train on, {counts['validation']} held out; "
                f"{self.images.without_mask} without a mask left out",
                f"windows   {settings.windows} of each image in an epoch, {settings.foreground_share:.0%} salient; "
                f"{settings.segments} superpixels",
                f"model     {classifier.name}, input {size} x {size}, read at {places}",
                f"weights   {storage.redacted(settings.weights)} "
                f"({classifier.weights_source}, sha256 {classifier.weights_sha256[:12]})",
                f"rates     {settings.learning_rate:g}, new layers {settings.head_learning_rate:g}; "
                f"{settings.optimiser}, {settings.schedule}",
                *self.describe_work(counts["train"]),
            ]
        )


def make_plan(settings: MultiContextSettings, cluster: Cluster) -> MultiContextPlan:
    """Check everything that can be checked before work starts. Nothing is written.

    Raises
    ------
    SettingsError
        With one sentence that says what is wrong and what to do.
    """
    common = common_fields(MultiContextPlan, settings, cluster)
    images = list_images(settings)
    try:
        classifier = load_classifier(settings.model, weights_at(settings.weights), input_size=settings.input_size)
        if not depths_of(classifier):
            raise ClassifierError(
                f"{classifier.name} has no layers in which an image keeps its shape: choose another network"
            )
    except ClassifierError as error:
        raise SettingsError(storage.redacted(str(error))) from error
    return settled(MultiContextPlan(**common, classifier=classifier, images=images), len(images.parts["train"]))
