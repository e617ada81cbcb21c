"""The job on a cluster of several hosts that are cut off, killed, announced to go, come late, or never come back."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cluster.hosts import namespaces_allowed, running_hosts
from tests.support.means import skip_without
from tests.support.tiny_set import TINY_NETWORK, write_tiny_set

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

IMAGES = 160
"""Enough that the job is at work whenever something befalls a host; two in a shard."""


def wait_for_results(running: "subprocess.Popen[bytes]", folder: Path, count: int, seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while len(list(folder.glob("*.parquet"))) < count:
        assert running.poll() is None, "the job has ended: give it more images"
        assert time.monotonic() < deadline, "the job does not move forward"
        time.sleep(0.2)


def job(images: Path, output: Path) -> list[str]:
    command = [sys.executable, "-m", "jobs.saliency", "--images", str(images), "--output", str(output)]
    return [*command, *TINY_NETWORK, "--rows-per-file", "2"]


FIXED = ["--iterations", "2", "--network-workers", "1"]


def test_a_host_is_cut_off_another_is_killed_and_both_come_back(tmp_path: Path) -> None:
    if not namespaces_allowed():
        skip_without("namespaces", "network namespaces need root on Linux, the rights of a host, and the command ip")
    images, _ = write_tiny_set(tmp_path, IMAGES)
    results = tmp_path / "out" / "results"
    with running_hosts(workers=2, slots=3, namespaced=True) as hosts:
        assert len({hosts.address(name) for name in hosts.names}) == 3
        running = hosts.popen("head", [*job(images, tmp_path / "out"), *FIXED], env={"RAY_ADDRESS": hosts.ray_address})
        wait_for_results(running, results, 3)
        hosts.cut("worker-1")
        time.sleep(5)
        assert running.poll() is None, "the job has ended: give it more images"
        # Before the other is back: nobody is left to work, so that the job cannot end without those who come.
        hosts.kill("worker-2")
        time.sleep(1)
        assert running.poll() is None, "the job has ended: give it more images"
        # Ray gives the host that was cut off up meanwhile, or has not noticed: a start is right after either.
        hosts.start("worker-1")
        hosts.start("worker-2")
        assert running.wait(400) == 0
    rows = pq.read_table(results)
    assert rows["status"].to_pylist() == ["ok"] * IMAGES
    assert len(set(rows["image_id"].to_pylist())) == IMAGES
    assert (tmp_path / "out" / "_SUCCESS").exists()


def test_gpu_nodes_join_a_cluster_that_has_none_and_one_of_them_leaves(tmp_path: Path) -> None:
    if not namespaces_allowed():
        skip_without("namespaces", "network namespaces need root on Linux, the rights of a host, and the command ip")
    images, _ = write_tiny_set(tmp_path, IMAGES)
    output = tmp_path / "out"
    elastic = ["--accelerator", "gpu", "--network-workers", "1:2"]
    with running_hosts(workers=1, slots=2, namespaced=True) as hosts:
        environment = {"RAY_ADDRESS": hosts.ray_address}
        command = [*job(images, output), *elastic, "--iterations", "20", "--batch-size", "1"]
        running = hosts.popen("head", command, env=environment)
        hosts.add("gpu-1", with_gpu=True)
        hosts.start("gpu-1")
        wait_for_results(running, output / "results", 3)
        hosts.drain("gpu-1")
        # The only network worker is on it: it ends what it has under way and moves to the second host, which comes now.
        hosts.add("gpu-2", with_gpu=True)
        hosts.start("gpu-2")
        done = len(list((output / "results").glob("*.parquet")))
        assert done < IMAGES / 2 - 20, "give it more images"
        wait_for_results(running, output / "results", done + 8)
        hosts.kill("gpu-1")  # from here on nobody but the second has a network
        assert running.wait(400) == 0
    record = json.loads((output / "_run.json").read_text())
    assert record["cluster"]["gpus"] == 0
    assert record["work"]["network_workers"] == 2
    rows = pq.read_table(output / "results")
    assert rows["status"].to_pylist() == ["ok"] * IMAGES
    assert len(set(rows["image_id"].to_pylist())) == IMAGES


# The job, with a clock for "nothing has happened" that stands still until a file is there, and runs fast from then on.
IMPATIENT = """
import sys, time
from pathlib import Path
from ray.data._internal.execution import streaming_executor
from jobs import saliency

class Guard(streaming_executor.NoProgressGuard):
    def __init__(self, topology, seconds):
        assert seconds >= 1800
        super().__init__(topology, seconds, clock=lambda: 500 * time.monotonic() if gone.exists() else 0.0)

streaming_executor.NoProgressGuard, gone = Guard, Path(sys.argv[1])
sys.exit(saliency.main(sys.argv[2:]))
"""


def test_where_namespaces_are_not_allowed_a_host_stands_still_for_a_while_and_is_lost_for_good(tmp_path: Path) -> None:
    images, _ = write_tiny_set(tmp_path, IMAGES)
    results = tmp_path / "out" / "results"
    gone = tmp_path / "gone"
    with running_hosts(workers=1, slots=3, namespaced=False) as hosts:
        assert "not allowed" in hosts.description
        command = [sys.executable, "-c", IMPATIENT, str(gone), *job(images, tmp_path / "out")[3:], *FIXED]
        environment = {"RAY_ADDRESS": hosts.ray_address}
        running = hosts.popen("head", command, env=environment, stderr=subprocess.PIPE)
        wait_for_results(running, results, 1)
        hosts.cut("worker-1")
        time.sleep(2)
        done = len(list(results.glob("*.parquet")))
        time.sleep(3)
        assert len(list(results.glob("*.parquet"))) == done < IMAGES / 2
        hosts.mend("worker-1")
        wait_for_results(running, results, done + 4)
        hosts.kill("worker-1")  # all nodes that work
        gone.touch()
        _, said = running.communicate(timeout=400)
        assert running.returncode == 1
    assert b"nothing has happened for too long: the cluster has too few free slots, or has lost its nodes" in said
    assert not (tmp_path / "out" / "_SUCCESS").exists()
    rows = pq.read_table(results)
    assert 0 < len(rows) < IMAGES
    assert rows["status"].to_pylist() == ["ok"] * len(rows)
    assert len(set(rows["image_id"].to_pylist())) == len(rows)
