"""Part e: what Ray itself allows, with steps that only pass bytes on and a network that sleeps its measured time.

Shards have the bytes that they have in the job. So the figures are the ceiling of the pipeline, whatever the steps do.
On one machine that is how fast its memory and cores pass them on; with a share of the bytes of 0 it is what the driver
schedules, which is the limit of many machines with one driver.
"""

import functools
import json
import sys
import time
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import ray
from ray.data import ActorPoolStrategy

from jobs.pipeline.ray_data import configure

INPUT_BYTES = 224 * 224 * 3
LABEL_BYTES = 400 * 300 * 2
RAW_BYTES = 224 * 224 * 4
ROWS = 100
"""Images in a shard."""


class SleepingNetwork:
    """Takes as long as a network of the given speed would, and no CPU."""

    def __init__(self, milliseconds: float, share: float) -> None:
        self.seconds = milliseconds / 1000 * ROWS
        self.bytes_of_a_shard = int((RAW_BYTES + LABEL_BYTES) * ROWS * share)

    def __call__(self, block: pa.Table) -> pa.Table:
        """Wait, and return as many bytes as the raw maps and labels have."""
        time.sleep(self.seconds)
        return pa.table({"rows": _bytes(self.bytes_of_a_shard)})


def _bytes(size: int) -> pa.Array:
    offsets = pa.py_buffer(np.array([0, size], np.int64))
    return pa.LargeBinaryArray.from_buffers(pa.large_binary(), 1, [None, offsets, pa.py_buffer(bytes(size))])


def _prepare(_: pa.Table, share: float) -> pa.Table:
    return pa.table({"rows": _bytes(int((INPUT_BYTES + LABEL_BYTES) * ROWS * share))})


def _finish(block: pa.Table) -> pa.Table:
    return pa.table({"bytes": [len(block["rows"][0].as_buffer())]})


def stand_in(images: int, workers: int, milliseconds: float, share: float) -> dict[str, Any]:
    """Run a pipeline of stand-ins; Ray must have been started."""
    configure(ROWS)
    shards = -(-images // ROWS)
    one_shard: dict[str, Any] = {"batch_size": 1, "batch_format": "pyarrow", "zero_copy_batch": True}
    dataset = ray.data.range(shards, override_num_blocks=shards)
    dataset = dataset.map_batches(functools.partial(_prepare, share=share), **one_shard)
    dataset = dataset.map_batches(
        SleepingNetwork,
        fn_constructor_args=(milliseconds, share),
        compute=ActorPoolStrategy(size=min(workers, shards), max_tasks_in_flight_per_actor=2),
        num_cpus=0.01,  # a sleeper takes none
        **one_shard,
    )
    began = time.perf_counter()
    done = [time.perf_counter() for _ in dataset.map_batches(_finish, **one_shard).iter_rows()]
    half = len(done) // 2
    return {
        "images": images,
        "workers": workers,
        "sleep_milliseconds": milliseconds,
        "share_of_bytes": share,
        "seconds": done[-1] - began,
        "seconds_to_first_shard": done[0] - began,
        # Of the second half: by then all workers have started.
        "rows_per_second": (len(done) - half) * ROWS / (done[-1] - done[half - 1]) if half else None,
        "sleepers_limit": 1000 * workers / milliseconds if milliseconds else None,
        "driver_megabytes": psutil.Process().memory_info().rss / 1e6,
    }


def measure(workers: list[int], counts: list[int], milliseconds: float, share: float) -> list[dict[str, Any]]:
    """Return a row a number of workers, then a row a number of images; each is printed when it is there."""
    ray.init(address="local", num_cpus=4, include_dashboard=False, log_to_driver=False)
    runs = [(max(2000, 400 * count), count, milliseconds) for count in workers] + [(count, 2, 0.0) for count in counts]
    rows = []
    try:
        for run in runs:
            rows.append(stand_in(*run, share))
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    finally:
        ray.shutdown()
    return rows
