"""The worker process that holds the network, for Ray."""

import os
from typing import Any

import pyarrow as pa
import ray
import torch

from jobs.pipeline.attempts import AttemptCounter
from jobs.pipeline.given_up import given_up
from jobs.pipeline.network import network_step
from jobs.pipeline.shard_row import ShardRow, from_block, to_block
from jobs.settings import SaliencySettings


class NetworkActor:
    """The network step in a worker of its own; the classifier comes out of the object store, once a node."""

    def __init__(
        self,
        classifier: Any,
        settings: SaliencySettings,
        attempts: AttemptCounter,
        rows_per_shard: int,
    ) -> None:
        self.attempts = attempts
        # Of the GPU that this worker was given, which may be another kind than the next one's: the batch size is found
        # by what is free on it.
        share = float(ray.get_runtime_context().get_assigned_resources().get("GPU", 0.0))
        if not share:
            # Ray leaves GPUs in sight of a worker that asked for none.
            os.environ["CUDA_VISIBLE_DEVICES"] = ""
        # As many threads as the slots it was given: more would take them from the tasks beside it.
        torch.set_num_threads(max(1, int(os.environ.get("OMP_NUM_THREADS", "1"))))
        self.step = network_step(ray.get(classifier), settings, rows_per_shard, share or 1.0)

    def __call__(self, block: pa.Table) -> pa.Table:
        """Take the shards of one row of the dataset through the network step."""
        return to_block([self._shard(row) for row in from_block(block)])

    def _shard(self, row: ShardRow) -> ShardRow:
        if row.images is None:
            return row
        deadly = self.attempts.is_deadly("network", row.shard, row.log)
        splits = self.step.passes.memory_splits
        with row.log.working("network"):
            images = self.step(given_up(row.images, "network") if deadly else row.images)
        self.attempts.ended("network", row.shard)
        row.log.warnings += self.step.passes.warnings
        row.log.counts["memory_splits"] = self.step.passes.memory_splits - splits
        if torch.cuda.is_available():
            row.log.counts["gpu_bytes"] = torch.cuda.max_memory_reserved()
        return ShardRow(row.shard, images, row.log, row.others)
