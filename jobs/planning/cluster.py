"""Where a job runs: the slots of its cluster, and how many of them its workers take."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from jobs.errors import SettingsError

TASK_SLOTS = 2
"""CPU slots that the tasks beside the network workers need at least: one to prepare, one to finish."""


@dataclass(frozen=True)
class Cluster:
    """Where the job runs.

    Parameters
    ----------
    address : str, optional
        Of a running Ray; None: one that the job starts on this machine.
    slots : int
        CPU slots.
    gpus, nodes : int
    """

    address: str | None
    slots: int
    gpus: int
    nodes: int = 1


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
