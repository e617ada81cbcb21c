"""The model card: what the network was trained on, how, and how often it is wrong."""

import math
from typing import Any

import numpy as np

from jobs.finetuning.evaluation import Errors
from jobs.finetuning.plan import FinetunePlan
from jobs.training.card import NAME, render
from jobs.training.fit import Trained


def model_card(plan: FinetunePlan, trained: Trained, errors: dict[str, Errors], record: dict[str, Any]) -> str:
    """Write the card.

    Parameters
    ----------
    plan : FinetunePlan
    trained : Trained
    errors : dict of str to Errors
        By part of the images; the last is the one to judge the network by.
    record : dict
        The record of the run, as it is stored.
    """
    classifier = plan.classifier
    measured = list(errors)[-1]
    parts = [plan.images.parts[name] for name in errors]
    counts = [np.bincount(part.labels, minlength=len(classifier.class_names)).tolist() for part in parts]
    confusion = errors[measured].confusion
    classes = []
    for index, name in enumerate(classifier.class_names):
        answers = confusion[index].tolist()
        total = sum(answers)
        error = 1 - answers[index] / total if total else math.nan
        classes.append({"name": name, "counts": [c[index] for c in counts], "error": error, "answers": answers})
    return render(
        f"finetuning/templates/{NAME}.jinja",
        model=classifier.name,
        input_size=classifier.preprocessing.input_size,
        mean=list(classifier.preprocessing.mean),
        std=list(classifier.preprocessing.std),
        source=plan.settings.source,
        start_source=classifier.weights_source,
        without_class=sum(part.without_class for part in plan.images.parts.values()),
        errors=errors,
        measured=measured,
        classes=classes,
        history=trained.history,
        best_epoch=trained.best_epoch,
        stopped_early=trained.stopped_early,
        minutes=sum(row["seconds"] for row in trained.history) / 60,
        workers=plan.workers,
        gpus=plan.cluster.gpus,
        **{name: record[name] for name in ("settings", "packages", "started", "weights_sha256")},
    )
