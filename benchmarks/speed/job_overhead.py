"""The job against a plain loop over the same functions in one process, on the same cores.

``python -m benchmarks.speed.job_overhead --images FOLDER --masks FOLDER --model squeezenet1_1 --weights FILE``

Both do the same images, in turn, several times; the figure is the ratio of their images per second. The job's start
(Ray, worker processes) and end are given apart: what the whole command takes longer than from its first network pass to
its last shard.
With ``--counts`` the list is repeated to those lengths instead and the job's peak memory is given for each: the sum
of the proportional set sizes of all its processes, so that shared memory counts once.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from importlib.metadata import version
from pathlib import Path

import psutil
import torch

from jobs.inputs.manifest import stage_manifest
from jobs.inputs.sources import open_inputs
from jobs.pipeline.network import network_step
from jobs.pipeline.prepare import PrepareStep
from jobs.pipeline.results import ResultStep
from jobs.planning.cluster import Cluster
from jobs.planning.plan import make_plan
from jobs.run.manifest_files import read_shard, write_manifest
from jobs.settings import SaliencySettings
from saliency_core.parameters import ErasureParameters


def plain_loop(settings: SaliencySettings) -> float:
    """Do the whole list in this process and return images per second."""
    plan = make_plan(settings, Cluster(address=None, slots=4, gpus=0))
    assert plan.staged is not None
    write_manifest(plan.staged, settings.output, plan.shards)
    assert plan.classifier is not None
    network = network_step(plan.classifier, settings, plan.shards.rows_per_shard)
    prepare = PrepareStep(settings, plan.classifier.preprocessing.input_size)
    finish = ResultStep(settings)
    started = time.perf_counter()
    for shard in plan.remaining.tolist():
        finish(network(prepare(read_shard(settings.output, shard))), shard)
    return plan.images / (time.perf_counter() - started)


def job(settings: SaliencySettings) -> dict[str, float]:
    """Run the job as a user does; return its images per second, its start-up seconds and its peak memory in MiB."""
    command = [
        *(sys.executable, "-m", "jobs.saliency", "--images", str(settings.images), "--output", settings.output),
        *("--model", settings.model, "--weights", settings.weights),
        *("--iterations", str(settings.erasure.iterations), "--precision", settings.precision),
        *(("--masks", settings.masks) if settings.masks else ()),
    ]
    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    started = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    peak = [0.0]
    watcher = threading.Thread(target=_watch_memory, args=(process.pid, peak), daemon=True)
    watcher.start()
    if process.wait() != 0:
        raise SystemExit("the job failed")
    seconds = time.perf_counter() - started
    record = json.loads((Path(settings.output) / "_run.json").read_text())
    working = sum(record["counts"].values()) / record["images_per_second"]
    return {
        "images_per_second": record["images_per_second"],
        "start_seconds": seconds - working,
        "peak_mebibytes": peak[0] / 2**20,
        "network_busy": record["work"]["network_busy"],
    }


def _watch_memory(pid: int, peak: list[float]) -> None:
    while psutil.pid_exists(pid):
        total = 0
        try:
            family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        except psutil.NoSuchProcess:
            return
        for member in family:
            try:
                total += member.memory_full_info().pss
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        peak[0] = max(peak[0], total)
        time.sleep(1)


def _repeated_list(settings: SaliencySettings, folder: Path, count: int) -> str:
    """Write a manifest of `count` rows that repeats the images, with ids of its own."""
    rows = [row for batch in stage_manifest(open_inputs(settings)).batches() for row in batch.to_pylist()]
    lines = [
        f"{rows[index % len(rows)]['image_uri']},{rows[index % len(rows)]['mask_uri'] or ''},{index}"
        for index in range(count)
    ]
    path = folder / f"{count}.csv"
    path.write_text("\n".join(["uri,mask_uri,id", *lines]) + "\n")
    return str(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", required=True)
    parser.add_argument("--masks")
    parser.add_argument("--model", default="squeezenet1_1")
    parser.add_argument("--weights", required=True)
    parser.add_argument("--iterations", type=int, default=10, help="steps of the erasure")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit", type=int, default=200, help="images per round")
    parser.add_argument("--counts", type=int, nargs="*", default=[], help="measure memory at these numbers of images")
    options = parser.parse_args()
    report: dict = {
        "hardware": {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()},
        "versions": {name: version(name) for name in ("ray", "torch", "scikit-image")},
        "settings": {key: str(value) for key, value in vars(options).items()},
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        whole = SaliencySettings(
            images=options.images, masks=options.masks, output="unused", model=options.model, weights=options.weights
        )

        def settings(count: int, output: str) -> SaliencySettings:
            return SaliencySettings(
                images=_repeated_list(whole, folder, count),
                output=str(folder / output),
                model=options.model,
                weights=options.weights,
                erasure=ErasureParameters(iterations=options.iterations),
            )

        if options.counts:
            report["memory"] = {count: job(settings(count, f"job-{count}")) for count in options.counts}
        else:
            torch.set_num_threads(os.cpu_count() or 1)
            report["rounds"] = []
            for index in range(options.rounds):
                loop = plain_loop(settings(options.limit, f"loop-{index}"))
                found = job(settings(options.limit, f"job-{index}"))
                ratio = found["images_per_second"] / loop
                report["rounds"].append({"loop_images_per_second": loop, "ratio": ratio} | found)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
