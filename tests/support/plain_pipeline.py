"""The job without Ray: the same shards through the same steps in this process, for tests of what is around them."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from jobs.pipeline import connecting
from jobs.pipeline import operators as pipeline
from jobs.pipeline.operators import ShardReport
from jobs.pipeline.prepare import PrepareStep
from jobs.pipeline.results import ResultStep
from jobs.pipeline.work_log import ShardLog
from jobs.planning.plan import Plan
from jobs.run import claim
from jobs.run.claim import check_claim
from jobs.run.manifest_files import read_shard
from jobs.run.redo import prepare_failed


def use_plain_pipeline(patch: pytest.MonkeyPatch, before: Callable[[int], Any] = lambda shard: None) -> None:
    """Put the plain loop in the place of Ray; `before` is called with every shard before it is done."""

    def run_shards(plan: Plan, token: str) -> Iterator[ShardReport]:
        settings = plan.settings
        prepare, finish = PrepareStep(settings, None), ResultStep(settings)
        for shard in np.union1d(plan.remaining, list(plan.failed)).astype(int).tolist():
            before(shard)
            rows = read_shard(settings.output, shard)
            if shard in plan.failed:
                prepared = prepare_failed(rows, settings.output, shard, settings.retried_statuses, prepare)
            else:
                prepared = prepare(rows)
            check_claim(settings.output, token)
            yield ShardReport(shard, finish(prepared, shard), ShardLog())

    patch.setattr(connecting, "start", lambda cluster: None)
    patch.setattr(pipeline, "run_shards", run_shards)
    patch.setattr(claim, "SETTLE_SECONDS", 0.05)
