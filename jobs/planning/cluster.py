"""Where a job runs: the slots of its cluster and its nodes, and what nodes may come."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from jobs.errors import SettingsError

TASK_SLOTS = 2
"""CPU slots that the tasks beside the network workers need at least: one to prepare, one to finish."""


@dataclass(frozen=True)
class Node:
    """What a node offers.

    Parameters
    ----------
    slots : int
        CPU slots.
    gpus : int
    memory : int
        Bytes that tasks can ask for; 0 where the node does not say.
    """

    slots: int
    gpus: int
    memory: int = 0


@dataclass(frozen=True)
class NodeKind:
    """A kind of node that an autoscaler can bring.

    Parameters
    ----------
    node : Node
    most : int, optional
        Nodes of this kind, with those that are there; None: no bound.
    """

    node: Node
    most: int | None


@dataclass(frozen=True)
class Cluster:
    """Where the job runs.

    Parameters
    ----------
    address : str, optional
        Of a running Ray; None: one that the job starts on this machine.
    slots : int
        CPU slots that are there now.
    gpus, nodes : int
        That are there now.
    each : tuple of Node
        The nodes; empty: one has all that there is.
    has_autoscaler : bool
        Whether nodes come for work that waits.
    kinds : tuple of NodeKind
        What the autoscaler says it can bring; empty where it does not say.
    """

    address: str | None
    slots: int
    gpus: int
    nodes: int = 1
    each: tuple[Node, ...] = ()
    has_autoscaler: bool = False
    kinds: tuple[NodeKind, ...] = ()

    @property
    def all_nodes(self) -> tuple[Node, ...]:
        """The nodes that are there now."""
        return self.each or (Node(self.slots, self.gpus),)

    @property
    def gpus_that_may_come(self) -> int | None:
        """GPUs of all nodes that the autoscaler says it can bring, with those that are there; None: no bound."""
        counts = [None if kind.most is None else kind.most * kind.node.gpus for kind in self.kinds if kind.node.gpus]
        return None if None in counts else sum(count for count in counts if count is not None)

    @property
    def most_slots(self) -> int:
        """CPU slots with all nodes that the autoscaler says it can bring, as far as there is a bound."""
        return max(self.slots, sum(kind.node.slots * kind.most for kind in self.kinds if kind.most is not None))


def local_cluster(slots: int | None, with_gpus: bool = True) -> Cluster:
    """Describe the Ray that a job would start on this machine.

    Parameters
    ----------
    slots : int, optional
        CPU slots; by default one a core, at least 4.
    with_gpus : bool
        Whether the job has a use for GPUs.
    """
    gpus = 0
    if with_gpus and may_have_gpus():
        import torch

        gpus = torch.cuda.device_count()
    return Cluster(address=None, slots=slots or max(4, os.cpu_count() or 1), gpus=gpus)


def may_have_gpus() -> bool:
    """Whether it is worth asking torch, whose import takes seconds: Linux shows the drivers of GPUs as files."""
    return sys.platform != "linux" or any(Path(name).exists() for name in _GPU_DRIVERS)


_GPU_DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
"""Of NVIDIA, of AMD, and of Windows below a Linux."""


def check_slots(cluster: Cluster, workers: int, each: int, kind: str = "workers") -> None:
    """Check that workers of so many slots each fit a cluster beside the tasks.

    Raises
    ------
    SettingsError
        If they do not.
    """
    asked = workers * each + TASK_SLOTS
    if asked > cluster.slots:
        raise SettingsError(
            f"the job needs {asked} CPU slots ({workers} {kind} of {each} and {TASK_SLOTS} for tasks) but "
            f"{cluster.slots} are available: give more slots or fewer workers"
        )
