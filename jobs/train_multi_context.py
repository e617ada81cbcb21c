"""The job that trains multi-context saliency: masks teach two networks to tell salient windows.

``python -m jobs.train_multi_context --images URI --masks URI --model squeezenet1_1 --output URI``
"""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jobs.console.command_line import parse_settings
from jobs.console.failures import Work, exit_code, sentence
from jobs.multi_context.settings import MultiContextSettings
from jobs.storage.redaction import redacted

if TYPE_CHECKING:
    from jobs.multi_context.plan import MultiContextPlan


def prepare_run(settings: MultiContextSettings) -> "MultiContextPlan":
    """Check the settings and make the plan, connecting to the Ray cluster if one is named. Nothing is written.

    Raises
    ------
    SettingsError
        With one sentence that says what is wrong and what to do.
    """
    # Here and below, because it takes seconds to import: --help and wrong options are answered at once.
    from jobs.multi_context.plan import make_plan
    from jobs.pipeline import connecting

    return make_plan(settings, connecting.chosen_cluster(settings.ray_address, settings.slots))


def show_epoch(row: dict[str, Any]) -> None:
    """Print what an epoch brought."""
    from jobs.training.card import percent

    print(
        f"{row['stage']:6s}  epoch {row['epoch']:3d}  loss {row['train_loss']:.4f}  "
        f"validation loss {row['validation_loss']:.4f}, wrong windows {percent(row['validation_error'])}  "
        f"({row['seconds']:.1f} s)",
        flush=True,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code, see `jobs.console.failures.exit_code`."""
    return exit_code(lambda: _prepare(arguments), "the run is incomplete", sentence)


def _prepare(arguments: Sequence[str] | None) -> Work | None:
    settings, dry_run = parse_settings(MultiContextSettings, arguments, __doc__)
    plan = prepare_run(settings)
    print(plan.describe(), flush=True)
    return None if dry_run else lambda: _work(plan)


def _work(plan: "MultiContextPlan") -> None:
    from jobs.multi_context.run import run
    from jobs.planning.networks import MODEL
    from jobs.storage import files as storage

    for line in run(plan, show_epoch).lines():
        print(line)
    print(f"result at {redacted(storage.join(plan.settings.output, MODEL))}")


if __name__ == "__main__":
    sys.exit(main())
