"""The worker process that holds the network, for Ray."""

import os
import threading
import time
from typing import Any

import pyarrow as pa
import ray
import ray._private.state
import torch

from jobs.pipeline.attempts import AttemptCounter
from jobs.pipeline.given_up import given_up
from jobs.pipeline.network import network_step
from jobs.pipeline.shard_row import ShardRow, from_block, to_block
from jobs.settings import SaliencySettings

SECONDS_BETWEEN_LOOKS = 2.0
SECONDS_OF_REST = 5.0
"""Without work on a node that goes, before the worker moves on: Ray Data hands it none from then on."""


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
        self.working = threading.Lock()
        self.worked = time.monotonic()
        threading.Thread(target=self._leave_in_time, name="leave in time", daemon=True).start()

    def __call__(self, block: pa.Table) -> pa.Table:
        """Take the shards of one row of the dataset through the network step."""
        with self.working:
            done = to_block([self._shard(row) for row in from_block(block)])
            self.worked = time.monotonic()
        return done

    def _leave_in_time(self) -> None:
        """End this process once its node is announced to go and it has no work left: Ray starts it on another node.

        Ray Data hands a worker on such a node no work, but counts it as one of the pool until the node is gone: others
        would take its place only then, minutes later.
        """
        here = ray.get_runtime_context().get_node_id()
        while True:
            time.sleep(SECONDS_BETWEEN_LOOKS)
            if here not in ray._private.state.state.get_draining_nodes():  # Ray has no public name for it
                continue
            with self.working:
                if time.monotonic() > self.worked + SECONDS_OF_REST:
                    os._exit(1)

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
