"""How many shards one driver can hand out: its memory, the seconds to its first row, and its shards a second.

``python -m benchmarks.speed.many_shards [--shards 20000 104000 1000000] [--rows 96 8] [--seconds 240]``

The pipeline is the job's own, with steps that do nothing: shards have 96 or 8 images by the plan and none in fact; of
small ones several go from step to step together. The loop is the driver's, too: it adds every shard to the sums, as a
run does. What is measured is what Ray and the driver do for a shard, which is the limit of one driver with any number
of machines. A count that is not done after `--seconds` is stopped; its rate and its memory are those of what was done
by then, as ``shards_done`` says.

``--block-a-shard`` has Ray carry every shard in a row and a block of its own, for comparison. Every count is a process
with a Ray of its own. ``driver_mebibytes`` is the most memory that the driver itself held, without Ray's other
processes; ``mebibytes_before`` what it held when Ray had started. The driver's processor time is what a busy machine
changes least.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import psutil
import pyarrow as pa

from jobs.pipeline import groups, operators
from jobs.pipeline.connecting import start
from jobs.pipeline.network_worker import NetworkActor
from jobs.pipeline.steps import ShardSteps
from jobs.pipeline.tables import ATTRIBUTED, PREPARED
from jobs.pipeline.work_log import WorkLog
from jobs.planning.cluster import Cluster
from jobs.planning.network_pool import NetworkPool
from jobs.planning.plan import Plan
from jobs.run.shards import MOST_ROWS_PER_SHARD, Segment, Shards
from jobs.run.summary import Summary
from jobs.run.tally import Tally, TallyFile
from jobs.settings import SaliencySettings


class NoSteps(ShardSteps):
    """Does nothing to a shard."""

    def prepare(self, shard: int, deadly: bool = False) -> pa.Table:
        """Return no rows."""
        return PREPARED.empty_table()

    def finish(self, images: pa.Table, shard: int, deadly: bool = False) -> Summary:
        """Return the sums of one row."""
        summary = Summary(self.settings.stages)
        summary.counts["ok"] = 1
        return summary


class NoPasses:
    """Stands for a network step."""

    warnings: tuple[str, ...] = ()
    memory_splits = 0

    @property
    def passes(self) -> "NoPasses":
        """Itself: all that is asked of it are the warnings and the splits."""
        return self

    def __call__(self, prepared: pa.Table) -> pa.Table:
        """Return no rows."""
        return ATTRIBUTED.empty_table()


class NoNetwork(NetworkActor):
    """Takes shards through no network."""

    def __init__(self, classifier: Any, settings: SaliencySettings, attempts: Any, *_: Any) -> None:
        self.attempts = attempts
        self.step = NoPasses()  # type: ignore[assignment]
        self.working, self.worked = threading.Lock(), 0.0


def measure(shards: int, seconds: float, rows: int, slots: int) -> dict[str, Any]:
    """Hand out shards for a while, in this process."""
    output = tempfile.mkdtemp(prefix="many-shards-")
    settings = SaliencySettings(images=output, output=output)
    cluster = Cluster(None, slots, 0)
    every = Shards(rows, (Segment(0, shards * rows),))
    nothing: Any = SimpleNamespace(preprocessing=SimpleNamespace(input_size=224))
    plan = Plan(settings, nothing, every, 0, "", cluster, NetworkPool(1, 1, 0.0, ""), "new")
    driver = psutil.Process()
    start(cluster)
    before = peak = driver.memory_info().rss
    is_over = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not is_over.wait(0.2):
            peak = max(peak, driver.memory_info().rss)

    threading.Thread(target=watch, daemon=True).start()
    file, work = TallyFile(output, Tally.empty(plan.stages)), WorkLog(slots, 1)
    began, processor = time.perf_counter(), sum(driver.cpu_times()[:2])
    times: list[float] = []
    first = 0.0
    with mock.patch.multiple(operators, ShardSteps=NoSteps, NetworkActor=NoNetwork):
        for report in operators.run_shards(plan, ""):
            work.add(report.log)
            file.add(report.shard, report.summary, report.summary.rows)
            times.append(time.perf_counter() - began)
            if len(times) == 1:
                first = sum(driver.cpu_times()[:2]) - processor
            if times[-1] > seconds:
                break
    is_over.set()
    done, later = np.array(times), sum(driver.cpu_times()[:2]) - processor - first
    late = done > done[-1] / 4  # by then all workers have started
    each = (done[-1] - done[late][0]) / late.sum()
    return {
        "shards": shards,
        "rows_per_shard": rows,
        "shards_done": len(done),
        "seconds_to_first_row": round(done[0], 1),
        "seconds": round(done[-1], 1),
        "shards_per_second": round(1 / each, 1) if each else None,  # None: there was but one
        "mebibytes_before": round(before / 2**20),
        "driver_mebibytes": round(peak / 2**20),
        "driver_processor_seconds_to_first_row": round(first, 1),
        "driver_processor_milliseconds_per_shard": round(1000 * later / len(done), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, nargs="+", default=[20_000, 104_000, 1_000_000])
    parser.add_argument("--seconds", type=float, default=240.0)
    parser.add_argument("--rows", type=int, nargs="+", default=[MOST_ROWS_PER_SHARD, 8], help="images of a shard")
    parser.add_argument("--slots", type=int, default=4)
    parser.add_argument("--block-a-shard", action="store_true")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        patches: dict[str, Any] = {"MOST_SHARDS_TOGETHER": 1, "MOST_ROWS_PER_BLOCK": 1, "MOST_BLOCKS": 10**9}
        (shards,), (rows,) = given.shards, given.rows
        with mock.patch.multiple(groups, **patches) if given.block_a_shard else nullcontext():
            print(json.dumps(measure(shards, given.seconds, rows, given.slots)), flush=True)
        sys.stdout.flush()
        os._exit(0)  # a run that was stopped is not waited for; Ray's processes end with this one
    for shards, rows in itertools.product(given.shards, given.rows):
        command = [sys.executable, "-m", "benchmarks.speed.many_shards", "--one"]
        command += ["--shards", str(shards), "--rows", str(rows), "--slots", str(given.slots)]
        command += ["--seconds", str(given.seconds), *(["--block-a-shard"] if given.block_a_shard else [])]
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "RAY_ADDRESS": ""}
        done = subprocess.run(command, stdout=subprocess.PIPE, env=environment, check=True, text=True)
        print(done.stdout.strip(), flush=True)


if __name__ == "__main__":
    main()
