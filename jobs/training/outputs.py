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


def record_of(plan: TrainingPlan) -> dict[str, Any]:
    """Return what the record of a run says of its plan."""
    return {
        "job": plan.job,
        "settings": plan.settings.recorded(),
        "cluster": {"slots": plan.cluster.slots, "gpus": plan.cluster.gpus, "workers": plan.workers},
        "packages": {name: version(name) for name in PACKAGES},
        "fingerprint": plan.fingerprint,
        "model": plan.classifier.name,
        **dict(plan.contents.values()),
        **plan.facts(),
    }


def begin(plan: TrainingPlan) -> dict[str, Any]:
    """Write the record of a run that starts, and return it; when it was started, now or before, is part of it."""
    output = plan.settings.output
    if plan.output_state == "overwrite":
        _remove(output, *plan.own_files)
    record = record_of(plan) | {"started": now()}
    if plan.output_state == "unfinished":
        assert plan.record is not None
        return record | {"started": plan.record["started"]}
    # Checkpoints without a record are what is left of another run.
    storage.remove_tree(storage.join(output, FOLDER))
    storage.write_bytes(storage.join(output, RECORD), to_json({**record, "state": "running"}))
    return record


def finish(output: str, contents: Mapping[str, bytes], record: Mapping[str, Any]) -> None:
    """Write the files of a finished run, its record and ``_SUCCESS`` last, and remove the checkpoints."""
    whole = {**record, "state": "finished", "finished": now()}
    for name, content in {**contents, RECORD: to_json(whole), SUCCESS: b""}.items():
        storage.write_bytes(storage.join(output, name), content)
    storage.remove_tree(storage.join(output, FOLDER))


def _remove(output: str, *names: str) -> None:
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
