"""Compaction of a large run, and what a query engine makes of it before and after.

``python -m benchmarks.speed.compact_million_rows --work FOLDER [--rows 1000000]``

The run is made: files of 96 rows as the job writes them, two stages, random bytes of 200 to 600 in the place of each
map, histograms and scores as an image with a mask has them; a hundred files' worth of them are repeated with other ids.
Printed are rows a second and the most memory of all processes of ``python -m jobs.compact`` together, and for each
DuckDB query the median of its seconds and the bytes that it read (``/proc/self/io``; the page cache is warm).
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from jobs.run.layout import shard_file
from jobs.run.schema import SCHEMA_VERSION, TIMED, results_schema
from jobs.settings import SaliencySettings

ROWS_PER_FILE = 96
STAGES = ("raw", "refined")
QUERIES = {
    "one row by its id": "SELECT image_uri, f_beta_refined FROM {scores} WHERE image_id = {id}",
    "one map by its image's id": "SELECT map_refined.bytes FROM {maps} WHERE image_id = {id}",
    "mean score by class": "SELECT label_name, count(*), avg(f_beta_refined) FROM {scores} GROUP BY label_name",
}
TRIES = 3


def make_run(folder: Path, rows: int) -> None:
    """Write a run; one that is there already is kept."""
    if (folder / "_SUCCESS").exists():
        return
    (folder / "results").mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    schema = results_schema(STAGES)
    repeated = [_table(generator, schema, ROWS_PER_FILE) for _ in range(100)]
    for shard, start in enumerate(range(0, rows, ROWS_PER_FILE)):
        count = min(ROWS_PER_FILE, rows - start)
        table = repeated[shard % len(repeated)].slice(0, count)
        uris = pa.array([f"s3://photographs/2026/{start + index:09d}.jpg" for index in range(count)])
        own = {"image_id": pa.array(generator.integers(0, 2**63, count)), "image_uri": uris}
        for name, values in own.items():
            table = table.set_column(schema.get_field_index(name), schema.field(name), values)
        pq.write_table(table, shard_file(str(folder), shard), compression="zstd")
    settings = SaliencySettings(images="images", output=str(folder)).recorded()
    (folder / "_run.json").write_text(json.dumps({"schema_version": SCHEMA_VERSION, "settings": settings}))
    (folder / "_SUCCESS").touch()


def _table(generator: np.random.Generator, schema: pa.Schema, count: int) -> pa.Table:
    columns: dict[str, Any] = {
        "image_id": np.zeros(count, np.int64),
        "image_uri": [""] * count,
        "status": ["ok"] * count,
        "label": (labels := generator.integers(0, 1000, count)),
        "label_name": [f"class {label}" for label in labels],
    }
    columns |= {name: np.full(count, 384, np.int32) for name in ("width", "height", "map_width", "map_height")}
    columns |= {f"seconds_{name}": generator.random(count, np.float32) for name in TIMED}
    for stage in STAGES:
        maps = [{"bytes": generator.bytes(int(generator.integers(200, 600))), "path": None} for _ in range(count)]
        columns[f"map_{stage}"] = pa.array(maps, schema.field(f"map_{stage}").type)
        for name in ("f_beta", "f_beta_adaptive", "mae"):
            columns[f"{name}_{stage}"] = generator.random(count)
        for side in ("foreground", "background"):
            counts = generator.poisson(generator.exponential(30, 256), (count, 256))
            columns[f"{side}_histogram_{stage}"] = pa.array(
                list(counts), schema.field(f"{side}_histogram_{stage}").type
            )
    nothing = pa.nulls(count)
    return pa.table(
        [columns[field.name] if field.name in columns else nothing.cast(field.type) for field in schema], schema=schema
    )


def compact(run: Path, output: Path, slots: int) -> dict[str, Any]:
    """Compact in a process of its own."""
    command = [sys.executable, "-m", "jobs.compact", "--run", str(run), "--output", str(output), "--overwrite"]
    started, most = time.perf_counter(), 0
    with subprocess.Popen([*command, "--slots", str(slots)], stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            most = max(most, _memory(process.pid))
            time.sleep(0.5)
    if process.returncode:
        raise SystemExit("the compaction failed")
    record = json.loads((output / "_compaction.json").read_text())
    return {
        "seconds": round(time.perf_counter() - started, 1),
        "seconds_without_start": record["seconds"],
        "rows_per_second": round(record["rows"] / record["seconds"]),
        "files": {name: record[f"{name}_files"] for name in ("scores", "maps")},
        "mebibytes_of_all_processes": round(most / 2**20),
    }


def _memory(process_id: int) -> int:
    """Sum the processes' own memory; what they share, as Ray's object store, counts once for each that touches it."""
    found = 0
    try:
        parent = psutil.Process(process_id)
        for process in (parent, *parent.children(recursive=True)):
            found += process.memory_full_info().pss
    except psutil.Error:
        pass
    return found


def query(text: str) -> dict[str, Any]:
    """Run a query in a process of its own, several times."""
    program = (
        "import duckdb, json, sys, time\n"
        "def read(): return int(open('/proc/self/io').read().split()[1])\n"
        "duckdb.sql('SET enable_progress_bar = false')\n"
        "duckdb.sql('SELECT 1').fetchall()\n"
        "before, started = read(), time.perf_counter()\n"
        "rows = duckdb.sql(sys.argv[1]).fetchall()\n"
        "print(json.dumps([len(rows), time.perf_counter() - started, read() - before]))\n"
    )
    found = [
        json.loads(subprocess.run([sys.executable, "-c", program, text], check=True, capture_output=True).stdout)
        for _ in range(TRIES)
    ]
    return {
        "rows": found[0][0],
        "seconds": round(statistics.median(seconds for _, seconds, _ in found), 3),
        "mebibytes_read": round(statistics.median(count for _, _, count in found) / 2**20, 2),
    }


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for the run and its tables")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--slots", type=int, default=4)
    options = parser.parse_args()
    run, output = options.work / f"run-{options.rows}", options.work / f"tables-{options.rows}"
    make_run(run, options.rows)
    found = compact(run, output, options.slots)
    middle = pq.read_table(shard_file(str(run), options.rows // ROWS_PER_FILE // 2), columns=["image_id"])
    before = dict.fromkeys(("scores", "maps"), f"'{run}/results/*.parquet'")
    after = {name: f"'{output}/{name}/*.parquet'" for name in ("scores", "maps")}
    queries = {
        name: {
            when: query(text.format(id=middle["image_id"][0].as_py(), **places))
            for when, places in (("before", before), ("after", after))
        }
        for name, text in QUERIES.items()
    }
    sizes = {
        name: round(sum(path.stat().st_size for path in folder.rglob("*.parquet")) / 2**20)
        for name, folder in (("before", run), ("scores", output / "scores"), ("maps", output / "maps"))
    }
    hardware = {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()}
    report = {"hardware": hardware, "rows": options.rows, "mebibytes": sizes, "compaction": found, "queries": queries}
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
