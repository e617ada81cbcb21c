"""The saliency job: images in object storage to maps and scores in Parquet.

``python -m jobs.saliency --images URI [--masks URI] --output URI [--model vgg16] ...``
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console

from jobs import pipeline, storage
from jobs.command_line import parse_settings
from jobs.failures import sentence
from jobs.manifest import write_manifest
from jobs.plan import Plan, local_cluster, make_plan, remove_run
from jobs.progress import RunProgress
from jobs.record import RunRecord
from jobs.settings import SaliencySettings, SettingsError
from jobs.summary import Summary, summarise
from saliency_core.methods import METHODS


class IncompleteRunError(RuntimeError):
    """Rows are missing from the results."""


@dataclass(frozen=True)
class Outcome:
    """What a finished run leaves.

    Parameters
    ----------
    summary : Summary
    images_per_second : float
        Without the start of Ray and of the network workers up to the first pass.
    seconds : float
        From the first shard handed out to the last one written.
    """

    summary: Summary
    images_per_second: float
    seconds: float


def prepare_run(settings: SaliencySettings) -> Plan:
    """Check the settings and make the plan, connecting to the Ray cluster if one is named. Nothing is written.

    Raises
    ------
    SettingsError
        With one sentence that says what is wrong and what to do.
    """
    return make_plan(settings, pipeline.connect(settings) or local_cluster(settings))


def run(plan: Plan) -> Outcome:
    """Do a planned run: compute and write every row that is not there, the record, and ``_SUCCESS`` last.

    Raises
    ------
    IncompleteRunError
        If a row of the manifest is not among the results.
    """
    settings = plan.settings
    if plan.output_state == "overwrite":
        remove_run(settings.output)
    pipeline.start(plan.cluster)
    record = RunRecord(plan)
    if plan.output_state != "unfinished":
        write_manifest(plan.manifest, settings.output, plan.rows_per_shard)
    record.write_started()
    total = plan.manifest.table.num_rows
    shards = plan.remaining_shards
    remaining = sum(min(plan.rows_per_shard, total - shard * plan.rows_per_shard) for shard in shards)
    started = time.perf_counter()
    with RunProgress(remaining) as progress:
        for report in pipeline.run_shards(plan, shards) if shards else ():
            progress.add(report.counts)
    seconds = time.perf_counter() - started
    summary = summarise(settings.output, METHODS[settings.method].stages)
    if summary.rows != total:
        raise IncompleteRunError(f"{total - summary.rows} of {total} rows are missing from the results")
    record.write_finished(summary, seconds, remaining)
    return Outcome(summary, remaining / seconds, seconds)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0 all rows written, 1 incomplete, 2 cannot start as asked."""
    try:
        settings, dry_run = parse_settings(SaliencySettings, arguments, __doc__)
        plan = prepare_run(settings)
    except SettingsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(plan.describe(), flush=True)
    if dry_run:
        return 0
    try:
        outcome = run(plan)
    except Exception as error:  # the last word of a failed job: one sentence, and an exit code that says so
        print(f"error: the run is incomplete: {sentence(error)}", file=sys.stderr)
        return 1
    outcome.summary.print(Console(), outcome.images_per_second)
    print(f"results at {storage.redacted(storage.join(settings.output, 'results'))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
