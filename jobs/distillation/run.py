"""One distillation run: teach in rounds, save, score what was held out, and write all down."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from jobs.distillation.plan import JOB, DistilPlan, make_plan
from jobs.distillation.plots import make_plots
from jobs.distillation.rounds import held_out_maps, teach
from jobs.distillation.scores import Scores, scores
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
from saliency_core.networks.saliency_head import student_weights
from saliency_core.networks.weights import to_safetensors, weights_checksum


@dataclass(frozen=True)
class DistilOutcome:
    """What a finished run found, as its record has it.

    Parameters
    ----------
    record : dict
    """

    record: dict[str, Any]

    def lines(self) -> list[str]:
        """Say for a person what came of the run."""
        found = self.record
        lines = [
            f"{found['images']['train']} images taught in {found['seconds'] / 60:.1f} minutes; the head of epoch "
            f"{found['best_epoch']} is {found['validation_difference']:.3f} from the target on images held out"
        ]
        if found["scores"]:
            teacher, student = (found["scores"][name]["f_beta_of_mean_curve"] for name in ("teacher", "student"))
            lines.append(f"F-beta A on images held out: student {student:.3f}, teacher {teacher:.3f}")
        return lines


def run(plan: DistilPlan, on_epoch: Callable[[dict[str, Any]], None]) -> DistilOutcome:
    """Do a planned run, or go on with it.

    Raises
    ------
    ClaimedError
        If another driver works on the output; nothing has been touched then.
    TrainingError
        If teaching cannot reach an end.
    """
    if plan.output_state == "finished":
        return _finished(plan)
    with claimed_run(plan.settings.output) as claim:
        if stored_record(plan.settings, JOB) != plan.record:  # another driver has worked on it before it was claimed
            plan = make_plan(plan.settings, plan.cluster)
        return _run_claimed(plan, claim, on_epoch)


def _finished(plan: DistilPlan) -> DistilOutcome:
    return DistilOutcome(json.loads(storage.read_bytes(storage.join(plan.settings.output, RECORD))))


def _run_claimed(plan: DistilPlan, claim: Claim, on_epoch: Callable[[dict[str, Any]], None]) -> DistilOutcome:
    output = plan.settings.output
    if plan.output_state == "finished":
        return _finished(plan)
    if plan.output_state == "overwrite":
        outputs.remove(output)
    connecting.start(plan.cluster)
    configure(ROWS_PER_TASK)
    started = outputs.begin(plan, _record(plan))
    taught = teach(plan, on_epoch)
    plan.head.load_state_dict(dict(taught.head))
    weights = student_weights(plan.classifier, plan.head)
    found = scores(plan.teacher, taught.parts["validation"], held_out_maps(plan, taught))
    rounds = [row for row in taught.history if row["round"] == plan.settings.rounds]
    best = rounds[taught.best_epoch - 1]
    record = _record(plan) | {
        "started": started,
        "weights_sha256": weights_checksum(weights.tensors),
        "images": {part: len(table) for part, table in taught.parts.items()},
        "epochs": len(rounds),
        "best_epoch": taught.best_epoch,
        "stopped_early": taught.stopped_early,
        "validation_difference": best["validation_difference"],
        "seconds": round(sum(row["seconds"] for row in taught.history), 3),
        "scores": {name: vars(figures) for name, figures in vars(found).items()} if found else None,
    }
    plots = make_plots(taught.history, taught.best_epoch)
    contents = {
        METRICS: outputs.to_parquet(pa.Table.from_pylist(taught.history)),
        **{f"{PLOTS}/{name}": content for plot in plots for name, content in plot.files().items()},
        CARD: _card(plan, record, taught.history, best, found).encode("utf-8", "replace"),
        MODEL: to_safetensors(weights.tensors, weights.metadata),
    }
    claim.check()
    outputs.finish(output, contents, record)
    return DistilOutcome(record)


def _card(
    plan: DistilPlan, record: dict[str, Any], history: list[dict[str, Any]], best: dict[str, Any], found: Scores | None
) -> str:
    preprocessing = plan.classifier.preprocessing
    return render(
        f"distillation/templates/{CARD}.jinja",
        model=plan.classifier.name,
        input_size=preprocessing.input_size,
        mean=list(preprocessing.mean),
        std=list(preprocessing.std),
        grid=plan.head.grid,
        teacher_method=plan.teacher.run.method,
        stage=plan.teacher.stage,
        scores=found,
        best=best,
        history=history,
        workers=plan.workers,
        gpus=plan.cluster.gpus,
        minutes=record["seconds"] / 60,
        **{
            name: record[name]
            for name in ("images", "best_epoch", "stopped_early", "settings", "packages", "started", "weights_sha256")
        },
    )


def _record(plan: DistilPlan) -> dict[str, Any]:
    run = plan.teacher.run
    return outputs.common_record(plan, JOB) | {
        "fingerprint": plan.fingerprint,
        "model": plan.classifier.name,
        "network_sha256": plan.classifier.weights_sha256,
        "teacher": {"uri": storage.redacted(run.uri), "method": run.method, "stage": plan.teacher.stage},
        "teacher_fingerprint": plan.teacher_fingerprint,
    }
