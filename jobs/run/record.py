"""The record of a run, ``_run.json``: what was asked, with what, and what came of it."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from jobs.run.budget import TOO_MANY_FAILED
from jobs.run.layout import RECORD, SUCCESS
from jobs.run.schema import SCHEMA_VERSION
from jobs.run.summary import Summary
from jobs.storage import files as storage

PACKAGES = ("ray", "torch", "torchvision", "scikit-image", "numba", "numpy", "pillow", "pyarrow", "fsspec", "s3fs")


@dataclass
class RunRecord:
    """Writes the record at the start and at the end of a run.

    Parameters
    ----------
    output : str
    content : dict
        What is planned, see `jobs.planning.plan.Plan.recorded`.
    before : dict
        The record of the run that goes on; empty where it begins.
    now : datetime
        Of this start; a run that goes on keeps the time of its first one.
    """

    output: str
    content: dict[str, Any]
    before: dict[str, Any] = field(default_factory=dict)
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def write_started(self) -> None:
        """Write what is known before work starts."""
        self._write(self._common() | {"state": "running"})

    def write_finished(
        self,
        summary: Summary,
        seconds: float,
        work: dict[str, Any],
        cost: dict[str, Any],
        too_many_failed: str | None = None,
    ) -> None:
        """Write the whole record, and ``_SUCCESS`` behind it unless too many images failed.

        Parameters
        ----------
        summary : Summary
            Of all results of the run.
        seconds : float
            From the first shard handed out to the last one written, by this start of the run.
        work : dict
            How fast and how busy the workers were, from `WorkLog.figures`.
        cost : dict
            What was held and moved for it, from `jobs.planning.cost.recorded_cost`.
        too_many_failed : str, optional
            In a sentence.
        """
        self._write(
            self._common()
            | {
                "state": "finished" if too_many_failed is None else TOO_MANY_FAILED,
                "finished": datetime.now(UTC).isoformat(timespec="seconds"),
                "counts": summary.counts,
                "reasons": summary.reasons,
                "seconds": round(seconds, 3),
                "images_per_second": work["images_per_second"],
                "seconds_per_stage": {name: round(value, 3) for name, value in summary.seconds.items()},
                "work": work,
                "cost": cost,
                "scores": summary.figures(),
            }
        )
        if too_many_failed is None:
            storage.write_bytes(storage.join(self.output, SUCCESS), b"")

    def _common(self) -> dict[str, Any]:
        return {
            "schema_version": SCHEMA_VERSION,
            "started": self.before.get("started", self.now.isoformat(timespec="seconds")),
            "starts": self.before.get("starts", 0) + 1,
            **self.content,
            "packages": {name: version(name) for name in PACKAGES},
        }

    def _write(self, content: dict[str, Any]) -> None:
        uri = storage.join(self.output, RECORD)
        storage.write_bytes(uri, (json.dumps(content, indent=2) + "\n").encode())
