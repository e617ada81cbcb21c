"""Kill parts of a running job at random moments, start it again until it is done, and compare with a quiet run.

A Ray cluster of a head without slots and two worker nodes, an S3 server and a proxy in front of it run on this machine.
Drivers, network workers, task workers and whole nodes are killed (SIGKILL) in a seeded order at seeded moments; a node
comes back after some seconds, a driver is started again by the same command, or two at once. The proxy can fail and
stall requests too.

``python -m benchmarks.studies.chaos --images 400 --drivers 6 --actors 9 --workers 10 --nodes 6``, with
``--fail 0.05 --stall 0.01`` for a bad server

The last line is JSON: kills by kind, starts, rows lost, double and different from the quiet run's (by id, status, label
and map bytes), images worked on more than once. Exit code 1 if any row is lost, double or different.
"""

import argparse
import contextlib
import io
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
from ray.cluster_utils import Cluster

from jobs.storage import files as storage
from tests.support.faulty_proxy import Faults, faulty_proxy
from tests.support.s3_server import running_s3_server
from tests.support.tiny_set import write_tiny_set

ROOT = Path(__file__).parents[2]
BUCKET = "s3://chaos"
MODEL = [
    "--model",
    "demo.tiny_vgg:TinyVGG",
    "--weights",
    str(ROOT / "demo" / "classifier.safetensors"),
    "--iterations",
    "2",
]
COMPARED = ("status", "label", "width", "map_raw", "map_smoothed", "map_refined", "f_beta_refined")
NODE_SLOTS = 3
START_ATTEMPTS = 5
# A killed node refuses connections and is known as lost in seconds; one that is only slow, on a busy machine, is not.
HEALTH_CHECKS = {
    "RAY_health_check_period_ms": "2000",
    "RAY_health_check_timeout_ms": "60000",
    "RAY_health_check_failure_threshold": "3",
}


@dataclass
class Report:
    """What was done to the job, and what came of it."""

    images: int
    seed: int
    runs: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    starts: int = 0
    nodes_died_by_themselves: int = 0
    exit_codes: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    double: int = 0
    different: int = 0
    images_recomputed: int = 0
    finished_shards_written_again: int = 0
    requests: Counter[str] = field(default_factory=Counter)
    quiet_seconds: float = 0.0
    chaos_seconds: float = 0.0


class Nodes:
    """A head without slots, and worker nodes that can be killed and come back."""

    def __init__(self, count: int) -> None:
        head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": 10**8}
        self.cluster = _started(lambda: Cluster(initialize_head=True, head_node_args=head))
        self.workers = [self._add() for _ in range(count)]

    def _add(self) -> Any:
        size = {"num_cpus": NODE_SLOTS, "object_store_memory": 2 * 10**8}
        return _started(lambda: self.cluster.add_node(**size, wait=False))

    def kill(self, index: int) -> None:
        """Kill all processes of a node at once."""
        self.cluster.remove_node(self.workers[index], allow_graceful=False)

    def bring_back(self, index: int) -> None:
        """Start a node in the place of a killed one."""
        self.workers[index] = self._add()

    def dead(self) -> list[int]:
        """Return the nodes that ended by themselves: on a busy machine the head may miss their signs of life."""
        return [
            index
            for index, node in enumerate(self.workers)
            if any(started.process.poll() is not None for started in node.all_processes.get("raylet", []))
        ]

    def processes(self, actors: bool) -> list[psutil.Process]:
        """Return the processes of network workers, or of other workers that are at work, in the order of their ids."""
        found = []
        for node in self.cluster.worker_nodes:
            for started in node.all_processes.get("raylet", []):
                found += _working(started.process.pid, actors)
        return sorted(found, key=lambda process: process.pid)


def _started(start: Callable[[], Any]) -> Any:
    """Start a node, again where Ray gives it up: on a busy machine it starts too slowly."""
    for _ in range(START_ATTEMPTS - 1):
        with contextlib.suppress(Exception):
            return start()
    return start()


def _working(raylet: int, actors: bool) -> list[psutil.Process]:
    found = []
    try:
        for process in psutil.Process(raylet).children(recursive=True):
            title = " ".join(process.cmdline())
            # Ray's title of a process is the work that it does: ray::MapWorker(...), ray::MapBatches(...), ray::IDLE.
            if title.startswith("ray::") and "IDLE" not in title and ("NetworkActor" in title) == actors:
                found.append(process)
    except psutil.Error:
        pass  # gone meanwhile
    return found


class Chaos:
    """One job after the other, killed until the list of kills is used up."""

    def __init__(self, nodes: Nodes, kinds: list[str], report: Report, pause: float, drivers_at_once: int) -> None:
        self.nodes, self.kinds, self.report, self.pause = nodes, kinds, report, pause
        self.drivers_at_once = drivers_at_once
        self.generator = random.Random(report.seed)
        self.generator.shuffle(self.kinds)
        self.back: list[tuple[float, int]] = []

    def run(self, output: str, seconds: float) -> None:
        """Start the job again and again until its rows are all there."""
        end = time.monotonic() + seconds
        drivers = self._start(output)
        kill_at = self._later()
        try:
            while True:
                if time.monotonic() > end:
                    raise TimeoutError(f"the job was not done after {seconds:.0f} s")
                self._bring_back()
                for driver in [driver for driver in drivers if driver.poll() is not None]:
                    drivers.remove(driver)
                    self.report.exit_codes[str(driver.returncode)] += 1
                    print(f"{time.strftime('%X')} a driver ended with {driver.returncode}", file=sys.stderr, flush=True)
                    if driver.returncode == 0 and storage.exists(f"{output}/_SUCCESS"):
                        return
                if not drivers:
                    time.sleep(1)
                    drivers = self._start(output)
                if self.kinds and time.monotonic() >= kill_at and self._kill(self.kinds[-1], drivers):
                    self.report.kills[self.kinds.pop()] += 1
                    print(f"{time.strftime('%X')} killed: {dict(self.report.kills)}", file=sys.stderr, flush=True)
                    kill_at = self._later()
                time.sleep(0.1)
        finally:
            for driver in drivers:
                driver.kill()
                driver.wait()

    def _later(self) -> float:
        return time.monotonic() + self.generator.uniform(0.2, 2) * self.pause

    def _start(self, output: str) -> "list[subprocess.Popen[bytes]]":
        self.report.starts += self.drivers_at_once
        return [start_job(output, self.nodes.cluster.address) for _ in range(self.drivers_at_once)]

    def _kill(self, kind: str, drivers: "list[subprocess.Popen[bytes]]") -> bool:
        """Kill something of that kind; False if there is nothing of it at the moment."""
        if kind == "driver":
            # Not while they only start, or are two: what is killed is a job at work.
            if len(drivers) != 1 or drivers[0].poll() is not None or not self.nodes.processes(actors=True):
                return False
            drivers[0].kill()
            drivers[0].wait()
            return True
        if kind == "node":
            if self.back:
                return False
            index = self.generator.randrange(len(self.nodes.workers))
            self.nodes.kill(index)
            self.back.append((time.monotonic() + self.generator.uniform(1, 8), index))
            return True
        found = self.nodes.processes(actors=kind == "actor")
        if not found:
            return False
        try:
            self.generator.choice(found).send_signal(signal.SIGKILL)
        except psutil.Error:
            return False
        return True

    def _bring_back(self) -> None:
        while self.back and self.back[0][0] <= time.monotonic():
            self.nodes.bring_back(self.back.pop(0)[1])
        killed = [index for _, index in self.back]
        for index in self.nodes.dead():
            if index not in killed:
                self.report.nodes_died_by_themselves += 1
                self.nodes.kill(index)
                self.nodes.bring_back(index)


def start_job(output: str, address: str) -> "subprocess.Popen[bytes]":
    """Start the driver; what it says goes to standard error."""
    command = [sys.executable, "-m", "jobs.saliency", "--images", f"{BUCKET}/images", "--masks", f"{BUCKET}/masks"]
    command += ["--output", output, "--ray-address", address, "--network-workers", "1", "--rows-per-file", "4", *MODEL]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)


def read_rows(output: str) -> tuple[dict[int, dict[str, Any]], int]:
    """Return the rows of a run by id, and the number of rows that have an id of another."""
    rows: dict[int, dict[str, Any]] = {}
    double = 0
    for uri in storage.list_files(f"{output}/results"):
        table = pq.read_table(io.BytesIO(storage.read_bytes(uri)), columns=["image_id", *COMPARED])
        for row in table.to_pylist():
            double += row["image_id"] in rows
            rows[row["image_id"]] = row
    return rows, double


@contextmanager
def _surroundings(folder: Path, faults: Faults) -> Iterator[None]:
    """Run an S3 server behind the proxy, and have the environment's variables point there."""
    (folder / "s3").mkdir()
    with running_s3_server(folder / "s3") as server, faulty_proxy(server.endpoint, faults) as endpoint:
        server.make_bucket("chaos")
        os.environ.update(server.environment() | {"AWS_ENDPOINT_URL": endpoint})
        # A raylet's workers find the project wherever they start.
        os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        os.environ.setdefault("RAY_AUTH_MODE", "disabled")
        os.environ.update(HEALTH_CHECKS)
        yield


def measure(given: argparse.Namespace) -> Report:
    """Do what the command line says."""
    report = Report(images=given.images, seed=given.seed)
    faults = Faults(seed=given.seed, stall_seconds=given.stall_seconds)
    kinds = [kind for kind in ("driver", "actor", "worker", "node") for _ in range(getattr(given, f"{kind}s"))]
    with tempfile.TemporaryDirectory() as folder, _surroundings(Path(folder), faults):
        for local in write_tiny_set(Path(folder), given.images):
            for path in local.iterdir():
                storage.write_bytes(f"{BUCKET}/{local.name}/{path.name}", path.read_bytes())
        nodes = Nodes(2)
        try:
            started = time.monotonic()
            code = start_job(f"{BUCKET}/quiet", nodes.cluster.address).wait(given.seconds)
            if code != 0:
                raise RuntimeError(f"the quiet run ended with {code}")
            report.quiet_seconds = round(time.monotonic() - started, 1)
            expected, _ = read_rows(f"{BUCKET}/quiet")
            faults.fail, faults.stall = given.fail, given.stall
            faults.passed.clear()
            faults.counts.clear()
            chaos = Chaos(nodes, kinds, report, given.pause, given.at_once)
            started = time.monotonic()
            outputs: list[str] = []
            while chaos.kinds:  # a run may be done before all kills are
                outputs.append(f"{BUCKET}/chaos-{len(outputs)}")
                chaos.run(outputs[-1], given.seconds)
            report.chaos_seconds = round(time.monotonic() - started, 1)
            report.runs = len(outputs)
        finally:
            nodes.cluster.shutdown()
        report.requests = Counter(faults.counts)
        fetched = sum(count for request, count in faults.passed.items() if request.startswith("GET /chaos/images/"))
        report.images_recomputed = fetched - given.images * report.runs
        writes = [count for request, count in faults.passed.items() if _writes_results(request)]
        report.finished_shards_written_again = sum(writes) - len(writes)
        faults.fail = faults.stall = 0.0
        for output in outputs:
            rows, double = read_rows(output)
            report.double += double
            report.lost += len(expected.keys() - rows.keys())
            report.different += sum(rows[key] != expected[key] for key in rows.keys() & expected.keys())
            report.different += len(rows.keys() - expected.keys())
    return report


def _writes_results(request: str) -> bool:
    return request.startswith("PUT /chaos/chaos-") and "/results/" in request


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--drivers", type=int, default=6, help="kills of the driver")
    parser.add_argument("--at-once", type=int, default=1, help="drivers that are started together, each time")
    parser.add_argument("--actors", type=int, default=9, help="kills of a network worker")
    parser.add_argument("--workers", type=int, default=10, help="kills of a process that runs a task")
    parser.add_argument("--nodes", type=int, default=6, help="kills of a node")
    parser.add_argument("--pause", type=float, default=5.0, help="seconds between two kills, about")
    parser.add_argument("--fail", type=float, default=0.0, help="share of S3 requests that fail")
    parser.add_argument("--stall", type=float, default=0.0, help="share of S3 requests that stall")
    parser.add_argument("--stall-seconds", type=float, default=60.0)
    parser.add_argument("--seconds", type=float, default=1800.0, help="for one run at most")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


def main() -> int:
    """Measure, print, and say by the exit code whether all rows are right."""
    report = measure(parse())
    print(json.dumps(vars(report)))
    return 1 if report.lost or report.double or report.different else 0


if __name__ == "__main__":
    sys.exit(main())
