"""The fine-tuning job: a classifier for the classes in a bucket of images.

``python -m jobs.finetune --dataset voc2012 --root URI --model vgg16 --strategy all --output URI``
"""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jobs.console.command_line import parse_settings
from jobs.console.failures import Work, exit_code, sentence
from jobs.finetuning.settings import EACH, FinetuneSettings
from jobs.storage.redaction import redacted

if TYPE_CHECKING:
    from rich.console import Console

    from jobs.finetuning.plan import FinetunePlan
    from jobs.finetuning.run import FinetuneOutcome


def prepare_run(settings: FinetuneSettings) -> "FinetunePlan":
    """Check the settings and make the plan, connecting to the Ray cluster if one is named. Nothing is written.

    Raises
    ------
    SettingsError
        With one sentence that says what is wrong and what to do.
    """
    # Here and below, because it takes seconds to import: --help and wrong options are answered at once.
    from jobs.finetuning.plan import make_plan
    from jobs.pipeline import connecting

    return make_plan(settings, connecting.chosen_cluster(settings.ray_address, settings.slots))


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
    return exit_code(lambda: _prepare(arguments), "the run is incomplete", sentence)


def _prepare(arguments: Sequence[str] | None) -> Work | None:
    settings, dry_run = parse_settings(FinetuneSettings, arguments, __doc__)
    runs = [settings]
    if settings.strategy == EACH:
        from jobs.finetuning.table import runs_of

        runs = runs_of(settings)
    for number, one in enumerate(runs):
        plan = prepare_run(one)  # all are checked before the first begins
        print(("\n" if number else "") + plan.describe(), flush=True)
    return None if dry_run else lambda: _work(settings, plan)


def _work(settings: FinetuneSettings, plan: "FinetunePlan") -> None:
    from rich.console import Console

    from jobs.finetuning.run import run
    from jobs.finetuning.table import compare
    from jobs.planning.networks import MODEL
    from jobs.storage import files as storage

    if settings.strategy == EACH:
        compare(settings, plan.cluster, show_epoch).print(Console())
        result = "table.md"
    else:
        show_outcome(run(plan, show_epoch), Console())
        result = MODEL
    print(f"result at {redacted(storage.join(settings.output, result))}")


if __name__ == "__main__":
    sys.exit(main())
