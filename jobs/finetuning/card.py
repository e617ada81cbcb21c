"""What the model card says of the classes: their images, and how often each is taken for another."""

import math
from typing import Any

import numpy as np

from jobs.finetuning.evaluation import Errors
from jobs.finetuning.plan import FinetunePlan


def card_values(plan: FinetunePlan, errors: dict[str, Errors]) -> dict[str, Any]:
    """Return what the card names beside what all cards do.

    Parameters
    ----------
    plan : FinetunePlan
    errors : dict of str to Errors
        By part of the images; the last is the one to judge the network by.
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
    return {"measured": measured, "classes": classes}
