"""The strategies against each other on one set of images, as Table 1 of the paper has them."""

import dataclasses
import io
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from jobs.finetuning.plan import make_plan
from jobs.finetuning.run import FinetuneOutcome, run
from jobs.finetuning.settings import STRATEGIES, FinetuneSettings
from jobs.planning.cluster import Cluster
from jobs.storage import files as storage
from jobs.training.fit import OnEpoch

TABLE = "table.md"
COLUMNS = ("strategy", "runs", "top-1 error, %", "top-5 error, %", "epochs", "minutes")


@dataclass(frozen=True)
class Comparison:
    """Errors of several runs of each strategy.

    Parameters
    ----------
    part : str
        The part of the images that they were measured on.
    rows : list of dict
        One a run: ``strategy``, ``seed``, ``images``, ``top1``, ``top5``, ``epochs``, ``best_epoch``, ``seconds``.
    """

    part: str
    rows: list[dict[str, Any]]

    def lines(self) -> list[tuple[str, ...]]:
        """Return the table's cells, a line a strategy; several runs as mean and standard deviation."""
        lines = []
        for strategy in STRATEGIES:
            rows = [row for row in self.rows if row["strategy"] == strategy]
            figures = [_spread([factor * row[name] for row in rows]) for name, factor in _FIGURES.items()]
            lines.append((strategy, str(len(rows)), *figures))
        return lines

    def markdown(self) -> str:
        """Return the table in Markdown."""
        head = ["| " + " | ".join(COLUMNS) + " |", "|---|" + "---:|" * (len(COLUMNS) - 1)]
        body = ["| " + " | ".join(line) + " |" for line in self.lines()]
        return "\n".join([f"Errors on {self.rows[0]['images']} {self.part} images.", "", *head, *body]) + "\n"

    def print(self, console: Console) -> None:
        """Print the table for a person."""
        table = Table(title=f"errors on {self.rows[0]['images']} {self.part} images")
        for name in COLUMNS:
            table.add_column(name, justify="left" if name == "strategy" else "right")
        for line in self.lines():
            table.add_row(*line)
        console.print(table)


_FIGURES = {"top1": 100.0, "top5": 100.0, "epochs": 1.0, "seconds": 1 / 60}


def runs_of(settings: FinetuneSettings) -> list[FinetuneSettings]:
    """Return the settings of every run: each strategy with each seed, in a folder of its own."""
    return [
        dataclasses.replace(
            settings,
            strategy=strategy,
            repeats=1,
            seed=seed,
            output=storage.join(settings.output, strategy, f"seed-{seed}"),
        )
        for seed in range(settings.seed, settings.seed + settings.repeats)
        for strategy in STRATEGIES
    ]


def compare(settings: FinetuneSettings, cluster: Cluster, on_epoch: OnEpoch) -> Comparison:
    """Do the runs that are not finished, one after the other, and write `TABLE` and ``table.parquet``."""
    rows = []
    part = "test"
    for own in runs_of(settings):
        plan = make_plan(own, cluster)
        print(f"\n{own.strategy}, seed {own.seed}: {plan.output_state}", flush=True)
        outcome = run(plan, on_epoch)
        part = list(outcome.errors)[-1]
        rows.append({"strategy": own.strategy, "seed": own.seed} | _figures(outcome))
    comparison = Comparison(part, rows)
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), buffer)
    storage.write_bytes(storage.join(settings.output, "table.parquet"), buffer.getvalue())
    storage.write_bytes(storage.join(settings.output, TABLE), comparison.markdown().encode())
    return comparison


def _figures(outcome: FinetuneOutcome) -> dict[str, Any]:
    errors = list(outcome.errors.values())[-1]
    return {
        "images": errors.images,
        "top1": errors.top1,
        "top5": errors.top5,
        "epochs": outcome.epochs,
        "best_epoch": outcome.best_epoch,
        "seconds": outcome.seconds,
    }


def _spread(values: Sequence[float]) -> str:
    mean = statistics.fmean(values)
    return f"{mean:.1f}" if len(values) == 1 else f"{mean:.1f} ± {statistics.stdev(values):.1f}"
