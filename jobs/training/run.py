"""One run of a training job: claimed, begun, done, and written down."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from jobs.pipeline import connecting
from jobs.pipeline.ray_data import configure
from jobs.planning.cluster import Cluster
from jobs.planning.networks import MODEL
from jobs.reporting.plots import Plot
from jobs.run.claim import Claim
from jobs.run.claimed import claimed_run
from jobs.training import outputs
from jobs.training.card import NAME as CARD
from jobs.training.card import render
from jobs.training.loading import ROWS_PER_TASK
from jobs.training.outputs import METRICS, PLOTS
from jobs.training.plan import Plan, TrainingPlan, stored_record
from saliency_core.networks.weights import Weights, to_safetensors, weights_checksum


@dataclass(frozen=True)
class Result:
    """What a job makes of its plan.

    Parameters
    ----------
    weights : Weights
        What ``model.safetensors`` holds.
    history : list of dict
        A row for every epoch.
    plots : sequence of Plot
    record : dict
        What the job adds to the record of the run.
    card : mapping
        What the template of the model card names beside the record, see `_card`.
    files : mapping of str to bytes
        The plan's `own_files`.
    """

    weights: Weights
    history: list[dict[str, Any]]
    plots: Sequence[Plot]
    record: Mapping[str, Any]
    card: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)


def run_plan(plan: Plan, make_plan: Callable[[Any, Cluster], Plan], teach: Callable[[Plan], Result]) -> dict[str, Any]:
    """Do a planned run, or go on with it; return the record of the finished run.

    Parameters
    ----------
    plan : TrainingPlan
    make_plan : callable
        Makes the plan again where another driver has worked on the output before it was claimed.
    teach : callable
        Trains as planned, on the Ray that is started then.

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
    if plan.output_state != "finished":
        with claimed_run(plan.settings.output) as claim:
            if stored_record(plan.settings, plan.job) != plan.record:
                plan = make_plan(plan.settings, plan.cluster)
            if plan.output_state != "finished":
                return _run_claimed(plan, claim, teach)
    assert plan.record is not None
    return plan.record


def _run_claimed(plan: Plan, claim: Claim, teach: Callable[[Plan], Result]) -> dict[str, Any]:
    connecting.start(plan.cluster)
    configure(ROWS_PER_TASK)
    begun = outputs.begin(plan)
    result = teach(plan)
    record = begun | {
        "weights_sha256": weights_checksum(result.weights.tensors),
        "seconds": round(sum(row["seconds"] for row in result.history), 3),
        **result.record,
    }
    contents = {
        METRICS: outputs.to_parquet(pa.Table.from_pylist(result.history)),
        **result.files,
        **{f"{PLOTS}/{name}": content for plot in result.plots for name, content in plot.files().items()},
        CARD: _card(plan, record, result).encode("utf-8", "replace"),
        MODEL: to_safetensors(result.weights.tensors, result.weights.metadata),
    }
    claim.check()
    outputs.finish(plan.settings.output, contents, record)
    return record


def _card(plan: TrainingPlan, record: Mapping[str, Any], result: Result) -> str:
    """Fill the card's template with the record, what all jobs say, and what the job says."""
    preprocessing = plan.classifier.preprocessing
    common = {
        "input_size": preprocessing.input_size,
        "mean": list(preprocessing.mean),
        "std": list(preprocessing.std),
        "source": plan.settings.source,
        "history": result.history,
        "workers": plan.workers,
        "gpus": plan.cluster.gpus,
        "minutes": record["seconds"] / 60,
    }
    return render(f"{plan.room}/templates/{CARD}.jinja", **{**record, **common, **result.card})
