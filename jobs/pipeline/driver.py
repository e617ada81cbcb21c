"""The driver of a run: it claims the output, hands out shards, counts what comes back, and says when all is there."""

import time
from dataclasses import dataclass

import numpy as np

from jobs.console.failures import sentence
from jobs.console.log import say
from jobs.console.progress import RunProgress
from jobs.errors import IncompleteRunError, StoppedError
from jobs.pipeline import connecting
from jobs.pipeline import operators as pipeline
from jobs.pipeline.metrics import RunMetrics
from jobs.pipeline.work_log import WorkLog
from jobs.pipeline.work_log import sentence as work_sentence
from jobs.planning.cost import recorded_cost
from jobs.planning.plan import Plan, make_plan
from jobs.run.budget import FailureBudget, too_many_failed
from jobs.run.claim import Claim
from jobs.run.claimed import claimed_run
from jobs.run.layout import SUCCESS, shard_file
from jobs.run.manifest_files import remove_leftovers, write_manifest
from jobs.run.output import finished_shards, look, remove_run, remove_strays
from jobs.run.record import RunRecord
from jobs.run.summary import Summary, summaries
from jobs.run.tally import Tally, TallyFile, tally_of
from jobs.storage import files as storage

SECONDS_BETWEEN_LOOKS = 10.0


@dataclass(frozen=True)
class Outcome:
    """What a finished run leaves.

    Parameters
    ----------
    summary : Summary
        Of all results.
    images_per_second : float, optional
        Without the start of Ray and of the workers, see `WorkLog.working_seconds`; None where nothing was to be done.
    seconds : float
        From the first shard handed out to the last one written.
    bottleneck : str, optional
        What held the run up, for a person.
    too_many_failed : str, optional
        That more images failed than the run may have, in a sentence; there is no ``_SUCCESS`` then.
    """

    summary: Summary
    images_per_second: float | None
    seconds: float
    bottleneck: str | None = None
    too_many_failed: str | None = None


def run(plan: Plan) -> Outcome:
    """Do a planned run: compute and write every row that is not there, the record, and ``_SUCCESS`` last.

    Whoever calls it looks at `Outcome.too_many_failed`.

    Raises
    ------
    ClaimedError
        If another driver works on the output; nothing has been touched then.
    ClaimLostError
        If another driver has taken the output over, or may soon.
    IncompleteRunError
        If a row of the manifest is not among the results.
    StoppedError
        By SIGTERM, SIGINT or a request in the output.
    TooManyFailedError
        If nearly all of the first images fail for one reason; the run goes on at its next start.
    """
    if plan.is_nothing_to_do:
        return Outcome(_tally(plan).summary, None, 0.0)
    with claimed_run(plan.settings.output, lambda text: say("waiting", text)) as claim:
        return _run_claimed(_looked_again(plan), claim)


def _looked_again(plan: Plan) -> Plan:
    """Return the plan for what the output holds now: another driver may have worked on it before it was claimed."""
    found = look(plan.settings.output, plan.settings.overwrite)
    finished = finished_shards(plan.settings.output, plan.shards, plan.epoch)
    if found.record == plan.record and (plan.settings.overwrite or np.array_equal(finished, plan.finished)):
        return plan
    return make_plan(plan.settings, plan.cluster)


def _run_claimed(plan: Plan, claim: Claim) -> Outcome:
    if plan.is_nothing_to_do:
        return Outcome(_tally(plan).summary, None, 0.0)
    output = plan.settings.output
    connecting.start(plan.cluster)
    if plan.cluster.address is None and (address := connecting.metrics_address()) is not None:
        say("metrics", f"metrics at {address}", error=False, address=address)
    if plan.output_state == "overwrite":
        remove_run(output)
    else:
        storage.remove_tree(storage.join(output, SUCCESS))
    if plan.staged is not None:
        remove_leftovers(output, plan.written_shards)
        write_manifest(plan.staged, output, plan.shards)
        plan.staged.folder.cleanup()
    record = RunRecord(output, plan.recorded(), plan.record or {})
    record.write_started()
    file = TallyFile(output, _tally(plan))
    old_failures = _without_failed(plan, file.tally)
    file.write()
    network_slots = plan.network_workers * plan.settings.cpus_per_network_worker
    work = WorkLog(plan.cluster.slots, network_slots)
    slots = _ElasticSlots(plan)
    budget = FailureBudget(plan.settings.most_failed, plan.rows_to_do)
    metrics = RunMetrics(plan.run_id, plan.rows_to_do, len(plan.remaining) + len(plan.failed))
    started = time.perf_counter()
    try:
        with metrics, RunProgress(plan.rows_to_do) as progress:
            for report in pipeline.run_shards(plan, claim.token):
                claim.check()
                work.add(report.log)
                slots.look(work)
                counts = _counts_of_session(plan, report, old_failures)
                progress.add(counts)
                metrics.add(report.log, counts, work)
                file.add(report.shard, report.summary, sum(counts.values()))
                if report.shard not in plan.failed:
                    budget.add(report.summary)
    except (Exception, StoppedError) as error:
        if claim.is_held:
            file.write(sentence(error))
        raise
    seconds = time.perf_counter() - started
    summary = file.tally.summary
    remove_strays(output, plan.epoch)
    missing = plan.images - int(plan.shards.rows(finished_shards(output, plan.shards, plan.epoch)).sum())
    if missing or summary.rows != plan.images:
        raise IncompleteRunError(f"{missing} of {plan.images} rows are missing from the results")
    claim.check()
    file.write()
    figures = work.figures(plan.rows_to_do)
    gpus = max(plan.cluster.gpus, round(work.workers * plan.gpu_share))
    cost = recorded_cost(plan.settings, figures, seconds, gpus, work.slots)
    too_many = too_many_failed(summary, plan.settings.most_failed)
    record.write_finished(summary, seconds, figures, cost, too_many)
    if not plan.rows_to_do:
        return Outcome(summary, None, seconds, None, too_many)
    bottleneck = work_sentence(figures, plan.cluster.gpus)
    return Outcome(summary, figures["images_per_second"], seconds, bottleneck, too_many)


class _ElasticSlots:
    """Tells the log of the work what slots there are, where nodes come and go."""

    def __init__(self, plan: Plan) -> None:
        self._is_on = plan.pool is not None and plan.pool.is_elastic
        self._plan = plan
        self._looked = 0.0

    def look(self, work: WorkLog) -> None:
        """Look at the cluster, not too often."""
        if not self._is_on or time.monotonic() < self._looked + SECONDS_BETWEEN_LOOKS:
            return
        self._looked = time.monotonic()
        work.slots = max(work.slots, connecting.slots_now())
        workers = min(work.workers, self._plan.network_workers)
        work.network_slots = workers * self._plan.settings.cpus_per_network_worker


def _tally(plan: Plan) -> Tally:
    """Return the sums of what is there."""
    rows = int(plan.shards.rows(plan.finished).sum())
    return tally_of(plan.settings.output, plan.epoch, plan.stages, plan.finished, rows)


def _without_failed(plan: Plan, tally: Tally) -> dict[int, int]:
    """Take the shards with rows to do again out of the sums; return how many rows of each are not ok."""
    files = (shard_file(plan.settings.output, shard, plan.epoch) for shard in plan.failed)
    failures = {}
    for shard, summary in zip(plan.failed, summaries(files, plan.stages), strict=True):
        tally.remove(shard, summary)
        failures[shard] = summary.failures
    return failures


def _counts_of_session(plan: Plan, report: pipeline.ShardReport, old_failures: dict[int, int]) -> dict[str, int]:
    """Count the rows of a shard that were worked on, by their status; of rows done again only whether they are ok."""
    if report.shard not in plan.failed:
        return report.summary.counts
    done = plan.failed[report.shard]
    still = report.summary.failures - (old_failures[report.shard] - done)
    return {"ok": done - still, "not ok": still}
