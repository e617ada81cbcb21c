"""A contact sheet of a run: original, every stage and mask for a sample of its rows, straight from the results.

``python -m jobs.contact_sheet --run URI --output sheet.png [--rows 8] [--order best|median|worst|spread|first]``
"""

import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from cyclopts import Parameter

from jobs.console.command_line import parse_settings
from jobs.console.failures import Work, exit_code
from jobs.errors import SettingsError
from jobs.reporting.options import Order
from jobs.storage.redaction import redacted


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ContactSheetSettings:
    """Settings of a contact sheet.

    Parameters
    ----------
    run
        Output of a run of the saliency job, finished or not.
    output
        Where the PNG file goes.
    rows
        Number of images.
    order
        Which images, by the F-beta of the last stage: best first, worst first, those in the middle, a spread from best
        to worst, or the first rows of the results; by default a spread, or the first where no row has a score.
    """

    run: str
    output: str
    rows: int = 8
    order: Order | None = None

    def __post_init__(self) -> None:
        if self.rows < 1:
            raise SettingsError(f"rows must be 1 or more, not {self.rows}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code, see `jobs.console.failures.exit_code`."""
    return exit_code(lambda: _prepare(arguments), "there is no contact sheet")


def _prepare(arguments: Sequence[str] | None) -> Work | None:
    settings, dry_run = parse_settings(ContactSheetSettings, arguments, __doc__)
    # From here on, because it takes seconds to import: --help and wrong options are answered at once.
    from jobs.reporting.contact_sheet import contact_sheet
    from jobs.reporting.runs import open_run
    from jobs.storage import files as storage

    if dry_run:
        run = open_run(settings.run, partial=True)
        print(f"run       {redacted(run.uri)} ({run.method}, {len(run.files)} files)")
        return None

    def work() -> None:
        sheet = contact_sheet(settings.run, settings.rows, settings.order)
        buffer = io.BytesIO()
        sheet.save(buffer, "PNG")
        storage.write_bytes(settings.output, buffer.getvalue())
        print(f"contact sheet at {redacted(settings.output)}")

    return work


if __name__ == "__main__":
    sys.exit(main())
