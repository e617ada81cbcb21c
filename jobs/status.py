"""How a run stands, from its folder alone: while it runs and afterwards, from any machine.

``python -m jobs.status --run URI [--watch] [--json]``
"""

import json
import sys
import time
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
    watch
        Look again every few seconds, until nobody works on the run any more.
    every
        Seconds between two looks.
    json
        Print one JSON object instead of text for a person; with --watch one a line.
    """

    run: str
    failed: int = 20
    failed_to: str | None = None
    stop: Annotated[bool, Parameter(negative="")] = False
    watch: Annotated[bool, Parameter(negative="")] = False
    every: float = 5.0
    json: Annotated[bool, Parameter(negative="")] = False

    def __post_init__(self) -> None:
        if self.failed < 0:
            raise SettingsError(f"failed must be 0 or more, not {self.failed}")
        if not self.every > 0:
            raise SettingsError(f"every must be more than 0 seconds, not {self.every}")
        if self.watch and (self.stop or self.failed_to is not None):
            raise SettingsError("--watch only looks: give --stop or --failed-to without it")
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
    console = Console(soft_wrap=True)

    def work() -> None:
        if settings.failed_to is not None:
            count = write_failed_images(settings.run, settings.failed_to)
            print(f"{count} failed images in {redacted(settings.failed_to)}", file=sys.stderr)
        if settings.json:
            print(json.dumps(asdict(found) | {"failures": found.failures}, indent=None if settings.watch else 2))
        else:
            print_status(found, console)

    def watch() -> None:
        nonlocal found
        while True:
            if console.is_terminal and not settings.json:
                console.clear()
            work()
            sys.stdout.flush()
            if found.holder is None or found.state in ("finished", "failed", "unfinished"):
                return
            time.sleep(settings.every)
            found = run_status(settings.run, settings.failed)

    return watch if settings.watch else work


if __name__ == "__main__":
    sys.exit(main())
