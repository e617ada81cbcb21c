"""The scores of runs: by this process or a cluster, and as a table for a person."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from jobs.reporting.evaluation import RunSums, evaluate_run
from jobs.reporting.runs import Run
from jobs.reporting.tables import FIGURES, Evaluated, evaluated, scores_table


def evaluate(runs: Sequence[Run], *, structure_scores: bool = False, ray_address: str | None = None) -> list[Evaluated]:
    """Score runs.

    Parameters
    ----------
    runs : sequence of Run
        As `jobs.reporting.runs.open_runs` returns them.
    structure_scores : bool
        Whether to compute S-measure and weighted F-beta too.
    ray_address : str, optional
        A Ray cluster to spread the work over; None: this process does it.
    """
    sums: list[RunSums]
    if ray_address is None:
        sums = [evaluate_run(run, structure_scores=structure_scores) for run in runs]
    else:
        # Here, because it imports Ray, for which nobody without a cluster shall wait.
        from jobs.pipeline.connecting import connect
        from jobs.reporting.on_cluster import evaluate_run_on_cluster

        connect(ray_address)
        sums = [evaluate_run_on_cluster(run, structure_scores=structure_scores) for run in runs]
    return evaluated(runs, sums)


def print_scores(runs: Sequence[Evaluated], console: Console) -> None:
    """Print the scores of every run, a column a stage, for a person."""
    for run in runs:
        rows = scores_table([run]).to_pylist()
        table = Table(title=Text(run.name))
        table.add_column("score")
        for row in rows:
            table.add_column(row["stage"], justify="right")
        for name, short in FIGURES.items():
            if any(row[name] is not None for row in rows):
                table.add_row(short, *("" if row[name] is None else f"{row[name]:.4f}" for row in rows))
        table.add_row("images", *(str(row["images"]) for row in rows))
        console.print(table)
        counts = ", ".join(f"{status} {count}" for status, count in run.sums.summary.counts.most_common())
        parts = ", ".join(f"{name} {seconds * 1000:.1f}" for name, seconds in run.seconds_per_image().items())
        console.print(Text(f"{counts}; milliseconds of work per image: {parts}"))
        lost = max(sums.without_mask for sums in run.sums.structure.values())
        if lost:
            console.print(f"S and weighted F lack {lost} images: their masks cannot be fetched, or have changed")
    console.print("A: best F-beta of the mean curve; B: best mean F-beta; C: mean of the best F-betas; beta² = 0.3")
