"""The job on a cluster that brings its nodes for it, and what is known of such a cluster."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest
import ray
from ray.core.generated import autoscaler_pb2

from jobs.pipeline import autoscaling
from jobs.planning.cluster import Node, NodeKind
from tests.support.fake_autoscaler import autoscaling_cluster
from tests.support.tiny_set import TINY_NETWORK, write_tiny_set

IMAGES = 24
GPU_NODE = {"resources": {"CPU": 3, "GPU": 1, "object_store_memory": 10**8}, "node_config": {}}

# One process, since each takes seconds to import all: what the cluster says, what the job does with that, and after it.
SCRIPT = """
import json, sys, time
from jobs import saliency
from jobs.pipeline.connecting import connect
address, arguments = sys.argv[1], sys.argv[2:]
cluster = connect(address)
print(json.dumps([cluster.gpus, cluster.has_autoscaler, len(cluster.kinds)]))
assert saliency.main(arguments) == 2
assert saliency.main([*arguments, "--accelerator", "gpu", "--network-workers", "1:2"]) == 0
import ray
deadline = time.monotonic() + 240
while "GPU" in ray.cluster_resources():
    assert time.monotonic() < deadline, "the nodes stay"
    time.sleep(0.5)
print("gone")
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_gpu_nodes_come_for_a_run_and_go_after_it(tmp_path: Path) -> None:
    images, _ = write_tiny_set(tmp_path, IMAGES)
    arguments = ["--images", str(images), "--output", str(tmp_path / "out"), *TINY_NETWORK, "--rows-per-file", "2"]
    kinds = {"gpu": GPU_NODE | {"min_workers": 0, "max_workers": 2}}
    with autoscaling_cluster(kinds, idle_seconds=4) as address:
        command = [sys.executable, "-c", SCRIPT, address, *arguments, "--iterations", "2", "--ray-address", address]
        environment = os.environ | {"RAY_AUTH_MODE": "disabled"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout.splitlines()
    assert json.loads(next(line for line in said if line.startswith("["))) == [0, True, 0]
    assert said[-1] == "gone"
    assert "does not say whether it can bring one" in done.stderr
    rows = pq.read_table(tmp_path / "out" / "results")
    assert rows["status"].to_pylist() == ["ok"] * IMAGES
    assert len(set(rows["image_id"].to_pylist())) == IMAGES


def test_kinds_of_nodes_are_those_of_the_clusters_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    messages: Any = autoscaler_pb2
    groups = [
        messages.NodeGroupConfig(name="head", resources={"CPU": 4}, max_count=0),
        messages.NodeGroupConfig(name="gpu", resources={"CPU": 7, "GPU": 1, "memory": 2**34}, max_count=3),
        messages.NodeGroupConfig(name="cpu", resources={"CPU": 15}, max_count=-1),
    ]
    config = messages.ClusterConfig(node_group_configs=groups)
    monkeypatch.setattr(ray._private.state, "state", SimpleNamespace(get_cluster_config=lambda: config))
    nodes = [{"Alive": True, "Resources": {"memory": 1e9}}, {"Alive": False, "Resources": {"CPU": 8.0}}]
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    found = autoscaling.described("head:6379")
    assert (found.slots, found.gpus, found.nodes, found.has_autoscaler) == (0, 0, 1, True)
    assert found.kinds == (NodeKind(Node(7, 1, 2**34), 3), NodeKind(Node(15, 0), None))
    assert found.gpus_that_may_come == 3
