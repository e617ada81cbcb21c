"""A report on finished runs: curves, scores, speed and a gallery in one HTML file that needs nothing else.

``python -m jobs.report --runs URI [URI ...] --output DIR``
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from cyclopts import Parameter

from jobs.console.command_line import parse_settings
from jobs.console.failures import Work, exit_code
from jobs.errors import SettingsError
from jobs.storage.redaction import redacted


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ReportSettings:
    """Settings of a report.

    Parameters
    ----------
    runs
        Outputs of one or more runs of the saliency job; the gallery is chosen by the first one's last stage.
    output
        Where report.html and the folder plots go: a folder or prefix.
    images
        Images in the gallery of each kind: best, median, worst.
    structure_scores
        Compute S-measure and weighted F-beta too: this reads all maps and fetches all masks again.
    partial
        Take runs that have not finished, with the rows that are there.
    ray_address
        A Ray cluster to spread the scoring over, or "local" for all cores of this machine; by default the one in
        RAY_ADDRESS, else this process does it.
    """

    runs: Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative="")]
    output: str
    images: int = 4
    structure_scores: Annotated[bool, Parameter(negative="")] = False
    partial: Annotated[bool, Parameter(negative="")] = False
    ray_address: str | None = None

    def __post_init__(self) -> None:
        if self.images < 1:
            raise SettingsError(f"images must be 1 or more, not {self.images}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code, see `jobs.console.failures.exit_code`."""
    return exit_code(lambda: _prepare(arguments), "the report failed")


def _prepare(arguments: Sequence[str] | None) -> Work | None:
    settings, dry_run = parse_settings(ReportSettings, arguments, __doc__)
    # From here on, because it takes seconds to import: --help and wrong options are answered at once.
    from jobs.reporting.report import PAGE, write_report
    from jobs.reporting.runs import open_runs
    from jobs.storage import files as storage

    runs = open_runs(settings.runs, partial=settings.partial)
    for run in runs:
        state = "finished" if run.finished else "unfinished"
        print(f"run       {redacted(run.uri)} ({run.method}, {state}, {len(run.files)} files)")

    def work() -> None:
        address = settings.ray_address or os.environ.get("RAY_ADDRESS")
        found = write_report(
            runs, settings.output, settings.images, structure_scores=settings.structure_scores, ray_address=address
        )
        for warning in found:
            print(f"warning   {warning}")
        print(f"report    {redacted(storage.join(settings.output, PAGE))}")

    return None if dry_run else work


if __name__ == "__main__":
    sys.exit(main())
