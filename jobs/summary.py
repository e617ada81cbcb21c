"""What came of a run, read from its results: counts, scores and seconds, without touching the maps."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from jobs import storage
from jobs.results import FOLDER
from jobs.schema import TIMED
from saliency_core.data_set_scores import DataSetScores
from saliency_core.scores import LEVELS


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
    """

    stages: Sequence[str]
    counts: Counter[str] = field(default_factory=Counter)
    scores: dict[str, DataSetScores] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(TIMED, 0.0))

    def __post_init__(self) -> None:
        self.scores = {stage: DataSetScores() for stage in self.stages}

    @property
    def rows(self) -> int:
        """Rows of the results."""
        return self.counts.total()

    def add(self, rows: pa.Table) -> None:
        """Add a part of the results; only the columns that `columns` names are needed."""
        self.counts.update(rows["status"].to_pylist())
        for name in TIMED:
            self.seconds[name] += float(np.nansum(rows[f"seconds_{name}"].to_numpy()))
        for stage in self.stages:
            foreground = _histograms(rows[f"foreground_histogram_{stage}"])
            background = _histograms(rows[f"background_histogram_{stage}"])
            self.scores[stage].add(foreground, background)

    def columns(self) -> list[str]:
        """Names of the columns that a summary reads."""
        histograms = [f"{kind}_histogram_{stage}" for stage in self.stages for kind in ("foreground", "background")]
        return ["status", *histograms, *(f"seconds_{name}" for name in TIMED)]

    def figures(self) -> dict[str, dict[str, Any]]:
        """Return the scores of every stage as plain values; None where no image had a mask."""
        return {
            stage: {
                name: None if isinstance(value, float) and math.isnan(value) else value
                for name, value in vars(scores.figures()).items()
            }
            for stage, scores in self.scores.items()
        }

    def print(self, console: Console, images_per_second: float | None) -> None:
        """Print counts, scores and speed as tables for a person."""
        counts = Table(title="images")
        counts.add_column("status")
        counts.add_column("count", justify="right")
        for status, count in self.counts.most_common():
            counts.add_row(status, str(count))
        console.print(counts)
        if any(scores.images for scores in self.scores.values()):
            table = Table(title="scores (F-beta, beta² = 0.3)")
            table.add_column("stage")
            for name in ("A", "B", "C", "adaptive", "MAE", "images"):
                table.add_column(name, justify="right")
            for stage, scores in self.scores.items():
                found = scores.figures()
                values = (
                    found.f_beta_of_mean_curve,
                    found.f_beta_max_of_mean,
                    found.f_beta_mean_of_max,
                    found.f_beta_adaptive,
                    found.mae,
                )
                table.add_row(stage, *(f"{value:.4f}" for value in values), str(found.images))
            console.print(table)
        parts = ", ".join(f"{name} {value / max(self.rows, 1) * 1000:.1f}" for name, value in self.seconds.items())
        console.print(f"milliseconds of work per image: {parts}")
        if images_per_second is not None:
            console.print(f"{images_per_second:.2f} images per second")


def read_results(output: str, columns: Sequence[str]) -> Iterator[pa.Table]:
    """Yield the named columns of a run's results, file by file, in the order of the shards."""
    for uri in storage.list_files(storage.join(output, FOLDER)):
        if uri.endswith(".parquet"):
            filesystem, path = storage.resolve(uri)
            with filesystem.open(path, "rb") as file:
                yield pq.read_table(file, columns=list(columns))


def summarise(output: str, stages: Sequence[str]) -> Summary:
    """Read the results of a run below `output`."""
    summary = Summary(stages)
    for rows in read_results(output, summary.columns()):
        summary.add(rows)
    return summary


def _histograms(column: pa.ChunkedArray) -> np.ndarray:
    """Stack the histograms of the rows that have one, int64 (N, 256)."""
    present = column.drop_null().combine_chunks()
    return present.flatten().to_numpy(zero_copy_only=False).astype(np.int64).reshape(-1, LEVELS)
