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
from jobs.console.failures import exit_code
from jobs.errors import SettingsError


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
    json
        Print one JSON object instead of text for a person.
    """

    run: str
    failed: int = 20
    json: Annotated[bool, Parameter(negative="")] = False

    def __post_init__(self) -> None:
        if self.failed < 0:
            raise SettingsError(f"failed must be 0 or more, not {self.failed}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0, whatever the state; 2, there is no run."""
    return exit_code(lambda: _command(arguments), "the status cannot be told")


def _command(arguments: Sequence[str] | None) -> None:  # all of it reads: it never fails half-way
    settings, _ = parse_settings(StatusSettings, arguments, __doc__)
    # From here on, because it takes a second to import: --help and wrong options are answered at once.
    from rich.console import Console

    from jobs.console.tables import print_status
    from jobs.run.status import run_status

    status = run_status(settings.run, settings.failed)
    if settings.json:
        print(json.dumps(asdict(status) | {"failures": status.failures}, indent=2))
    else:
        print_status(status, Console(soft_wrap=True))


if __name__ == "__main__":
    sys.exit(main())
