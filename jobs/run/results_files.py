"""Files of results: written whole or not at all, read whole or some columns of them."""

import io
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.storage import files as storage
from jobs.storage.retries import READ_SECONDS, persistently

FILES_AT_ONCE = 8
"""Files of results read at a time: reading from object storage is mostly waiting."""


def write_results(results: pa.Table, uri: str) -> None:
    """Write one file of results: whole or not at all."""
    # PNG bytes do not get smaller a second time.
    compression = {name: "none" if name.endswith(".bytes") else "zstd" for name in _leaves(results.schema)}
    buffer = io.BytesIO()
    pq.write_table(
        results,
        buffer,
        compression=compression,
        use_dictionary=["status", "label_name"],
        row_group_size=100,
    )
    storage.write_bytes(uri, buffer.getvalue())


def read_results(uri: str) -> pa.Table:
    """Read one file of results whole."""
    return pq.read_table(io.BytesIO(storage.read_bytes(uri)))


def read_columns(file: str, columns: Sequence[str]) -> pa.Table:
    """Read some columns of a file of results, and nothing else of it.

    Parameters
    ----------
    file : str
        URI of a Parquet file.
    columns : sequence of str
    """
    filesystem, path = storage.resolve(file)

    def read(_: float) -> pa.Table:
        # Exact ranges: most of a file is maps, and reading ahead would fetch them.
        with filesystem.open(path, "rb", cache_type="none") as source:
            return pq.ParquetFile(source, pre_buffer=True).read(columns=list(columns))

    return persistently(read, READ_SECONDS)


def _leaves(schema: pa.Schema) -> list[str]:
    leaves = []
    for field in schema:
        if pa.types.is_struct(field.type):
            leaves += [f"{field.name}.{child.name}" for child in field.type]
        elif pa.types.is_list(field.type):
            leaves.append(f"{field.name}.list.element")
        else:
            leaves.append(field.name)
    return leaves
