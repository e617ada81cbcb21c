"""What a distillation run will do, settled and checked before any work: teacher, network, workers, output."""

from dataclasses import dataclass
from typing import Any

from jobs.distillation.settings import DistilSettings
from jobs.distillation.teacher import Teacher, find_teacher
from jobs.errors import SettingsError
from jobs.planning.cluster import Cluster
from jobs.planning.networks import read_fine_tuned, weights_at
from jobs.storage import files as storage
from jobs.training.plan import TrainingPlan, common_fields, settled
from saliency_core.errors import ArgumentError, ClassifierError
from saliency_core.methods.student import new_head
from saliency_core.networks.classifier import Classifier, load_classifier
from saliency_core.networks.own_code import is_own_code
from saliency_core.networks.saliency_head import SaliencyHead


@dataclass(frozen=True, kw_only=True)
class DistilPlan(TrainingPlan):
    """A checked run.

    Parameters
    ----------
    settings : DistilSettings
    teacher : Teacher
    classifier : Classifier
        The frozen network.
    head : SaliencyHead
        As it is before it learns.
    """

    job = "distil"
    room = "distillation"

    settings: DistilSettings
    teacher: Teacher
    classifier: Classifier
    head: SaliencyHead

    @property
    def fingerprint(self) -> str:
        """Digest of all that decides the results."""
        return self.settings.fingerprint(weights=self.classifier.weights_sha256, teacher=self.teacher_fingerprint)

    @property
    def teacher_fingerprint(self) -> str:
        """Digest of all that decided the teacher's results."""
        return str(self.teacher.run.record.get("fingerprint"))

    @property
    def expected_images(self) -> int:
        """Images of the sample, if all rows of the run are ok."""
        known = self.teacher.run.record.get("images")
        return min(self.settings.sample, known if isinstance(known, int) else self.settings.sample)

    @property
    def contents(self) -> dict[str, tuple[str, str]]:
        """What is read; see `TrainingPlan`."""
        return {
            "the teacher": ("teacher_fingerprint", self.teacher_fingerprint),
            "weights": ("network_sha256", self.classifier.weights_sha256),
        }

    def facts(self) -> dict[str, Any]:
        """Return what else the record says."""
        run = self.teacher.run
        return {"teacher": {"uri": storage.redacted(run.uri), "method": run.method, "stage": self.teacher.stage}}

    def describe(self) -> str:
        """Return the plan as lines for a person."""
        settings, classifier, run = self.settings, self.classifier, self.teacher.run
        size = classifier.preprocessing.input_size
        images = self.expected_images
        held_out = max(1, round(settings.validation_share * images))
        return "\n".join(
            [
                f"teacher   {settings.source}, stage {self.teacher.stage} of {run.method}",
                f"sample    up to {images} of {run.record.get('images', 'many')} images, {held_out} of them held out; "
                f"seed {settings.seed}",
                f"model     {classifier.name}, input {size} x {size}, map {self.head.grid} x {self.head.grid}",
                f"weights   {classifier.weights_source}, sha256 {classifier.weights_sha256[:12]}",
                f"rounds    {settings.rounds}, {settings.folds} folds, own share {settings.own_share:g}; "
                f"{settings.optimiser}, rate {settings.learning_rate:g}, {settings.schedule}",
                *self.describe_work(images - held_out),
            ]
        )


def make_plan(settings: DistilSettings, cluster: Cluster) -> DistilPlan:
    """Check everything that can be checked before work starts. Nothing is written.

    Raises
    ------
    SettingsError
        With one sentence that says what is wrong and what to do.
    """
    common = common_fields(DistilPlan, settings, cluster)
    teacher = find_teacher(settings)
    try:
        classifier = _classifier(settings, teacher.run.record)
        head = new_head(classifier, settings.seed)
    except (ClassifierError, ArgumentError) as error:
        raise SettingsError(storage.redacted(str(error))) from error
    return settled(DistilPlan(**common, teacher=teacher, classifier=classifier, head=head))


def _classifier(settings: DistilSettings, record: dict[str, Any]) -> Classifier:
    taught_by = record["settings"]
    name = settings.model or taught_by["model"]
    if settings.model is None and is_own_code(name):
        # To import a module is to run it, and a record may come from anywhere.
        raise SettingsError(f"the run's network is code of your own: if you trust that code, name it by --model {name}")
    if name != taught_by["model"] and settings.weights is None:
        raise SettingsError(f"the run's network is {taught_by['model']}: give the --weights of {name}")
    size = settings.input_size or (None if name != taught_by["model"] else taught_by.get("input_size"))
    if settings.weights is not None:
        return load_classifier(name, weights_at(settings.weights), input_size=size)
    if record.get("weights_sha256") is None:
        raise SettingsError("the run has no network: name one by --model and --weights")
    if taught_by.get("model_from"):
        weights: Any = read_fine_tuned(taught_by["model_from"]).weights
    else:
        weights = weights_at(taught_by["weights"])
    found = load_classifier(name, weights, num_classes=taught_by.get("num_classes"), input_size=size)
    if taught_by.get("scores", "logits") == "logits" and found.weights_sha256 != record["weights_sha256"]:
        raise SettingsError(
            f"the weights {storage.redacted(str(taught_by['weights']))} are not those of the run any more: "
            "give the ones that you want by --weights"
        )
    return found
