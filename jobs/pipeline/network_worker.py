"""The worker process that holds the network, for Ray."""

import os
from typing import Any

import pyarrow as pa
import ray
import torch

from jobs.pipeline.attempts import AttemptCounter
from jobs.pipeline.given_up import given_up
from jobs.pipeline.network import network_step
from jobs.pipeline.shard_row import ShardRow
from jobs.settings import SaliencySettings


class NetworkActor:
    """The network step in a worker of its own; the classifier comes out of the object store, once a node."""

    def __init__(
        self,
        classifier: Any,
        settings: SaliencySettings,
        attempts: AttemptCounter,
        rows_per_shard: int,
        gpu_share: float,
    ) -> None:
        self.attempts = attempts
        # As many threads as the slots it was given: more would take them from the tasks beside it.
        torch.set_num_threads(max(1, int(os.environ.get("OMP_NUM_THREADS", "1"))))
        self.step = network_step(ray.get(classifier), settings, rows_per_shard, gpu_share)

    def __call__(self, block: pa.Table) -> pa.Table:
        """Take one row of the dataset through the network step."""
        row = ShardRow.from_block(block)
        deadly = self.attempts.is_deadly("network", row.shard)
        with row.log.working("network"):
            images = self.step(given_up(row.images, "network") if deadly else row.images)
        row.log.warnings += self.step.passes.warnings
        return ShardRow(row.shard, images, row.log).to_block()
