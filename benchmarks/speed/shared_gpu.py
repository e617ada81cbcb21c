"""Part f: how much of its time a GPU works when one network worker has it, and when several share it.

The GPU is a stand-in: a lock that a pass takes and holds for as long as the GPU would compute. Everything else of the
job's network step is real: reading a shard, filling the batch, taking the results apart, passing them on. A lone
worker's GPU waits for all that; workers that share one do it while the others compute. The steps beside the network
only pass on shards of their real size, and all of it runs on the cores of this machine.
"""

import fcntl
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import ray
from ray.data import ActorPoolStrategy

from jobs.pipeline.network import NetworkStep
from jobs.pipeline.passes import NetworkPasses
from jobs.pipeline.ray_data import configure
from jobs.pipeline.shard_row import ShardRow, from_block, to_block
from jobs.pipeline.tables import PREPARED
from jobs.pipeline.work_log import ShardLog
from saliency_core.methods.attribution import Attribution
from saliency_core.methods.registry import NetworkMethod
from saliency_core.networks.classifier import Classifier, load_classifier
from saliency_core.parameters import SaliencyParameters

SIDE, HEIGHT, WIDTH, ROWS = 224, 300, 400, 96
"""Of the network's input, of a photograph; images of a shard."""


class SharedGpu:
    """The job's network step, whose passes hold a lock and sleep."""

    def __init__(self, lock: str, milliseconds: float) -> None:
        self.lock = Path(lock).open("w")  # noqa: SIM115 -- held as long as the worker lives
        self.seconds = milliseconds / 1000
        classifier = load_classifier("demo.tiny_vgg:TinyVGG", "random", input_size=SIDE)
        method = NetworkMethod("stand-in", self._attribute)
        self.step = NetworkStep(NetworkPasses(classifier, method, SaliencyParameters(), batch_size=ROWS))

    def __call__(self, block: pa.Table) -> pa.Table:
        """Take a shard through the network step."""
        (row,) = from_block(block)
        assert row.images is not None
        images = self.step(row.images)
        row.log.work.append(("network", "stand-in", *self.last_pass))
        return to_block([ShardRow(row.shard, images, row.log, row.others)])

    def _attribute(self, _: Classifier, images: np.ndarray, *__: Any) -> Attribution:
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        began = time.time()
        time.sleep(self.seconds * len(images))
        self.last_pass = (began, time.time())
        fcntl.flock(self.lock, fcntl.LOCK_UN)
        number = np.zeros(len(images), np.float32)
        raw = np.ones((len(images), SIDE, SIDE), np.float32)
        return Attribution(raw, np.zeros(len(images), np.int64), number, number, number, number)


def _prepare(block: pa.Table) -> pa.Table:
    row = {
        "image_id": 0,
        "image_uri": "s3://bucket/image.jpg",
        "status": "ok",
        "wanted_label": -1,
        "input": bytes(SIDE * SIDE * 3),
        "superpixel_labels": bytes(HEIGHT * WIDTH * 2),
    }
    images = pa.Table.from_pylist([row] * ROWS, schema=PREPARED)
    return to_block([ShardRow(int(block["id"][0].as_py()), images, ShardLog())])


def _finish(block: pa.Table) -> pa.Table:
    (shard,) = from_block(block)
    ((_, _, began, ended),) = shard.log.work
    return pa.table({"began": [began], "ended": [ended]})


def _busy(shards: int, workers: int, milliseconds: float, lock: Path) -> float:
    configure(ROWS)
    one_shard: dict[str, Any] = {"batch_size": 1, "batch_format": "pyarrow", "zero_copy_batch": True}
    dataset = ray.data.range(shards, override_num_blocks=shards).map_batches(_prepare, **one_shard)
    dataset = dataset.map_batches(
        SharedGpu,
        fn_constructor_args=(str(lock), milliseconds),
        compute=ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=2, enable_true_multi_threading=True),
        num_cpus=0.01,
        **one_shard,
    )
    passes = sorted((row["began"], row["ended"]) for row in dataset.map_batches(_finish, **one_shard).iter_rows())
    passes = passes[len(passes) // 4 :]  # by then all workers have started
    return sum(ended - began for began, ended in passes) / (passes[-1][1] - passes[0][0])


def measure(workers: list[int], milliseconds: list[float], rounds: int, shards: int = 120) -> list[dict[str, float]]:
    """Return a row a time of the pass, number of workers and round; each is printed when it is there.

    Parameters
    ----------
    workers : list of int
        Network workers that share the GPU.
    milliseconds : list of float
        That the GPU computes an image.
    rounds, shards : int
    """
    ray.init(address="local", num_cpus=3, include_dashboard=False, log_to_driver=False)
    rows = []
    try:
        with tempfile.TemporaryDirectory() as folder:
            for each in milliseconds:
                for _ in range(rounds):
                    for count in workers:
                        busy = _busy(shards, count, each, Path(folder) / "lock")
                        rows.append({"gpu_milliseconds": each, "workers": count, "gpu_busy": busy})
                        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    finally:
        ray.shutdown()
    return rows
