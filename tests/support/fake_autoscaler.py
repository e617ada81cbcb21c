"""A Ray cluster whose nodes come and go with the work: Ray's own autoscaler over its fake provider of nodes.

What `ray.cluster_utils.AutoscalingCluster` does, without its ``ray stop --force``, which ends every Ray of the machine.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from tests.support.ports import free_ports

START_SECONDS = 120
_PROVIDER = {
    "type": "fake_multinode",
    "use_node_id_as_ip": True,  # all nodes share the machine's
    "disable_node_updaters": True,
    "disable_launch_config_check": True,
    "foreground_node_launch": True,
    "worker_liveness_check": False,
    "worker_rpc_drain": True,
}
_EMPTY = (
    "cluster_synced_files",
    "rsync_exclude",
    "rsync_filter",
    "initialization_commands",
    "setup_commands",
    "head_setup_commands",
    "worker_setup_commands",
    "head_start_ray_commands",
    "worker_start_ray_commands",
)


@contextmanager
def autoscaling_cluster(kinds: dict[str, dict[str, Any]], idle_seconds: float) -> Iterator[str]:
    """Start a head without CPU slots, which brings nodes of the given kinds; yield its address.

    Parameters
    ----------
    kinds : dict
        Ray's ``available_node_types``, by name, without the head.
    idle_seconds : float
        After which a node without work goes.
    """
    (port,) = free_ports(1)
    head = {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0}
    config: dict[str, Any] = {
        "cluster_name": "fake",
        "max_workers": sum(kind["max_workers"] for kind in kinds.values()),
        "upscaling_speed": 1.0,
        "idle_timeout_minutes": idle_seconds / 60,
        "docker": {},
        "auth": {},
        "provider": _PROVIDER | {"gcs_address": f"127.0.0.1:{port}"},
        "available_node_types": {"ray.head.default": head} | kinds,
        "head_node_type": "ray.head.default",
        "file_mounts": {},
        "file_mounts_sync_continuously": False,
    }
    config |= {name: [] for name in _EMPTY}
    with tempfile.TemporaryDirectory(prefix="fake-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "config.json").write_text(json.dumps(config))
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--num-cpus=0"]
        command += [f"--port={port}", f"--temp-dir={folder}", f"--autoscaling-config={folder / 'config.json'}"]
        command += ["--object-store-memory=100000000", "--include-dashboard=False", "--disable-usage-stats"]
        environment = {"RAY_AUTH_MODE": "disabled", "RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1"}
        log = folder / "log"
        with log.open("wb") as file:
            started = subprocess.Popen(
                command, env=os.environ | environment, stdout=file, stderr=file, start_new_session=True
            )
        try:
            deadline = time.monotonic() + START_SECONDS
            while b"Ray runtime started" not in log.read_bytes():
                assert started.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.2)
            yield f"127.0.0.1:{port}"
        finally:
            for process in psutil.Process(started.pid).children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            started.kill()
            started.wait()
