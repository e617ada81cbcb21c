"""The job where Ray's object store is full already, of what somebody else put there."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import ray
from PIL import Image
from ray._private.internal_api import memory_summary

from jobs import saliency
from jobs.pipeline.connecting import start_ray
from tests.support.tiny_set import TINY_NETWORK

MEBIBYTE = 2**20


@pytest.fixture
def small_store() -> Iterator[None]:
    """A Ray whose object store is as small as Ray allows."""
    start_ray(address="local", num_cpus=4, include_dashboard=False, object_store_memory=76 * MEBIBYTE)
    yield
    ray.shutdown()


@pytest.mark.slow
def test_a_full_object_store_slows_the_job_down_and_loses_nothing(small_store: None, tmp_path: Path) -> None:
    held = [ray.put(np.zeros(20 * MEBIBYTE, np.uint8)) for _ in range(5)]
    generator = np.random.default_rng(0)
    for index in range(4):
        pixels = generator.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((512, 512)).save(tmp_path / f"{index}.png")
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("uri,id\n" + "".join(f"{tmp_path / f'{index % 4}.png'},{index}\n" for index in range(160)))
    # A shard is 20 MiB on its way to the network: 40 label maps of half a MiB.
    arguments = ["--images", str(manifest), "--output", str(tmp_path / "out"), *TINY_NETWORK]
    arguments += ["--iterations", "1", "--rows-per-file", "40", "--slots", "4"]
    assert saliency.main(arguments) == 0
    rows = pq.read_table(tmp_path / "out" / "results", columns=["image_id", "status"])
    assert rows["status"].to_pylist() == ["ok"] * 160
    assert len(set(rows["image_id"].to_pylist())) == 160
    assert "Spilled" in memory_summary(address=ray.get_runtime_context().gcs_address, stats_only=True)
    assert all(ray.get(reference).sum() == 0 for reference in held)
