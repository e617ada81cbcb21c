"""How the steps lie in Ray's processes, and what becomes of a shard that ends every process."""

import os
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray
from ray import cloudpickle

from jobs import saliency
from jobs.console.command_line import parse_settings
from jobs.pipeline import operators as pipeline
from jobs.pipeline.attempts import AttemptCounter
from jobs.pipeline.connecting import start_ray
from jobs.pipeline.groups import Part
from jobs.pipeline.network_worker import NetworkActor
from jobs.pipeline.operators import network_resources
from jobs.pipeline.shard_row import LEAST_BYTES, ShardRow, from_block, to_block
from jobs.pipeline.steps import ShardSteps
from jobs.pipeline.work_log import ShardLog, WorkLog
from jobs.planning.cluster import Cluster
from jobs.planning.plan import make_plan
from jobs.run.summary import Summary
from jobs.settings import SaliencySettings
from tests.support.tiny_set import TINY_NETWORK, write_tiny_set


@pytest.fixture(scope="module", autouse=True)
def one_ray() -> Iterator[None]:
    # In this module are steps that workers are to have as they are here, patched.
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    start_ray(address="local", num_cpus=4, include_dashboard=False)
    yield
    ray.shutdown()
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


def test_shards_come_out_of_their_row_as_they_went_in() -> None:
    images = pa.table({"id": [3, 4], "pixels": [bytes(10_000), None], "input": [b"abc", None], "status": ["ok", "ok"]})
    log = ShardLog([("prepare", "worker", 1.0, 2.0)], ["a warning"])
    shards = [ShardRow(7, images, log), ShardRow(8, None, ShardLog()), ShardRow(9, images.slice(1), ShardLog())]
    block = to_block(shards)
    assert block.num_rows == 1
    assert LEAST_BYTES <= block.nbytes < 10_000
    found = from_block(block)
    assert [(row.shard, row.log) for row in found] == [(row.shard, row.log) for row in shards]
    assert found[1].images is None
    # What the network changes, with all the rest as it was.
    first = found[0].images
    assert first is not None
    assert first.column_names == ["input", "status"]
    changed = ShardRow(7, first.drop_columns("input").append_column("raw", [[1.0, 2.0]]), log, found[0].others)
    (back, last) = from_block(to_block([changed, found[2]]))
    assert back.all_columns.sort_by("id").to_pydict() == {
        "id": [3, 4],
        "pixels": [bytes(10_000), None],
        "status": ["ok", "ok"],
        "raw": [1.0, 2.0],
    }
    assert last.all_columns.select(images.column_names) == images.slice(1)
    assert to_block([ShardRow(1, None, ShardLog())]).nbytes >= LEAST_BYTES


def two_in_a_shard(images: Path, output: Path) -> list[str]:
    named = ["--images", str(images), "--output", str(output)]
    return [*named, *TINY_NETWORK, "--iterations", "2", "--rows-per-file", "2"]


class LeanSteps(ShardSteps):
    """Fails where torch is."""

    def prepare(self, shard: int, deadly: bool = False) -> pa.Table:
        prepared = super().prepare(shard, deadly)
        assert "torch" not in sys.modules
        return prepared

    def finish(self, images: pa.Table, shard: int, deadly: bool = False) -> Summary:
        summary = super().finish(images, shard, deadly)
        assert "torch" not in sys.modules
        return summary


class MainThreadNetwork(NetworkActor):
    """Fails in any other thread: memory that is kept, and CUDA graphs, belong to the main one."""

    def __call__(self, block: pa.Table) -> pa.Table:
        assert threading.current_thread() is threading.main_thread()
        return super().__call__(block)


def test_tasks_have_workers_of_their_own_without_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, _ = write_tiny_set(tmp_path, 8)
    logs: list[ShardLog] = []
    monkeypatch.setattr(pipeline, "ShardSteps", LeanSteps)
    monkeypatch.setattr(pipeline, "NetworkActor", MainThreadNetwork)
    monkeypatch.setattr(WorkLog, "add", lambda self, log: logs.append(log))
    arguments = two_in_a_shard(images, tmp_path / "out")
    assert saliency.main([*arguments, "--slots", "4"]) == 0
    assert pq.read_table(tmp_path / "out" / "results")["status"].to_pylist() == ["ok"] * 8
    assert len(logs) == 4
    workers: dict[str, set[str]] = {"prepare": set(), "network": set(), "finish": set()}
    for log in logs:
        for stage, worker, _, _ in log.work:
            workers[stage].add(worker)
    assert not workers["network"] & (workers["prepare"] | workers["finish"])
    assert workers["prepare"] & workers["finish"]


@pytest.mark.parametrize(("gpus", "memory"), [(0, 1), (1, None)])
def test_only_where_no_gpu_keeps_steps_apart_a_network_worker_asks_for_a_byte(
    gpus: int, memory: int | None, tmp_path: Path
) -> None:
    """An autoscaler looks for a node that offers all that is asked: memory beside a GPU is one thing too many."""
    images, _ = write_tiny_set(tmp_path, 1)
    settings, _ = parse_settings(SaliencySettings, two_in_a_shard(images, tmp_path / "out"))
    resources = network_resources(make_plan(settings, Cluster(None, 4, gpus)))
    assert resources == {"num_cpus": 1, "num_gpus": float(gpus), "memory": memory}


class DeadlySteps(ShardSteps):
    """Ends the process at one shard."""

    def prepare(self, shard: int, deadly: bool = False) -> pa.Table:
        if shard == 1 and not deadly:
            os._exit(1)
        return super().prepare(shard, deadly)


class DeadlyNetwork(NetworkActor):
    """Ends the process at the fourth image; the rows that were given up have no input."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        attribute = self.step.passes._attribute

        def deadly(inputs: np.ndarray, labels: np.ndarray, regions: Any) -> Any:
            if any((image == self.fourth).all() for image in inputs):
                os._exit(1)
            return attribute(inputs, labels, regions)

        self.step.passes._attribute = deadly  # type: ignore[method-assign]

    def __call__(self, block: pa.Table) -> pa.Table:
        self.fourth = np.full((64, 64, 3), -1)
        for row in from_block(block):
            images = row.all_columns
            pairs = zip(images["image_uri"].to_pylist(), images["input"].to_pylist(), strict=True)
            for name, content in pairs:
                if "image 003" in name and content is not None:
                    self.fourth = np.frombuffer(content, np.uint8).reshape(64, 64, 3)
        return super().__call__(block)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "step", "together"), [("ShardSteps", DeadlySteps, 1), ("NetworkActor", DeadlyNetwork, 2)]
)
def test_a_deadly_shard_is_given_up_and_all_others_are_done(
    name: str, step: type, together: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All shards are handed out in one block: those before the deadly one are begun again as often as it is."""
    images, _ = write_tiny_set(tmp_path, 8)
    arguments = two_in_a_shard(images, tmp_path / "out")
    arguments += ["--slots", "4", "--network-workers", "1"]
    monkeypatch.setattr(pipeline, name, step)
    monkeypatch.setattr(pipeline, "AttemptCounter", partial(AttemptCounter, most=3))
    monkeypatch.setattr(pipeline, "parts", lambda shards, *_: [Part(shards, together, 1)])
    assert saliency.main(arguments) == 0
    rows = {Path(row["image_uri"]).stem: row for row in pq.read_table(tmp_path / "out" / "results").to_pylist()}
    failed = {name for name, row in rows.items() if row["status"] == "method_error"}
    assert failed == {"image 002", "image 003"}
    assert all("every process died" in rows[name]["error"] for name in failed)
    assert sum(row["status"] == "ok" for row in rows.values()) == 6
    # The fault is gone: the rows can be done again.
    monkeypatch.undo()
    assert saliency.main([*arguments, "--retry-errors"]) == 0
    assert pq.read_table(tmp_path / "out" / "results")["status"].to_pylist() == ["ok"] * 8
