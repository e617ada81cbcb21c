"""Reading images alone: single objects, tars, Parquet and Arrow files from an S3 server on this machine.

``python -m benchmarks.speed.archives [--images 10000] [--shards 10] [--rounds 2] [--parts objects tar ...]``

The server is the tests' (OpenStack Swift on loopback), and shares the cores with what is measured: figures are for
comparison with each other. Members are random bytes of 10 to 90 KB, nothing is decoded. Every input is listed (the
manifest, with the index of the archives) and read as tasks do, shard after shard of 96 rows; formats take turns.
"stream" is the alternative: tars read as a whole, without an index, in the tasks.
"""

import argparse
import io
import json
import os
import platform
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import s3fs

from jobs.inputs.archives.parquet import _row_group
from jobs.inputs.archives.reading import read_many
from jobs.inputs.manifest import stage_manifest
from jobs.inputs.sources import open_inputs
from jobs.pipeline.prepare import FETCHED_AT_ONCE
from jobs.settings import SaliencySettings
from jobs.storage import files as storage
from tests.support.s3_server import running_s3_server

SHARD_ROWS = 96
BUCKET = "archives"
PARTS = ("objects", "tar", "parquet-100", "parquet-1000", "arrow", "stream")


class Requests:
    """Counts what s3fs asks the server for."""

    def __init__(self) -> None:
        self.count = self.bytes = 0
        original: Callable[..., Any] = s3fs.S3FileSystem._call_s3

        async def counted(filesystem: Any, method: str, *arguments: Any, **options: Any) -> Any:
            answer = await original(filesystem, method, *arguments, **options)
            self.count += 1
            if method == "get_object":
                self.bytes += answer["ContentLength"]
            return answer

        s3fs.S3FileSystem._call_s3 = counted

    def since(self, began: tuple[float, int, int], images: int) -> dict[str, Any]:
        """Return figures since `now`."""
        seconds = time.perf_counter() - began[0]
        return {
            "seconds": round(seconds, 2),
            "images_per_second": round(images / seconds),
            "requests": self.count - began[1],
            "mebibytes": round((self.bytes - began[2]) / 2**20, 1),
        }

    def now(self) -> tuple[float, int, int]:
        """Return the state to count from."""
        return time.perf_counter(), self.count, self.bytes


def contents(count: int, first: int) -> Iterator[tuple[str, bytes]]:
    """Yield names and bytes of images."""
    generator = np.random.default_rng(first)
    for index in range(first, first + count):
        yield f"{index:09d}", generator.bytes(int(generator.integers(10_000, 90_000)))


def make(images: int, shards: int) -> None:
    """Write the same images in every form."""
    each = images // shards
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    for shard in range(shards):
        found = list(contents(each, shard * each))
        with ThreadPoolExecutor(8) as threads:
            put = lambda item: storage.write_bytes(f"s3://{BUCKET}/objects/{item[0]}.jpg", item[1])  # noqa: E731
            list(threads.map(put, found))
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            for key, content in found:
                for name, text in (
                    (f"{key}.jpg", content),
                    (f"{key}.json", b"{}" * 200),
                    (f"{key}.txt", b"caption" * 9),
                ):
                    info = tarfile.TarInfo(name)
                    info.size = len(text)
                    tar.addfile(info, io.BytesIO(text))
        storage.write_bytes(f"s3://{BUCKET}/tar/{shard:05d}.tar", buffer.getvalue())
        table = pa.table(
            {"image": pa.array([{"bytes": content, "path": f"{key}.jpg"} for key, content in found], kind)}
        )
        for rows in (100, 1000):
            buffer = io.BytesIO()
            pq.write_table(table, buffer, row_group_size=rows)
            storage.write_bytes(f"s3://{BUCKET}/parquet-{rows}/{shard:05d}.parquet", buffer.getvalue())
        buffer = io.BytesIO()
        with pa.ipc.new_stream(buffer, table.schema) as writer:
            writer.write_table(table, max_chunksize=100)
        storage.write_bytes(f"s3://{BUCKET}/arrow/data-{shard:05d}.arrow", buffer.getvalue())


def measure(part: str, images: int, requests: Requests, tasks: int) -> dict[str, Any]:
    """List an input and read all of it."""
    settings = SaliencySettings(images=f"s3://{BUCKET}/{part}/", output="unused", method="low-level")
    began = requests.now()
    staged = stage_manifest(open_inputs(settings))
    found = {"listing": requests.since(began, images)}
    uris = [uri for batch in staged.batches() for uri in batch["image_uri"].to_pylist()]
    if len(uris) != images:
        raise SystemExit(f"{len(uris)} of {images} images were listed")

    def read(start: int) -> int:
        _row_group.cache_clear()  # the shard before was another process's
        shard = uris[start : start + SHARD_ROWS]
        batches = (shard[at : at + FETCHED_AT_ONCE] for at in range(0, len(shard), FETCHED_AT_ONCE))
        return sum(isinstance(content, bytes) for batch in batches for content in read_many(batch, 2**25))

    began = requests.now()
    with ThreadPoolExecutor(tasks) as threads:
        count = sum(threads.map(read, range(0, images, SHARD_ROWS)))
    if count != images:
        raise SystemExit(f"{count} of {images} images were read")
    return found | {"reading": requests.since(began, images)}


def stream(images: int, shards: int, requests: Requests, tasks: int) -> dict[str, Any]:
    """Read whole tars."""

    def read(shard: int) -> int:
        content = storage.read_bytes(f"s3://{BUCKET}/tar/{shard:05d}.tar")
        with tarfile.open(fileobj=io.BytesIO(content)) as tar:
            return sum(member.name.endswith(".jpg") and tar.extractfile(member) is not None for member in tar)

    began = requests.now()
    with ThreadPoolExecutor(tasks) as threads:
        count = sum(threads.map(read, range(shards)))
    if count != images:
        raise SystemExit(f"{count} of {images} images were read")
    return {"reading": requests.since(began, images)}


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--shards", type=int, default=10, help="archives; images is a multiple of it")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--tasks", type=int, default=2, help="shards that are read side by side")
    parser.add_argument("--folder", type=Path, help="keeps the server's data for the next time; made if missing")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    options = parser.parse_args()
    requests = Requests()
    rounds: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as passing, running_s3_server(options.folder or Path(passing)) as server:
        os.environ.update(server.environment())
        last = f"s3://{BUCKET}/arrow/data-{options.shards - 1:05d}.arrow"
        if options.folder is None or not storage.exists(last):
            server.make_bucket(BUCKET)
            make(options.images, options.shards)
        for _ in range(options.rounds):
            found = {}
            for part in options.parts:
                if part == "stream":
                    found[part] = stream(options.images, options.shards, requests, options.tasks)
                else:
                    found[part] = measure(part, options.images, requests, options.tasks)
            rounds.append(found)
    about = {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()}
    print(json.dumps({"hardware": about, "images": options.images, "rounds": rounds}, indent=2))


if __name__ == "__main__":
    main()
