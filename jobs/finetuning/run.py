"""One fine-tuning run: train, ask the trained network about every image, and say what a user gets."""

import dataclasses
import io
from dataclasses import dataclass
from functools import partial

import pyarrow.parquet as pq

from jobs.finetuning.card import card_values
from jobs.finetuning.evaluation import Errors, errors_of, predict
from jobs.finetuning.labels import PARTS
from jobs.finetuning.plan import NAMES, PREDICTIONS, PREPROCESSING, FinetunePlan, make_plan
from jobs.finetuning.plots import make_plots
from jobs.finetuning.training import train
from jobs.storage import files as storage
from jobs.training import outputs
from jobs.training.fit import OnEpoch
from jobs.training.run import Result, run_plan
from saliency_core.networks.classifier import load_classifier
from saliency_core.networks.metadata import classifier_metadata
from saliency_core.networks.weights import Weights


@dataclass(frozen=True)
class FinetuneOutcome:
    """What a finished run found.

    Parameters
    ----------
    errors : dict of str to Errors
        By part of the images; the last is the one to judge the network by.
    epochs, best_epoch : int
    seconds : float
        Of training.
    """

    errors: dict[str, Errors]
    epochs: int
    best_epoch: int
    seconds: float


def run(plan: FinetunePlan, on_epoch: OnEpoch) -> FinetuneOutcome:
    """Do a planned run, or go on with it; see `jobs.training.run.run_plan`."""
    record = run_plan(plan, make_plan, partial(_train, on_epoch=on_epoch))
    predictions = pq.read_table(io.BytesIO(storage.read_bytes(storage.join(plan.settings.output, PREDICTIONS))))
    parts = [part for part in PARTS if part in record["errors"]]
    errors = {part: errors_of(predictions, part, record["classes"]) for part in parts}
    return FinetuneOutcome(errors, record["epochs"], record["best_epoch"], record["seconds"])


def _train(plan: FinetunePlan, on_epoch: OnEpoch) -> Result:
    trained = train(plan, on_epoch)
    names, preprocessing = plan.classifier.class_names, plan.classifier.preprocessing
    weights = Weights(trained.part("network"), classifier_metadata(plan.classifier.name, names, preprocessing))
    # What is measured is what a user will load.
    predictions = predict(plan, load_classifier(plan.classifier.name, weights))
    errors = {part: errors_of(predictions, part, len(names)) for part in plan.images.parts}
    return Result(
        weights=weights,
        history=trained.history,
        plots=make_plots(trained.history, trained.best_epoch, list(errors.values())[-1].confusion, names),
        record={
            "epochs": len(trained.history),
            "best_epoch": trained.best_epoch,
            "stopped_early": trained.stopped_early,
            "errors": {
                part: {"images": found.images, "unread": found.unread, "top1": found.top1, "top5": found.top5}
                for part, found in errors.items()
            },
        },
        card=card_values(plan, errors),
        files={
            PREDICTIONS: outputs.to_parquet(predictions),
            NAMES: "".join(f"{name}\n" for name in names).encode(),
            PREPROCESSING: outputs.to_json(dataclasses.asdict(preprocessing)),
        },
    )
