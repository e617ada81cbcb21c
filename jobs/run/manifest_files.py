"""The manifest below the output of a run: a row group a shard, a file for every hundred of them."""

import io
import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from jobs.inputs.manifest import SCHEMA, KnownImages, StagedManifest, uri_checks
from jobs.run.layout import MANIFEST
from jobs.run.shards import SHARDS_PER_FILE, Shards
from jobs.storage import files as storage

FILES_AT_ONCE = 8
"""Files of the manifest written or read at a time."""


def write_manifest(staged: StagedManifest, output: str, shards: Shards) -> None:
    """Write the rows below `output` as the last segment of `shards`: a file for every `SHARDS_PER_FILE` of them."""
    first = shards.segments[-1].first_shard // SHARDS_PER_FILE
    tables = _rechunked(staged.batches(), shards.rows_per_shard * SHARDS_PER_FILE)

    def write(number: int, table: pa.Table) -> None:
        buffer = io.BytesIO()
        pq.write_table(table, buffer, row_group_size=shards.rows_per_shard, compression="zstd")
        storage.write_bytes(_manifest_file(output, number), buffer.getvalue())

    with ThreadPoolExecutor(FILES_AT_ONCE) as threads:
        numbered = enumerate(tables, first)
        while part := list(itertools.islice(numbered, FILES_AT_ONCE)):
            list(threads.map(write, *zip(*part, strict=True)))


def read_shard(output: str, shard: int) -> pa.Table:
    """Read the rows of one shard of the manifest of a run."""
    return ManifestReader(output)(shard)


class ManifestReader:
    """Reads the rows of one shard of the manifest after the other; shards that lie in one file cost one read.

    Parameters
    ----------
    output : str
        Of the run, whose manifest does not change meanwhile.
    """

    def __init__(self, output: str) -> None:
        self.output = output
        self._number, self._content = -1, b""

    def __call__(self, shard: int) -> pa.Table:
        """Return the rows of a shard, of `manifest.SCHEMA`."""
        number, row_group = divmod(shard, SHARDS_PER_FILE)
        if number != self._number:
            self._content = storage.read_bytes(_manifest_file(self.output, number))
            self._number = number
        return pq.ParquetFile(io.BytesIO(self._content)).read_row_group(row_group).cast(SCHEMA)


def manifest_files(output: str, shards: Shards) -> list[str]:
    """Return the URIs of the files that hold the manifest of a run."""
    return [_manifest_file(output, number) for number in np.unique(shards.numbers // SHARDS_PER_FILE).tolist()]


def remove_leftovers(output: str, shards: Shards) -> None:
    """Remove the files of a start that was cut off while it wrote the manifest, or a further segment of it."""
    known = {uri.rsplit("/", 1)[-1] for uri in manifest_files("", shards)}
    for uri in storage.list_files(storage.join(output, MANIFEST)):
        if uri.rsplit("/", 1)[-1] not in known:
            storage.remove_tree(uri)


def known_images(output: str, shards: Shards) -> KnownImages:
    """Read which images a run has."""

    def read(uri: str) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
        content = storage.read_bytes(uri)
        table = pq.read_table(io.BytesIO(content), columns=["image_id", "image_uri"])
        return table["image_id"].to_numpy(), uri_checks(table["image_uri"].to_pylist())

    with ThreadPoolExecutor(FILES_AT_ONCE) as threads:
        parts = list(threads.map(read, manifest_files(output, shards)))
    ids = np.concatenate([part[0] for part in parts]) if parts else np.empty(0, np.int64)
    checks = np.concatenate([part[1] for part in parts]) if parts else np.empty(0, np.uint64)
    order = np.argsort(ids, kind="stable")
    return KnownImages(ids[order], checks[order])


def _manifest_file(output: str, number: int) -> str:
    return storage.join(output, MANIFEST, f"part-{number:06d}.parquet")


def _rechunked(batches: Iterator[pa.RecordBatch], rows: int) -> Iterator[pa.Table]:
    """Yield the same rows in tables of `rows` rows; the last may have fewer."""
    waiting: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        waiting.append(batch)
        count += batch.num_rows
        if count >= rows:
            table = pa.Table.from_batches(waiting)
            whole = count - count % rows
            for start in range(0, whole, rows):
                yield table.slice(start, rows)
            waiting, count = table.slice(whole).to_batches(), count - whole
    if count:
        yield pa.Table.from_batches(waiting)
