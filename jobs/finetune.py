"""The fine-tuning job: a classifier for the classes in a bucket of images.

``python -m jobs.finetune --dataset voc2012 --root URI --model vgg16 --strategy all --output URI``
"""

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from jobs.finetuning.settings import EACH, FinetuneSettings
from jobs.training.command import planned, train_command

if TYPE_CHECKING:
    from rich.console import Console

    from jobs.finetuning.plan import FinetunePlan
    from jobs.finetuning.run import FinetuneOutcome
    from jobs.planning.cluster import Cluster


def show_epoch(row: dict[str, Any]) -> None:
    """Print what an epoch brought."""
    from jobs.training.card import percent

    print(
        f"epoch {row['epoch']:3d}  loss {row['train_loss']:.4f}  validation loss {row['validation_loss']:.4f}, "
        f"top-1 error {percent(row['validation_top1_error'])}, top-5 {percent(row['validation_top5_error'])}  "
        f"({row['seconds']:.1f} s)",
        flush=True,
    )


def show_outcome(outcome: "FinetuneOutcome", console: "Console") -> None:
    """Print the errors of a finished run."""
    from rich.table import Table

    from jobs.training.card import percent

    table = Table(title=f"errors of epoch {outcome.best_epoch} of {outcome.epochs}")
    table.add_column("images")
    for name in ("count", "unreadable", "top-1 error", "top-5 error"):
        table.add_column(name, justify="right")
    for name, part in outcome.errors.items():
        table.add_row(name, str(part.images), str(part.unread), percent(part.top1), percent(part.top5))
    console.print(table)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code, see `jobs.console.failures.exit_code`."""
    return train_command(FinetuneSettings, arguments, __doc__, _prepare)


def _prepare(settings: FinetuneSettings) -> tuple[str, Callable[[], str]]:
    # Here and below, because it takes seconds to import: --help and wrong options are answered at once.
    from jobs.finetuning.plan import make_plan

    if settings.strategy != EACH:
        plan = planned(settings, make_plan)
        return plan.describe(), lambda: _train(plan)
    from jobs.finetuning.table import runs_of

    plans = [planned(one, make_plan) for one in runs_of(settings)]  # all are checked before the first begins
    return "\n\n".join(plan.describe() for plan in plans), lambda: _compare(settings, plans[0].cluster)


def _train(plan: "FinetunePlan") -> str:
    from rich.console import Console

    from jobs.finetuning.run import run
    from jobs.planning.networks import MODEL

    show_outcome(run(plan, show_epoch), Console())
    return MODEL


def _compare(settings: FinetuneSettings, cluster: "Cluster") -> str:
    from rich.console import Console

    from jobs.finetuning.table import TABLE, compare

    compare(settings, cluster, show_epoch).print(Console())
    return TABLE


if __name__ == "__main__":
    sys.exit(main())
