"""A bound on shards that end every process which takes them: after some attempts their rows get a status instead.

Machines that are taken away end processes, too, and Ray Data repeats a task as often as it takes. So only many deaths
in a row on one shard are taken for the shard's own fault. Code that decodes files does not run in these processes
(`jobs.decoding.process`): what is left is memory that ends, and faults of the libraries that they call.
"""

from collections import Counter
from typing import Any

import pyarrow as pa
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

MOST_ATTEMPTS = 8
"""Attempts at one step of one shard. All images of the shard share the fate of the one that is at fault."""


class AttemptCounter:
    """Counts how often each step of each shard was begun: Ray Data repeats without telling which attempt it is.

    Made by the driver, passed to the steps. The count is kept by an actor of its own, beside the driver, without a
    CPU slot; if that dies, counting starts again.

    Parameters
    ----------
    most : int
        Attempts at a step of a shard.
    """

    def __init__(self, most: int = MOST_ATTEMPTS) -> None:
        self.most = most
        beside = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
        options: dict[str, Any] = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": -1}
        self._actor: Any = ray.remote(_Counts).options(scheduling_strategy=beside, **options).remote()

    def is_deadly(self, step: str, shard: int) -> bool:
        """Count a beginning; tell whether there were so many before that this one is not worth it."""
        return bool(ray.get(self._actor.begin.remote((step, shard))) > self.most)


class _Counts:
    def __init__(self) -> None:
        self.counts: Counter[tuple[str, int]] = Counter()

    def begin(self, piece: tuple[str, int]) -> int:
        self.counts[piece] += 1
        return self.counts[piece]


def given_up(rows: pa.Table, step: str) -> pa.Table:
    """Return the rows with the status method_error instead of ok, and without the network's input.

    Parameters
    ----------
    rows : pyarrow.Table
        Of `prepare.PREPARED` or `network.ATTRIBUTED`.
    step : str
        What is not done, for a person.
    """
    message = (
        f"WorkerDiedError: every process died that worked on the shard of this image ({step}); "
        "the fault may be another image's: a new run with --rows-per-file 1 tells whose"
    )
    statuses, errors = rows["status"].to_pylist(), rows["error"].to_pylist()
    for index, status in enumerate(statuses):
        if status in ("ok", "mask_error"):
            statuses[index], errors[index] = "method_error", message
    changed = {"status": statuses, "error": errors, "input": [None] * len(rows)}
    columns = {
        field.name: pa.array(changed[field.name], field.type) if field.name in changed else rows[field.name]
        for field in rows.schema
    }
    return pa.table(columns, schema=rows.schema)
