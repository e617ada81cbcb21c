"""Scores of finished runs, from the histograms in their results.

``python -m jobs.evaluate --runs URI [URI ...] --output URI``
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from cyclopts import Parameter

from jobs.console.command_line import parse_settings
from jobs.console.failures import Work, exit_code
from jobs.storage.redaction import redacted


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class EvaluateSettings:
    """Settings of the evaluation.

    Parameters
    ----------
    runs
        Outputs of one or more runs of the saliency job.
    output
        Where scores.parquet and curves.parquet go: a folder or prefix.
    structure_scores
        Compute S-measure and weighted F-beta too: this reads the maps and fetches the masks again.
    partial
        Take runs that have not finished, with the rows that are there.
    ray_address
        A Ray cluster to spread the work over, or "local" for all cores of this machine; by default the one in
        RAY_ADDRESS, else this process does it.
    """

    runs: Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative="")]
    output: str
    structure_scores: Annotated[bool, Parameter(negative="")] = False
    partial: Annotated[bool, Parameter(negative="")] = False
    ray_address: str | None = None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code, see `jobs.console.failures.exit_code`."""
    return exit_code(lambda: _prepare(arguments), "the evaluation failed")


def _prepare(arguments: Sequence[str] | None) -> Work | None:
    settings, dry_run = parse_settings(EvaluateSettings, arguments, __doc__)
    # From here on, because it takes seconds to import: --help and wrong options are answered at once.
    from rich.console import Console

    from jobs.reporting.runs import open_runs
    from jobs.reporting.scores import evaluate, print_scores
    from jobs.reporting.tables import curves_table, parquet_file, scores_table
    from jobs.storage import files as storage

    runs = open_runs(settings.runs, partial=settings.partial)
    address = settings.ray_address or os.environ.get("RAY_ADDRESS")
    for run in runs:
        state = "finished" if run.finished else "unfinished"
        print(f"run       {redacted(run.uri)} ({run.method}, {state}, {len(run.files)} files)")

    def work() -> None:
        found = evaluate(runs, structure_scores=settings.structure_scores, ray_address=address)
        for name, table in (("scores.parquet", scores_table(found)), ("curves.parquet", curves_table(found))):
            storage.write_bytes(storage.join(settings.output, name), parquet_file(table))
        print_scores(found, Console())
        print(f"scores.parquet and curves.parquet at {redacted(settings.output)}")

    return None if dry_run else work


if __name__ == "__main__":
    sys.exit(main())
