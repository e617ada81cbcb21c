"""The job without Ray: the same steps of the same shards, one after the other, for tests of what is around them."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from jobs.pipeline import connecting
from jobs.pipeline import operators as pipeline
from jobs.pipeline.operators import ShardReport
from jobs.pipeline.steps import ShardSteps
from jobs.pipeline.work_log import ShardLog
from jobs.planning.plan import Plan
from jobs.run import claim


def use_plain_pipeline(patch: pytest.MonkeyPatch, before: Callable[[int], Any] = lambda shard: None) -> None:
    """Put the plain loop in the place of Ray; `before` is called with every shard before it is done.

    For methods without a network.
    """

    def run_shards(plan: Plan, token: str) -> Iterator[ShardReport]:
        steps = ShardSteps.of(plan, token)
        for shard in np.union1d(plan.remaining, list(plan.failed)).astype(int).tolist():
            before(shard)
            yield ShardReport(shard, steps.finish(steps.prepare(shard), shard), ShardLog())

    patch.setattr(connecting, "start", lambda cluster: None)
    patch.setattr(pipeline, "run_shards", run_shards)
    patch.setattr(claim, "SETTLE_SECONDS", 0.05)
