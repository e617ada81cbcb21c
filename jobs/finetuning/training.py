"""Training the classifier: what goes into the workers, and comes out of them."""

from functools import partial
from typing import Any

import ray
import ray.data

from jobs.finetuning.labels import Labelled
from jobs.finetuning.module import FinetuneTask, FineTuning
from jobs.finetuning.plan import FinetunePlan
from jobs.training.fit import OnEpoch, Trained, fit
from jobs.training.loading import image_set, kept_if_it_fits
from saliency_core.networks.architectures import build_network
from saliency_core.networks.heads import head_tensors


def train(plan: FinetunePlan, on_epoch: OnEpoch) -> Trained:
    """Train as planned; see `jobs.training.fit.fit`."""
    classifier = plan.classifier
    task = FinetuneTask(
        settings=plan.settings,
        classes=len(classifier.class_names),
        preprocessing=classifier.preprocessing,
        head=head_tensors(classifier.name),
        steps_per_epoch=plan.steps_per_epoch,
    )
    weights = ray.put(dict(classifier.network.state_dict()))
    return fit(plan, partial(_module, classifier.name, weights, task), _image_sets(plan), on_epoch)


def labelled_set(
    images: Labelled, side: int, *, max_pixels: int, multiple: int = 1, seed: int | None = None
) -> ray.data.Dataset:
    """Make a lazy set of decoded images with a column ``label``; see `jobs.training.loading.image_set`."""
    return image_set(images.uris, side, {"label": images.labels}, max_pixels=max_pixels, multiple=multiple, seed=seed)


def _module(name: str, weights: Any, task: FinetuneTask) -> FineTuning:
    network = build_network(name, task.classes)
    network.load_state_dict(ray.get(weights))
    return FineTuning(network, task)


def _image_sets(plan: FinetunePlan) -> dict[str, ray.data.Dataset]:
    side = plan.classifier.preprocessing.input_size
    settings = plan.settings
    sides = {"train": side * 8 // 7 if settings.augmentation == "photographs" else side, "validation": side}
    sets = {}
    for part, images in (("train", plan.images.train), ("validation", plan.images.validation)):
        made = labelled_set(
            images, sides[part], max_pixels=settings.max_pixels, multiple=plan.workers, seed=settings.seed
        ).drop_columns(["status", "error"])
        sets[part] = kept_if_it_fits(made, len(images), sides[part])
    return sets
