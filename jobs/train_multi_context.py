"""The job that trains multi-context saliency: masks teach two networks to tell salient windows.

``python -m jobs.train_multi_context --images URI --masks URI --model squeezenet1_1 --output URI``
"""

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from jobs.multi_context.settings import MultiContextSettings
from jobs.training.command import planned, train_command

if TYPE_CHECKING:
    from jobs.multi_context.plan import MultiContextPlan


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
    return train_command(MultiContextSettings, arguments, __doc__, _prepare)


def _prepare(settings: MultiContextSettings) -> tuple[str, Callable[[], str]]:
    # Here and below, because it takes seconds to import: --help and wrong options are answered at once.
    from jobs.multi_context.plan import make_plan

    plan = planned(settings, make_plan)
    return plan.describe(), lambda: _train(plan)


def _train(plan: "MultiContextPlan") -> str:
    from jobs.multi_context.run import run
    from jobs.planning.networks import MODEL

    for line in run(plan, show_epoch):
        print(line)
    return MODEL


if __name__ == "__main__":
    sys.exit(main())
