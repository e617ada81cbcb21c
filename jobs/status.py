"""How a run stands, from its folder alone: while it runs and afterwards, from any machine.

``python -m jobs.status --run URI [--json]``
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated

from cyclopts import Parameter

from jobs.console.command_line import parse_settings
from jobs.console.failures import Work, exit_code
from jobs.errors import SettingsError
from jobs.storage.redaction import redacted


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class StatusSettings:
    """Settings of the status command.

    Parameters
    ----------
    run
        Output of a run of the saliency job.
    failed
        The most images to list whose status is not ok, latest first.
    failed_to
        Where all images whose status is not ok go as a table: the URI of a .parquet or .csv file.
    stop
        Instead of telling how it stands: ask the driver that works on the run, of this or the fine-tuning job, to
        stop, and wait until it has.
    json
        Print one JSON object instead of text for a person.
    """

    run: str
    failed: int = 20
    failed_to: str | None = None
    stop: Annotated[bool, Parameter(negative="")] = False
    json: Annotated[bool, Parameter(negative="")] = False

    def __post_init__(self) -> None:
        if self.failed < 0:
            raise SettingsError(f"failed must be 0 or more, not {self.failed}")
        if self.failed_to is not None and not self.failed_to.endswith((".parquet", ".csv")):
            raise SettingsError(f"--failed-to names a .parquet or .csv file, not {self.failed_to}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0, whatever the state; 1, not stopped or written; 2, no run."""
    return exit_code(lambda: _prepare(arguments), "not all was done")


def _prepare(arguments: Sequence[str] | None) -> Work:
    settings, _ = parse_settings(StatusSettings, arguments, __doc__)
    # From here on, because it takes a second to import: --help and wrong options are answered at once.
    from rich.console import Console

    from jobs.console.tables import print_status
    from jobs.run.failed_images import write_failed_images
    from jobs.run.status import run_status
    from jobs.run.stopping import stop_run

    if settings.stop:
        return lambda: print(stop_run(settings.run))
    found = run_status(settings.run, settings.failed)

    def work() -> None:
        if settings.failed_to is not None:
            count = write_failed_images(settings.run, settings.failed_to)
            print(f"{count} failed images in {redacted(settings.failed_to)}", file=sys.stderr)
        if settings.json:
            print(json.dumps(asdict(found) | {"failures": found.failures}, indent=2))
        else:
            print_status(found, Console(soft_wrap=True))

    return work


if __name__ == "__main__":
    sys.exit(main())
