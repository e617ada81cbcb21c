"""What came of a run: counts, scores and seconds, as sums that shards add to and that merge."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa

from jobs.run.results_files import FILES_AT_ONCE, read_columns
from jobs.run.schema import TIMED
from saliency_core.scoring.data_set import DataSetScores
from saliency_core.scoring.histograms import LEVELS


@dataclass
class Summary:
    """Sums over all rows of a run.

    Parameters
    ----------
    stages : sequence of str
        The method's stages.
    counts : Counter of str
        Rows of each status.
    scores : dict of str to DataSetScores
        One a stage.
    seconds : dict of str to float
        Work in all, by part; parallel work counts in full.
    reasons : Counter of str
        Rows whose status is not ok, by status and kind of error.
    """

    stages: Sequence[str]
    counts: Counter[str] = field(default_factory=Counter)
    scores: dict[str, DataSetScores] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(TIMED, 0.0))
    reasons: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.scores = {stage: DataSetScores() for stage in self.stages}

    @property
    def rows(self) -> int:
        """Rows of the results."""
        return self.counts.total()

    @property
    def failures(self) -> int:
        """Rows whose status is not ok."""
        return self.rows - self.counts["ok"]

    def add(self, rows: pa.Table) -> None:
        """Add a part of the results; only the columns that `columns` names are needed."""
        statuses = rows["status"].to_pylist()
        self.counts.update(statuses)
        if any(status != "ok" for status in statuses):
            pairs = zip(statuses, rows["error"].to_pylist(), strict=True)
            self.reasons.update(f"{status} ({_kind(error)})" for status, error in pairs if status != "ok")
        for name in TIMED:
            self.seconds[name] += float(np.nansum(rows[f"seconds_{name}"].to_numpy()))
        for stage in self.stages:
            foreground = _histograms(rows[f"foreground_histogram_{stage}"])
            background = _histograms(rows[f"background_histogram_{stage}"])
            self.scores[stage].add(foreground, background)

    def merge(self, other: "Summary") -> None:
        """Take over the rows of another sum."""
        self.counts.update(other.counts)
        self.reasons.update(other.reasons)
        for name, seconds in other.seconds.items():
            self.seconds[name] += seconds
        for stage, scores in other.scores.items():
            self.scores[stage].merge(scores)

    def remove(self, other: "Summary") -> None:
        """Take rows out that were added before; exact but for the last bits of floating-point sums."""
        self.counts.subtract(other.counts)
        self.counts = +self.counts
        self.reasons.subtract(other.reasons)
        self.reasons = +self.reasons
        for name, seconds in other.seconds.items():
            self.seconds[name] -= seconds
        for stage, scores in other.scores.items():
            own = self.scores[stage]
            for name, value in vars(scores).items():
                setattr(own, name, getattr(own, name) - value)

    def to_plain(self) -> dict[str, Any]:
        """Return the sums as plain values, from which `from_plain` makes them again to the last bit."""
        scores = {
            stage: {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in sums.items()}
            for stage, sums in ((stage, vars(scores)) for stage, scores in self.scores.items())
            if sums["images"] or sums["empty_masks"]
        }
        return {
            "counts": dict(self.counts),
            "reasons": dict(self.reasons),
            "seconds": self.seconds,
            "scores": scores,
        }

    @classmethod
    def from_plain(cls, stages: Sequence[str], values: dict[str, Any]) -> "Summary":
        """Make a summary of what `to_plain` returned."""
        summary = cls(stages, Counter(values["counts"]))
        summary.reasons.update(values["reasons"])
        summary.seconds |= values["seconds"]
        for stage, sums in values["scores"].items():
            for name, value in sums.items():
                setattr(summary.scores[stage], name, np.array(value) if isinstance(value, list) else value)
        return summary

    def columns(self) -> list[str]:
        """Names of the columns that a summary reads."""
        histograms = [f"{kind}_histogram_{stage}" for stage in self.stages for kind in ("foreground", "background")]
        return ["status", "error", *histograms, *(f"seconds_{name}" for name in TIMED)]

    def figures(self) -> dict[str, dict[str, Any]]:
        """Return the scores of every stage as plain values; None where no image had a mask."""
        return {
            stage: {
                name: None if isinstance(value, float) and math.isnan(value) else value
                for name, value in vars(scores.figures()).items()
            }
            for stage, scores in self.scores.items()
        }


def _kind(error: str | None) -> str:
    """Return what kind of error a message begins with: "FileNotFoundError"."""
    return (error or "").partition(":")[0][:40] or "no reason given"


def summaries(files: Iterable[str], stages: Sequence[str]) -> Iterator[Summary]:
    """Yield the sums of files of results, in order; a few are read at a time, and no maps.

    Parameters
    ----------
    files : iterable of str
        URIs.
    stages : sequence of str
        The method's stages.
    """

    def read(uri: str) -> Summary:
        part = Summary(stages)
        part.add(read_columns(uri, part.columns()))
        return part

    remaining = iter(files)
    with ThreadPoolExecutor(FILES_AT_ONCE) as threads:
        # In handfuls: what waits to be taken stays small.
        while handful := list(islice(remaining, 4 * FILES_AT_ONCE)):
            yield from threads.map(read, handful)


def _histograms(column: pa.ChunkedArray) -> np.ndarray:
    """Stack the histograms of the rows that have one, int64 (N, 256)."""
    present = column.drop_null().combine_chunks()
    return present.flatten().to_numpy(zero_copy_only=False).astype(np.int64).reshape(-1, LEVELS)
