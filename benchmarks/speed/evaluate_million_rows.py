"""Measure the evaluation of a large run, made by repeating the rows of a small one.

    python -m benchmarks.speed.evaluate_million_rows --run FOLDER --work FOLDER [--rows N ...] [--ray-address ADDRESS]

The rows are repeated without their maps, which the evaluation does not read, in files of 100 rows as the job writes
them. Prints one line of JSON a size: seconds from start to end of ``python -m jobs.evaluate``, processor seconds, and
the peak memory of its process (with Ray: of the process that merges the sums).
"""

import argparse
import json
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa

from jobs.reporting.runs import open_run
from jobs.run.layout import shard_file
from jobs.run.results_files import read_columns, write_results
from jobs.run.schema import results_schema

ROWS_PER_FILE = 100


def repeat_run(source: str, folder: Path, rows: int) -> Path:
    """Write a run of that many rows and return its folder; one that is there already is kept."""
    if (folder / "_SUCCESS").exists():
        return folder
    run = open_run(source)
    schema = results_schema(run.stages)
    columns = [name for name in schema.names if name not in {f"map_{stage}" for stage in run.stages}]
    small = pa.concat_tables([read_columns(file, columns) for file in run.files])
    for shard in range(-(-rows // ROWS_PER_FILE)):
        count = min(ROWS_PER_FILE, rows - shard * ROWS_PER_FILE)
        taken = small.take([(shard * ROWS_PER_FILE + row) % small.num_rows for row in range(count)])
        parts = {
            field.name: taken[field.name] if field.name in columns else pa.nulls(count, field.type) for field in schema
        }
        parts["image_id"] = pa.array(range(shard * ROWS_PER_FILE, shard * ROWS_PER_FILE + count))
        write_results(pa.table(parts, schema=schema), shard_file(str(folder), shard))
    shutil.copy(Path(run.uri, "_run.json"), folder)
    (folder / "_SUCCESS").touch()
    return folder


def measure(folder: Path, output: Path, ray_address: str | None) -> dict[str, float]:
    """Evaluate a run in a process of its own and measure it."""
    command = [sys.executable, "-m", "jobs.evaluate", "--runs", str(folder), "--output", str(output)]
    command += ["--ray-address", ray_address] if ray_address else []
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "seconds": round(seconds, 1),
        "processor_seconds": round(processor, 1),
        # The largest of all children so far: measure sizes in rising order.
        "peak_megabytes": round(after.ru_maxrss / 1024),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the evaluation of a large run.")
    parser.add_argument("--run", required=True, help="a finished run, whose rows are repeated")
    parser.add_argument("--work", required=True, type=Path, help="folder for the repeated runs")
    parser.add_argument("--rows", type=int, nargs="+", default=[1000, 100_000, 1_000_000])
    parser.add_argument("--ray-address", help="as for jobs.evaluate")
    arguments = parser.parse_args()
    for rows in sorted(arguments.rows):
        started = time.perf_counter()
        folder = repeat_run(arguments.run, arguments.work / str(rows), rows)
        made = round(time.perf_counter() - started, 1)
        size = sum(file.stat().st_size for file in (folder / "results").iterdir())
        found = measure(folder, arguments.work / f"{rows}-scores", arguments.ray_address)
        print(json.dumps({"rows": rows, "made_in_seconds": made, "bytes": size} | found), flush=True)


if __name__ == "__main__":
    main()
