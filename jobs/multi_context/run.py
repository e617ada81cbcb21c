"""One run: teach both networks, save them, score them on what was held out, and write all down."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from jobs.multi_context.asking import Scores, score_both
from jobs.multi_context.plan import JOB, MultiContextPlan, make_plan
from jobs.multi_context.plots import make_plots
from jobs.multi_context.stages import teach
from jobs.pipeline import connecting
from jobs.pipeline.ray_data import configure
from jobs.planning.networks import MODEL
from jobs.run.claim import Claim
from jobs.run.claimed import claimed_run
from jobs.run.layout import RECORD
from jobs.storage import files as storage
from jobs.training import outputs
from jobs.training.card import NAME as CARD
from jobs.training.card import render
from jobs.training.loading import ROWS_PER_TASK
from jobs.training.outputs import METRICS, PLOTS
from jobs.training.plan import stored_record
from saliency_core.methods.window_network import multi_context_weights
from saliency_core.networks.weights import to_safetensors, weights_checksum


@dataclass(frozen=True)
class MultiContextOutcome:
    """What a finished run found, as its record has it.

    Parameters
    ----------
    record : dict
    """

    record: dict[str, Any]

    def lines(self) -> list[str]:
        """Say for a person what came of the run."""
        found = self.record
        lines = [f"{found['images']['train']} images taught in {found['seconds'] / 60:.1f} minutes"]
        if found["scores"]:
            first, both = (found["scores"][name]["f_beta_of_mean_curve"] for name in ("global", "multi_context"))
            lines.append(f"F-beta A on images held out: first stage {first:.3f}, both {both:.3f}")
        return lines


def run(plan: MultiContextPlan, on_epoch: Callable[[dict[str, Any]], None]) -> MultiContextOutcome:
    """Do a planned run, or go on with it.

    Raises
    ------
    ClaimedError
        If another driver works on the output; nothing has been touched then.
    TrainingError
        If training cannot reach an end.
    """
    if plan.output_state == "finished":
        return _finished(plan)
    with claimed_run(plan.settings.output) as claim:
        if stored_record(plan.settings, JOB) != plan.record:  # another driver has worked on it before it was claimed
            plan = make_plan(plan.settings, plan.cluster)
        return _run_claimed(plan, claim, on_epoch)


def _finished(plan: MultiContextPlan) -> MultiContextOutcome:
    return MultiContextOutcome(json.loads(storage.read_bytes(storage.join(plan.settings.output, RECORD))))


def _run_claimed(
    plan: MultiContextPlan, claim: Claim, on_epoch: Callable[[dict[str, Any]], None]
) -> MultiContextOutcome:
    output = plan.settings.output
    if plan.output_state == "finished":
        return _finished(plan)
    if plan.output_state == "overwrite":
        outputs.remove(output)
    connecting.start(plan.cluster)
    configure(ROWS_PER_TASK)
    started = outputs.begin(plan, _record(plan))
    taught = teach(plan, on_epoch)
    networks = taught.networks.eval().requires_grad_(False)
    weights = multi_context_weights(plan.classifier.name, plan.classifier.preprocessing, networks)
    found = score_both(plan, networks, taught.sets["validation"])
    figures = {"global": found.first, "multi_context": found.both} if found else {}
    record = _record(plan) | {
        "started": started,
        "weights_sha256": weights_checksum(weights.tensors),
        "epochs": len(taught.history),
        "best_epochs": taught.best_epochs,
        "seconds": round(sum(row["seconds"] for row in taught.history), 3),
        "scores": {name: vars(own) for name, own in figures.items()} or None,
    }
    plots = make_plots(taught.history, taught.best_epochs)
    contents = {
        METRICS: outputs.to_parquet(pa.Table.from_pylist(taught.history)),
        **{f"{PLOTS}/{name}": content for plot in plots for name, content in plot.files().items()},
        CARD: _card(plan, record, taught.history, found).encode("utf-8", "replace"),
        MODEL: to_safetensors(weights.tensors, weights.metadata),
    }
    claim.check()
    outputs.finish(output, contents, record)
    return MultiContextOutcome(record)


def _card(plan: MultiContextPlan, record: dict[str, Any], history: list[dict[str, Any]], found: Scores | None) -> str:
    preprocessing = plan.classifier.preprocessing
    best = {
        stage: next(row for row in history if (row["stage"], row["epoch"]) == (stage, epoch))
        for stage, epoch in record["best_epochs"].items()
    }
    return render(
        f"multi_context/templates/{CARD}.jinja",
        model=plan.classifier.name,
        input_size=preprocessing.input_size,
        mean=list(preprocessing.mean),
        std=list(preprocessing.std),
        source=plan.settings.source,
        start_source=plan.classifier.weights_source,
        scores=found,
        best=best,
        history=history,
        without_mask=plan.images.without_mask,
        workers=plan.workers,
        gpus=plan.cluster.gpus,
        minutes=record["seconds"] / 60,
        **{
            name: record[name]
            for name in ("images", "best_epochs", "settings", "packages", "started", "weights_sha256")
        },
    )


def _record(plan: MultiContextPlan) -> dict[str, Any]:
    return outputs.common_record(plan, JOB) | {
        "fingerprint": plan.fingerprint,
        "model": plan.classifier.name,
        "images": {part: len(images) for part, images in plan.images.parts.items()},
        "without_mask": plan.images.without_mask,
        "images_sha256": plan.images.sha256,
        "start_weights_source": plan.classifier.weights_source,
        "start_weights_sha256": plan.classifier.weights_sha256,
    }
