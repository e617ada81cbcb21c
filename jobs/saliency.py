"""The saliency job: images in object storage to maps and scores in Parquet.

``python -m jobs.saliency --images URI [--masks URI] --output URI [--model vgg16] ...``
"""

import sys
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from jobs.console.command_line import parse_settings
from jobs.console.failures import Work, exit_code, sentence
from jobs.console.log import is_json, log_as, say
from jobs.errors import TooManyFailedError
from jobs.settings import SaliencySettings
from jobs.storage.redaction import redacted
from saliency_core.methods.registry import METHODS, NetworkMethod

if TYPE_CHECKING:
    from jobs.planning.plan import Plan


def prepare_run(settings: SaliencySettings, *, is_to_start: bool = False) -> "Plan":
    """Check the settings and make the plan, connecting to the Ray cluster if one is named. Nothing is written.

    Parameters
    ----------
    settings : SaliencySettings
    is_to_start : bool
        Whether the run will be started: a Ray of the job's own begins to start then, while the network is read.

    Raises
    ------
    SettingsError
        With one sentence that says what is wrong and what to do.
    """
    # Here and below, because it takes seconds to import: --help and wrong options are answered at once.
    from jobs.pipeline import connecting
    from jobs.planning.plan import make_plan

    with_gpus = isinstance(METHODS[settings.method], NetworkMethod) and settings.accelerator != "cpu"
    cluster = connecting.chosen_cluster(settings.ray_address, settings.slots, with_gpus)
    return make_plan(settings, cluster, partial(connecting.start_early, cluster) if is_to_start else lambda: None)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code, see `jobs.console.failures.exit_code`."""
    return exit_code(lambda: _prepare(arguments), "the run is incomplete", sentence)


def _prepare(arguments: Sequence[str] | None) -> Work | None:
    settings, dry_run = parse_settings(SaliencySettings, arguments, __doc__)
    log_as(settings.log_format)
    plan = prepare_run(settings, is_to_start=not dry_run)
    log_as(settings.log_format, plan.run_id)
    say("plan", plan.describe(), error=False, images=plan.images, to_do=plan.rows_to_do)
    if dry_run:
        return None
    if plan.is_nothing_to_do:
        text = f"the run at {redacted(plan.settings.output)} is finished: there is nothing to do"
        say("finished", text, error=False)
        return None
    return lambda: _work(plan)


def _work(plan: "Plan") -> None:
    from rich.console import Console

    from jobs.console.tables import print_summary
    from jobs.pipeline.driver import run
    from jobs.run.budget import failure_warning
    from jobs.run.layout import RESULTS
    from jobs.storage import files as storage

    outcome = run(plan)
    if not is_json():
        print_summary(outcome.summary, Console(), outcome.images_per_second)
    if outcome.bottleneck is not None:
        say("bottleneck", outcome.bottleneck, error=False)
    say(
        "finished",
        f"results at {redacted(storage.join(plan.settings.output, RESULTS))}",
        error=False,
        counts=outcome.summary.counts,
        images_per_second=outcome.images_per_second,
        seconds=round(outcome.seconds, 3),
    )
    if outcome.too_many_failed is not None:
        raise TooManyFailedError(outcome.too_many_failed)
    if (warning := failure_warning(outcome.summary)) is not None:
        say("warning", f"warning: {warning}", level="warning")


if __name__ == "__main__":
    sys.exit(main())
