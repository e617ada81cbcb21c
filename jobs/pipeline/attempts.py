"""A bound on shards that end every process which takes them: after some attempts their rows get a status instead.

Machines that are taken away end processes, too, and Ray Data repeats a task as often as it takes. So only many deaths
in a row on one shard are taken for the shard's own fault. Code that decodes files does not run in these processes
(`jobs.decoding.process`): what is left is memory that ends, and faults of the libraries that they call.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import ray
from ray.exceptions import RaySystemError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from jobs.errors import SurroundingsError, WriteError
from jobs.pipeline.work_log import ShardLog

MOST_ATTEMPTS = 8
"""Attempts at one step of one shard. All images of the shard share the fate of the one that is at fault."""


MOST_PLACES = 3
"""Tries at a step of a shard where the surroundings fail: one node may lack what the others have."""


Piece = tuple[str, int]
"""A step, and a shard."""


class TryElsewhereError(RaySystemError):
    """The surroundings of this task fail. Ray Data repeats tasks that raise a RaySystemError, spread over the nodes."""


def is_repeated() -> bool:
    """Tell whether the task that this process works on was begun before, somewhere, and lost."""
    return _attempt() > 0


def _attempt() -> int:
    worker: Any = ray._private.worker.global_worker  # Ray has no public name for it
    return int(worker.core_worker.get_current_task_attempt_number())


class AttemptCounter:
    """Counts how often each step of each shard was begun without an end.

    Made by the driver, passed to the steps. The count is kept by an actor of its own, beside the driver, without a
    CPU slot; if that dies, counting starts again. It holds what is under way, whatever the number of shards.

    Parameters
    ----------
    most : int
        Attempts at a step of a shard.
    """

    def __init__(self, most: int = MOST_ATTEMPTS) -> None:
        self.most = most
        beside = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
        options: dict[str, Any] = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": -1}
        self._ended: list[Piece] = []
        self._actor: Any = ray.remote(_Counts).options(scheduling_strategy=beside, **options).remote()

    def is_deadly(self, step: str, shard: int, log: ShardLog) -> bool:
        """Count a beginning; tell whether so many before had no end that this one is not worth it.

        The log is told how often it was begun before, in vain, or its outcome lost with a node.
        """
        count: int = ray.get(self._actor.begin.remote((step, shard), self._taken()))
        if (again := max(count - 1, _attempt())) > 0:
            log.repeated[step] = again
        return count > self.most

    @contextmanager
    def elsewhere(self, step: str, shard: int) -> Iterator[None]:
        """Note the end; have Ray repeat the task where the surroundings fail, as a rule on another node, a few times.

        Raises
        ------
        TryElsewhereError
            Instead of the fault; after `MOST_PLACES` tries the fault itself, which ends the run.
        """
        try:
            yield
        except (SurroundingsError, WriteError) as error:
            is_last = ray.get(self._actor.begin.remote((_tries(step), shard), self._taken())) >= MOST_PLACES
            if is_last or (isinstance(error, WriteError) and not error.is_of_surroundings):
                raise
            raise TryElsewhereError(str(error)) from None
        self.ended(step, shard)

    def ended(self, step: str, shard: int) -> None:
        """Note that a step of a shard has ended; the count learns of it with the next beginning in this process."""
        self._ended += [(step, shard), (_tries(step), shard)]

    def _taken(self) -> list[Piece]:
        ended, self._ended = self._ended, []
        return ended


def _tries(step: str) -> str:
    return f"{step}, surroundings"


class _Counts:
    def __init__(self) -> None:
        self.counts: Counter[Piece] = Counter()

    def begin(self, piece: Piece, ended: Sequence[Piece]) -> int:
        for other in ended:
            self.counts.pop(other, None)
        self.counts[piece] += 1
        return self.counts[piece]
