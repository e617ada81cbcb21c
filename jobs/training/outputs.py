"""What training runs leave below their output, and the record that they begin and end with."""

import io
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.planning.networks import MODEL
from jobs.run.layout import RECORD, SUCCESS
from jobs.storage import files as storage
from jobs.training.card import NAME as CARD
from jobs.training.fit import FOLDER
from jobs.training.plan import TrainingPlan

METRICS = "metrics.parquet"
PLOTS = "plots"
PACKAGES = ("ray", "torch", "torchvision", "lightning", "torchmetrics", "numpy", "pillow", "pyarrow", "fsspec", "s3fs")


def common_record(plan: TrainingPlan, job: str) -> dict[str, Any]:
    """Return what the record of every training job says of a plan."""
    return {
        "job": job,
        "settings": plan.settings.recorded(),
        "cluster": {"slots": plan.cluster.slots, "gpus": plan.cluster.gpus, "workers": plan.workers},
        "packages": {name: version(name) for name in PACKAGES},
    }


def begin(plan: TrainingPlan, record: Mapping[str, Any]) -> str:
    """Write the record of a run that starts; return when it was started, now or before."""
    output = plan.settings.output
    if plan.output_state == "unfinished":
        assert plan.record is not None
        before: str = plan.record["started"]
        return before
    # Checkpoints without a record are what is left of another run.
    storage.remove_tree(storage.join(output, FOLDER))
    started = now()
    storage.write_bytes(storage.join(output, RECORD), to_json({**record, "started": started, "state": "running"}))
    return started


def finish(output: str, contents: Mapping[str, bytes], record: Mapping[str, Any]) -> None:
    """Write the files of a finished run, its record and ``_SUCCESS`` last, and remove the checkpoints."""
    whole = {**record, "state": "finished", "finished": now()}
    for name, content in {**contents, RECORD: to_json(whole), SUCCESS: b""}.items():
        storage.write_bytes(storage.join(output, name), content)
    storage.remove_tree(storage.join(output, FOLDER))


def remove(output: str, *names: str) -> None:
    """Remove a run, its files of these names, and nothing else that may lie in its folder.

    The mark of a finished run goes first.
    """
    for name in (SUCCESS, RECORD, MODEL, METRICS, CARD, PLOTS, FOLDER, *names):
        storage.remove_tree(storage.join(output, name))


def now() -> str:
    """Return the time for a record."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def to_json(content: Mapping[str, Any]) -> bytes:
    """Return plain values as the content of a file."""
    return (json.dumps(content, indent=2) + "\n").encode()


def to_parquet(table: pa.Table) -> bytes:
    """Return a table as the content of a file."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()
