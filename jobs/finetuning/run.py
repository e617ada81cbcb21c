"""One fine-tuning run: train, save, ask the saved network about every image, and write all down."""

import dataclasses
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.finetuning.card import model_card
from jobs.finetuning.evaluation import Errors, errors_of, predict
from jobs.finetuning.labels import PARTS
from jobs.finetuning.plan import JOB, FinetunePlan, make_plan
from jobs.finetuning.plots import make_plots
from jobs.finetuning.training import train
from jobs.pipeline import connecting
from jobs.pipeline.ray_data import configure
from jobs.planning.networks import MODEL
from jobs.run.claim import Claim
from jobs.run.claimed import claimed_run
from jobs.run.layout import RECORD
from jobs.storage import files as storage
from jobs.training import outputs
from jobs.training.card import NAME as CARD
from jobs.training.loading import ROWS_PER_TASK
from jobs.training.outputs import METRICS, PLOTS
from jobs.training.plan import stored_record
from saliency_core.networks.classifier import load_classifier
from saliency_core.networks.metadata import classifier_metadata
from saliency_core.networks.weights import Weights, to_safetensors

PREDICTIONS = "predictions.parquet"
NAMES = "class_names.txt"
PREPROCESSING = "preprocessing.json"


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


def run(plan: FinetunePlan, on_epoch: Callable[[dict[str, Any]], None]) -> FinetuneOutcome:
    """Do a planned run, or go on with it.

    Raises
    ------
    ClaimedError
        If another driver works on the output; nothing has been touched then.
    ClaimLostError
        If another driver has taken the output over, or may soon.
    StoppedError
        By SIGTERM, SIGINT or a request in the output.
    TrainingError
        If training cannot reach an end.
    """
    if plan.output_state == "finished":
        return finished_outcome(plan.settings.output)
    with claimed_run(plan.settings.output) as claim:
        if stored_record(plan.settings, JOB) != plan.record:  # another driver has worked on it before it was claimed
            plan = make_plan(plan.settings, plan.cluster)
        return _run_claimed(plan, claim, on_epoch)


def _run_claimed(plan: FinetunePlan, claim: Claim, on_epoch: Callable[[dict[str, Any]], None]) -> FinetuneOutcome:
    output = plan.settings.output
    if plan.output_state == "finished":
        return finished_outcome(output)
    if plan.output_state == "overwrite":
        outputs.remove(output, PREDICTIONS, NAMES, PREPROCESSING)
    connecting.start(plan.cluster)
    configure(ROWS_PER_TASK)
    started = outputs.begin(plan, _record(plan))
    trained = train(plan, on_epoch)
    tensors = trained.part("network")
    names, preprocessing = plan.classifier.class_names, plan.classifier.preprocessing
    metadata = classifier_metadata(plan.classifier.name, names, preprocessing)
    # What is measured is what a user will load.
    classifier = load_classifier(plan.classifier.name, Weights(tensors, metadata))
    predictions = predict(plan, classifier)
    errors = {part: errors_of(predictions, part, len(names)) for part in plan.images.parts}
    seconds = sum(row["seconds"] for row in trained.history)
    record = _record(plan) | {
        "started": started,
        "weights_sha256": classifier.weights_sha256,
        "epochs": len(trained.history),
        "best_epoch": trained.best_epoch,
        "stopped_early": trained.stopped_early,
        "seconds": round(seconds, 3),
        "errors": {
            part: {"images": found.images, "unread": found.unread, "top1": found.top1, "top5": found.top5}
            for part, found in errors.items()
        },
    }
    card = model_card(plan, trained, errors, record)
    plots = make_plots(trained.history, trained.best_epoch, list(errors.values())[-1].confusion, names)
    contents = {
        METRICS: outputs.to_parquet(pa.Table.from_pylist(trained.history)),
        PREDICTIONS: outputs.to_parquet(predictions),
        NAMES: "".join(f"{name}\n" for name in names).encode(),
        PREPROCESSING: outputs.to_json(dataclasses.asdict(preprocessing)),
        **{f"{PLOTS}/{name}": content for plot in plots for name, content in plot.files().items()},
        CARD: card.encode("utf-8", "replace"),
        MODEL: to_safetensors(tensors, metadata),
    }
    claim.check()
    outputs.finish(output, contents, record)
    return FinetuneOutcome(errors, len(trained.history), trained.best_epoch, seconds)


def finished_outcome(output: str) -> FinetuneOutcome:
    """Read what a finished run found."""
    record = json.loads(storage.read_bytes(storage.join(output, RECORD)))
    predictions = pq.read_table(io.BytesIO(storage.read_bytes(storage.join(output, PREDICTIONS))))
    parts = [part for part in PARTS if part in record["errors"]]
    errors = {part: errors_of(predictions, part, record["classes"]) for part in parts}
    return FinetuneOutcome(errors, record["epochs"], record["best_epoch"], record["seconds"])


def _record(plan: FinetunePlan) -> dict[str, Any]:
    return outputs.common_record(plan, JOB) | {
        "fingerprint": plan.fingerprint,
        "model": plan.classifier.name,
        "classes": len(plan.classifier.class_names),
        "images": {part: len(images) for part, images in plan.images.parts.items()},
        "without_class": sum(images.without_class for images in plan.images.parts.values()),
        "images_sha256": plan.images.sha256,
        "start_weights_source": plan.classifier.weights_source,
        "start_weights_sha256": plan.classifier.weights_sha256,
    }
