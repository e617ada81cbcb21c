"""The Ray Data pipeline: shards through prepare, network and results. The only file that builds Ray operators.

One row of the dataset is one shard, or some small ones: its images travel from step to step as an Arrow table inside
that row. So a shard stays whole however Ray bundles, splits or retries, and is written as one file by the task that has
all of it. A task prepares several rows, one after the other; if it is lost, the shards that are written are not done
again.

The steps before and after the network run in workers that import neither torch nor this file, the network in
such that import neither decoders nor numba: they start sooner and take less memory.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import ray
from ray.data import ActorPoolStrategy, Dataset

from jobs.pipeline.attempts import AttemptCounter, is_repeated
from jobs.pipeline.autoscaling import nodes_now
from jobs.pipeline.groups import Part, parts
from jobs.pipeline.network_worker import NetworkActor
from jobs.pipeline.ray_data import configure
from jobs.pipeline.shard_row import LEAST_BYTES, ShardRow, from_block, to_block
from jobs.pipeline.steps import ShardSteps
from jobs.pipeline.work_log import ShardLog
from jobs.planning.cluster import TASK_SLOTS
from jobs.planning.plan import Plan
from jobs.planning.sizes import memory_of_a_task
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
    shards = np.union1d(plan.remaining, np.fromiter(plan.failed, np.int64))
    if not len(shards):
        return
    attempts = AttemptCounter()
    steps = ShardSteps.of(plan, token)
    classifier = ray.put(plan.classifier) if plan.classifier is not None else None
    images = plan.shards.rows_per_shard
    for part in parts(shards, images, plan.bytes_of_a_shard, plan.expected_slots):
        configure(part.together * images, LEAST_BYTES)
        dataset = _dataset(plan, part, steps, attempts, classifier)
        for row in dataset.iter_rows():
            for shard, summary, log in json.loads(row["reports"]):
                yield ShardReport(shard, Summary.from_plain(plan.stages, summary), ShardLog.from_json(log))


def _dataset(plan: Plan, part: Part, steps: ShardSteps, attempts: AttemptCounter, classifier: Any) -> Dataset:
    """Return the pipeline over a part of the shards, which runs when its rows are asked for."""

    def fetch_decode_superpixels(block: pa.Table) -> pa.Table:
        rows = []
        for shard in part.row(block["id"][0].as_py()):
            log, images = ShardLog(), None
            if not (is_repeated() and steps.is_done(shard)):
                deadly = attempts.is_deadly("prepare", shard, log)
                with log.working("prepare"), attempts.elsewhere("prepare", shard):
                    images = steps.prepare(shard, deadly)
            rows.append(ShardRow(shard, images, log))
        return to_block(rows)

    def maps_scores_write(block: pa.Table) -> pa.Table:
        reports = []
        for row in from_block(block):
            if row.images is None:
                summary = steps.done(row.shard)
            else:
                deadly = attempts.is_deadly("finish", row.shard, row.log)
                with row.log.working("finish"), attempts.elsewhere("finish", row.shard):
                    summary = steps.finish(row.all_columns, row.shard, deadly)
            reports.append([row.shard, summary.to_plain(), row.log.to_json()])
        return pa.table({"reports": [json.dumps(reports)]})

    one_row: dict[str, Any] = {"batch_size": 1, "batch_format": "pyarrow", "zero_copy_batch": True}
    cluster = replace(plan.cluster, each=nodes_now())
    memory = memory_of_a_task(part.together * plan.bytes_of_a_shard, cluster)
    dataset = ray.data.range(part.rows, override_num_blocks=part.blocks)
    dataset = dataset.map_batches(fetch_decode_superpixels, memory=memory, **one_row)
    if classifier is not None:
        dataset = dataset.map_batches(
            NetworkActor,
            fn_constructor_args=(
                classifier,
                plan.settings,
                attempts,
                plan.shards.rows_per_shard,
            ),
            compute=_pool(plan, part),
            **network_resources(plan),
            **one_row,
        )
    return dataset.map_batches(maps_scores_write, memory=memory, **one_row)


def _pool(plan: Plan, part: Part) -> ActorPoolStrategy:
    assert plan.pool is not None
    most = min(plan.pool.most, part.rows)
    least = min(plan.pool.least, most)
    now = plan.cluster.gpus if plan.gpu_share else plan.cluster.slots - TASK_SLOTS
    return ActorPoolStrategy(
        min_size=least,
        max_size=most,
        initial_size=min(most, max(least, now)),
        max_tasks_in_flight_per_actor=2,
        # One call at a time all the same. Without this Ray Data hands every call to a thread of its own, which has
        # neither the memory that the main thread keeps nor the CUDA graphs that it recorded.
        enable_true_multi_threading=True,
    )


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
