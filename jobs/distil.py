"""The distillation job: a run's maps teach a network to give such maps in one forward pass.

``python -m jobs.distil --run URI --output URI``
"""

import sys
from collections.abc import Sequence
from typing import Any

from jobs.console.command_line import parse_settings
from jobs.console.failures import exit_code, sentence
from jobs.distillation.plan import DistilPlan, make_plan
from jobs.distillation.run import run
from jobs.distillation.settings import DistilSettings
from jobs.pipeline import connecting
from jobs.planning.networks import MODEL
from jobs.storage import files as storage


def prepare_run(settings: DistilSettings) -> DistilPlan:
    """Check the settings and make the plan, connecting to the Ray cluster if one is named. Nothing is written.

    Raises
    ------
    SettingsError
        With one sentence that says what is wrong and what to do.
    """
    return make_plan(settings, connecting.chosen_cluster(settings.ray_address, settings.slots))


def show_epoch(row: dict[str, Any]) -> None:
    """Print what an epoch brought."""
    print(
        f"round {row['round']}  epoch {row['epoch']:3d}  loss {row['train_loss']:.4f}  "
        f"validation loss {row['validation_loss']:.4f}, difference {row['validation_difference']:.4f}  "
        f"({row['seconds']:.1f} s)",
        flush=True,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0 done, 1 incomplete, 2 cannot start as asked."""
    return exit_code(lambda: _command(arguments), "the run is incomplete", sentence)


def _command(arguments: Sequence[str] | None) -> None:
    settings, dry_run = parse_settings(DistilSettings, arguments, __doc__)
    plan = prepare_run(settings)
    print(plan.describe(), flush=True)
    if dry_run:
        return
    for line in run(plan, show_epoch).lines():
        print(line)
    print(f"result at {storage.redacted(storage.join(settings.output, MODEL))}")


if __name__ == "__main__":
    sys.exit(main())
