"""The distillation job: a run's maps teach a network to give such maps in one forward pass.

``python -m jobs.distil --run URI --output URI``
"""

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from jobs.distillation.settings import DistilSettings
from jobs.training.command import planned, train_command

if TYPE_CHECKING:
    from jobs.distillation.plan import DistilPlan


def show_epoch(row: dict[str, Any]) -> None:
    """Print what an epoch brought."""
    print(
        f"round {row['round']}  epoch {row['epoch']:3d}  loss {row['train_loss']:.4f}  "
        f"validation loss {row['validation_loss']:.4f}, difference {row['validation_difference']:.4f}  "
        f"({row['seconds']:.1f} s)",
        flush=True,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code, see `jobs.console.failures.exit_code`."""
    return train_command(DistilSettings, arguments, __doc__, _prepare)


def _prepare(settings: DistilSettings) -> tuple[str, Callable[[], str]]:
    # Here and below, because it takes seconds to import: --help and wrong options are answered at once.
    from jobs.distillation.plan import make_plan

    plan = planned(settings, make_plan)
    return plan.describe(), lambda: _train(plan)


def _train(plan: "DistilPlan") -> str:
    from jobs.distillation.run import run
    from jobs.planning.networks import MODEL

    for line in run(plan, show_epoch):
        print(line)
    return MODEL


if __name__ == "__main__":
    sys.exit(main())
