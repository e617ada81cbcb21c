"""What it costs to go on with a long run: a million rows are there, a thousand are left.

``python -m benchmarks.speed.resume_overhead --work FOLDER [--rows 1000000] [--left 1000]``

The method is ``center-gaussian``, a stand-in for the network: what is measured is everything around it. A run of all
rows is started and killed when its first shard is there; that shard's file then stands (by hard links) for all others
but those that are left. Then the same command goes on with the run, with the driver's sums up to date, as they are
after a kill; ``seconds_to_make_sums`` is what it costs more where they are lost and every file has to be read. For
comparison a new run does as many rows as are left. The other figures are of a process of its own each:

- ``seconds_to_plan``: until the plan is printed: Python, imports, and for a new run the listing;
- ``seconds_to_first_shard``: until the first new file of results is there; with Ray's start and workers;
- ``seconds``: until the end, with the summary of all rows;
- ``driver_processor_seconds``: what the driver itself used of a core, which a busy machine does not change as much;
- ``driver_peak_mebibytes``: the most memory that the driver itself held, without Ray's other processes.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from jobs.run.layout import PROGRESS, RECORD, SUCCESS, shard_file
from jobs.run.shards import Shards
from jobs.run.tally import TallyFile, tally_of
from saliency_core.methods.registry import METHODS

METHOD = "center-gaussian"


def write_list(folder: Path, rows: int) -> Path:
    """Write a list that repeats one small image, with an id for every row."""
    folder.mkdir(parents=True, exist_ok=True)
    image = folder / "image.png"
    y, x = np.mgrid[:48, :64]
    Image.fromarray(np.stack([4 * x, 5 * y, x + y], -1).astype(np.uint8)).save(image)
    path = folder / f"{rows}.parquet"
    pq.write_table(pa.table({"uri": [str(image)] * rows, "id": np.arange(rows)}), path)
    return path


def job(listed: Path, output: Path, *, kill: bool = False) -> dict[str, float]:
    """Run the job; measure it, or kill it when its first shard is there."""
    command = [sys.executable, "-m", "jobs.saliency", "--images", str(listed), "--output", str(output)]
    command += ["--method", METHOD, "--rows-per-file", "100", "--slots", "4"]
    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    before = number_of_shards(output)
    started = time.perf_counter()
    found: dict[str, float] = {}
    log = output.with_suffix(".log")
    peak, processor = 0, 0.0
    with log.open("wb") as file:
        process = subprocess.Popen(command, env=environment, stdout=file, stderr=file, start_new_session=True)
    driver = psutil.Process(process.pid)
    while process.poll() is None:
        time.sleep(0.1)
        try:
            peak = max(peak, driver.memory_info().rss)
            times = driver.cpu_times()
            processor = times.user + times.system
        except psutil.NoSuchProcess:
            break
        if "seconds_to_plan" not in found and b"output " in log.read_bytes():
            found["seconds_to_plan"] = time.perf_counter() - started
        if "seconds_to_first_shard" not in found and number_of_shards(output) > before:
            found["seconds_to_first_shard"] = time.perf_counter() - started
            if kill:
                end(driver)
    seconds = time.perf_counter() - started
    if process.wait() != 0 and not kill:
        raise SystemExit(f"the job failed: {log.read_text()}")
    found |= {"seconds": seconds, "driver_processor_seconds": processor}
    return {name: round(value, 1) for name, value in found.items()} | {"driver_peak_mebibytes": round(peak / 2**20)}


def number_of_shards(output: Path) -> int:
    """Count the files of results."""
    try:
        with os.scandir(output / "results") as entries:
            return sum(entry.name.startswith("part-") for entry in entries)
    except FileNotFoundError:
        return 0


def end(driver: psutil.Process) -> None:
    """Kill a driver, and the Ray that it started, which would otherwise do what it has in hand."""
    family = [driver, *driver.children(recursive=True)]
    for member in family:
        try:
            member.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(family, timeout=30)


def finish_but(output: Path, left: int) -> int:
    """Leave the run with so many rows to do, by links to its first shard; return the number of shards left."""
    shards = Shards.from_record(json.loads((output / RECORD).read_text()))
    numbers = shards.numbers.tolist()
    there = [shard for shard in numbers if Path(shard_file(str(output), shard)).exists()]
    whole = Path(shard_file(str(output), there[0]))
    count = len(numbers) - -(-left // shards.rows_per_shard)
    for shard in numbers:
        path = Path(shard_file(str(output), shard))
        if shard < count and not path.exists():
            path.hardlink_to(whole)
        elif shard >= count:
            path.unlink(missing_ok=True)
    (output / SUCCESS).unlink(missing_ok=True)
    (output / PROGRESS).unlink(missing_ok=True)
    return len(numbers) - count


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for lists and runs; must be empty")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--left", type=int, default=1000)
    options = parser.parse_args()
    listed, short = write_list(options.work, options.rows), write_list(options.work, options.left)
    output = options.work / "run"
    report: dict[str, Any] = {}

    def note(name: str, figures: object) -> None:
        report[name] = figures
        print(f"{name}: {figures}", file=sys.stderr, flush=True)

    report |= {
        "hardware": {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()},
        "versions": {name: version(name) for name in ("ray", "pyarrow")},
        "rows": options.rows,
        "left": options.left,
    }
    note("new_run_of_left", job(short, options.work / "short"))
    note("new_run_of_all_until_killed", job(listed, output, kill=True))
    finish_but(output, options.left)
    shards = Shards.from_record(json.loads((output / RECORD).read_text()))
    there = np.array([shard for shard in shards.numbers if Path(shard_file(str(output), int(shard))).exists()])
    rows = int(shards.rows(there).sum())
    started = time.perf_counter()
    tally = tally_of(str(output), "", METHODS[METHOD].stages, there, rows)
    note("seconds_to_make_sums", round(time.perf_counter() - started, 1))
    TallyFile(str(output), tally).write()
    note("resume", job(listed, output))
    note("finished_started_again", job(listed, output))
    started = time.perf_counter()
    status = [sys.executable, "-m", "jobs.status", "--run", str(output), "--json"]
    subprocess.run(status, check=True, stdout=subprocess.DEVNULL)
    note("status_seconds", round(time.perf_counter() - started, 1))
    shutil.rmtree(output)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
