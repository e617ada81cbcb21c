"""The Ray that a job runs on: one that is there, or one of its own on this machine.

Ray is imported where it is needed: what is wrong with the settings is said before.
"""

import logging
import os
import signal
import threading
from typing import Any

from jobs.errors import SettingsError
from jobs.planning.cluster import Cluster, local_cluster
from jobs.storage.redaction import redacted


def chosen_cluster(ray_address: str | None, slots: int | None, with_gpus: bool = True) -> Cluster:
    """Connect to a running Ray cluster if `ray_address` or RAY_ADDRESS names one; else describe one of this machine.

    Parameters
    ----------
    ray_address : str, optional
    slots : int, optional
        CPU slots on this machine.
    with_gpus : bool
        Whether the job has a use for GPUs.

    Raises
    ------
    SettingsError
        If the address does not answer.
    """
    address = ray_address or os.environ.get("RAY_ADDRESS")
    return connect(address) if address else local_cluster(slots, with_gpus)


def connect(address: str) -> Cluster:
    """Connect to a running Ray cluster; the address "local" starts one on this machine.

    Raises
    ------
    SettingsError
        If nothing answers at the address.
    """
    import ray

    try:
        start_ray(address=address)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise SettingsError(f"there is no Ray cluster at {redacted(address)}: {redacted(str(error))}") from error
    resources = ray.cluster_resources()
    return Cluster(address, int(resources.get("CPU", 0)), int(resources.get("GPU", 0)), len(ray.nodes()))


def start(cluster: Cluster) -> None:
    """Start a Ray of the job's own, unless it is connected to one."""
    if cluster.address is None:
        start_ray(address="local", num_cpus=cluster.slots, num_gpus=cluster.gpus, include_dashboard=False)


def start_ray(**options: Any) -> None:
    """Call `ray.init` unless this process has called it already, with what all jobs want of it."""
    import ray

    # The progress and the errors of the job are its own to print; what Ray logs lies in its session folder.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if ray.is_initialized():
        return
    # Ray puts a handler of SIGTERM in the place of the job's: one that prints a trace of C++ and ends the process by
    # SIGABRT, in Python and below it.
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    ray.init(logging_level=logging.ERROR, log_to_driver=False, configure_logging=True, **options)
    if threading.current_thread() is threading.main_thread():
        for number, handler in handlers.items():
            signal.signal(number, handler)
