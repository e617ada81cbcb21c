"""The Ray that a job runs on: one that is there, or one of its own on this machine.

Ray is imported where it is needed: what is wrong with the settings is said before.
"""

import atexit
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from jobs.errors import SettingsError
from jobs.planning.cluster import Cluster, local_cluster
from jobs.storage.redaction import redacted

EXIT_SECONDS = 30.0
"""At the exit, for a start of Ray that is under way: what is half started cannot be ended."""


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
    try:
        start_ray(address=address)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise SettingsError(f"there is no Ray cluster at {redacted(address)}: {redacted(str(error))}") from error
    from jobs.pipeline.autoscaling import described

    return described(address)


def slots_now() -> int:
    """Return the CPU slots of the cluster that this process is connected to."""
    import ray

    return int(ray.cluster_resources().get("CPU", 0))


def start_early(cluster: Cluster) -> None:
    """Begin to start a Ray of the job's own in a thread, beside what the driver has to do first; see `start`."""
    if cluster.address is not None or _EarlyStart.under_way is not None or _is_initialized():
        return
    import ray  # noqa: F401  # before what follows, so that at the exit Ray ends behind it

    _EarlyStart.under_way = _EarlyStart(cluster)
    atexit.register(_EarlyStart.under_way.is_over.wait, EXIT_SECONDS)


def start(cluster: Cluster) -> None:
    """Start a Ray of the job's own, unless it is connected to one; wait for it where it has begun to start."""
    if cluster.address is not None:
        return
    early, _EarlyStart.under_way = _EarlyStart.under_way, None
    if early is not None:
        early.wait()
    _start_local(cluster)


def metrics_address() -> str | None:
    """Return where Prometheus finds the metrics of this process's node; None where Ray exports none."""
    import ray

    if not ray.is_initialized():  # to ask would start a Ray
        return None
    here = ray.get_runtime_context().get_node_id()
    node: dict[str, Any] = next((node for node in ray.nodes() if node["NodeID"] == here), {})
    port = node.get("MetricsExportPort")
    return f"http://{node['NodeManagerAddress']}:{port}/metrics" if port else None


class _EarlyStart:
    """A Ray that starts in a thread of its own.

    The thread lives as long as the process: the kernel ends what it started, Ray's processes, when it ends.
    """

    under_way: "_EarlyStart | None" = None

    def __init__(self, cluster: Cluster) -> None:
        self.is_over = threading.Event()
        self.error: BaseException | None = None
        threading.Thread(target=self._run, args=(cluster,), name="start of Ray", daemon=True).start()

    def _run(self, cluster: Cluster) -> None:
        try:
            _start_local(cluster)
        except BaseException as error:  # whoever waits for it is told
            self.error = error
        self.is_over.set()
        threading.Event().wait()

    def wait(self) -> None:
        """Wait until Ray has started, or raise what came of it."""
        with _handlers_kept():
            self.is_over.wait()
        if self.error is not None:
            raise self.error


def _start_local(cluster: Cluster) -> None:
    start_ray(address="local", num_cpus=cluster.slots, num_gpus=cluster.gpus, include_dashboard=False)


def _is_initialized() -> bool:
    if "ray" not in sys.modules:
        return False
    import ray

    return bool(ray.is_initialized())


@contextmanager
def _handlers_kept() -> Iterator[None]:
    """Give signals back to the handlers that they had before the block.

    Ray puts a handler of SIGTERM in the place of the job's: one that prints a trace of C++ and ends the process by
    SIGABRT, in Python and below it.
    """
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    if threading.current_thread() is threading.main_thread():
        for number, handler in handlers.items():
            signal.signal(number, handler)


def start_ray(**options: Any) -> None:
    """Call `ray.init` unless this process has called it already, with what all jobs want of it."""
    import ray

    # The progress and the errors of the job are its own to print; what Ray logs lies in its session folder.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if ray.is_initialized():
        return
    with _handlers_kept():
        ray.init(logging_level=logging.ERROR, log_to_driver=False, configure_logging=True, **options)
