"""The Ray Data pipeline: shards through prepare, network and results. The only file that builds Ray operators.

One row of the dataset is one shard: its images travel from step to step as an Arrow table inside that row. So a shard
stays whole however Ray bundles, splits or retries, and is written as one file by the task that has all of it.

The steps before and after the network run in workers that import neither torch nor this file, the network in
such that import neither decoders nor numba: they start sooner and take less memory.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import ray
from ray.data import ActorPoolStrategy

from jobs.pipeline.attempts import AttemptCounter
from jobs.pipeline.network_worker import NetworkActor
from jobs.pipeline.ray_data import configure
from jobs.pipeline.shard_row import ShardRow
from jobs.pipeline.steps import ShardSteps
from jobs.pipeline.work_log import ShardLog
from jobs.planning.plan import Plan
from jobs.run.summary import Summary


@dataclass(frozen=True)
class ShardReport:
    """What became of one shard.

    Parameters
    ----------
    shard : int
    summary : Summary
        Sums over its rows, all that its file holds.
    log : ShardLog
        When which worker worked on it.
    """

    shard: int
    summary: Summary
    log: ShardLog


def run_shards(plan: Plan, token: str) -> Iterator[ShardReport]:
    """Stream the shards that are to be done through the pipeline and report each as soon as its file is written.

    Parameters
    ----------
    plan : Plan
    token : str
        Of the driver's claim on the output: no worker writes once another driver has taken the output over.
    """
    settings = plan.settings
    shards = np.union1d(plan.remaining, np.fromiter(plan.failed, np.int64))
    if not len(shards):
        return
    configure(plan.shards.rows_per_shard)
    attempts = AttemptCounter()
    steps = ShardSteps.of(plan, token)

    def fetch_decode_superpixels(block: pa.Table) -> pa.Table:
        shard, log = int(shards[block["id"][0].as_py()]), ShardLog()
        deadly = attempts.is_deadly("prepare", shard)
        with log.working("prepare"), attempts.elsewhere("prepare", shard):
            images = steps.prepare(shard, deadly)
        return ShardRow(shard, images, log).to_block()

    def maps_scores_write(block: pa.Table) -> pa.Table:
        row = ShardRow.from_block(block)
        deadly = attempts.is_deadly("finish", row.shard)
        with row.log.working("finish"), attempts.elsewhere("finish", row.shard):
            summary = steps.finish(row.images, row.shard, deadly)
        return pa.table({"shard": [row.shard], "summary": [json.dumps(summary.to_plain())], "log": [row.log.to_json()]})

    one_shard: dict[str, Any] = {"batch_size": 1, "batch_format": "pyarrow", "zero_copy_batch": True}
    dataset = ray.data.range(len(shards), override_num_blocks=len(shards))
    dataset = dataset.map_batches(fetch_decode_superpixels, **one_shard)
    if plan.classifier is not None:
        dataset = dataset.map_batches(
            NetworkActor,
            fn_constructor_args=(
                ray.put(plan.classifier),
                settings,
                attempts,
                plan.shards.rows_per_shard,
                plan.gpu_share or 1.0,
            ),
            compute=ActorPoolStrategy(
                size=min(plan.network_workers, len(shards)),
                max_tasks_in_flight_per_actor=2,
                # One call at a time all the same. Without this Ray Data hands every call to a thread of its own, which
                # has neither the memory that the main thread keeps nor the CUDA graphs that it recorded.
                enable_true_multi_threading=True,
            ),
            **network_resources(plan),
            **one_shard,
        )
    dataset = dataset.map_batches(maps_scores_write, **one_shard)
    for row in dataset.iter_rows():
        summary = Summary.from_plain(plan.stages, json.loads(row["summary"]))
        yield ShardReport(int(row["shard"]), summary, ShardLog.from_json(row["log"]))


def network_resources(plan: Plan) -> dict[str, Any]:
    """Return what a network worker asks of Ray."""
    return {
        "num_cpus": plan.settings.cpus_per_network_worker,
        "num_gpus": plan.gpu_share,
        # One byte, which costs nothing: arguments that differ keep Ray Data from fusing the step before into the
        # network worker, which would have the network wait for every decode wherever no GPU tells the two apart. Not
        # where one does: an autoscaler would look for a node that offers memory beside the GPU.
        "memory": None if plan.gpu_share else 1,
    }
