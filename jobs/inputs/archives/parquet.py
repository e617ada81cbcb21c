"""Parquet files with encoded images: counted by their footers, read by row groups."""

import functools
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jobs.errors import ArchiveError, NoBytesError
from jobs.inputs.archives.ranges import RangedFile
from jobs.storage import files as storage

FOOTER_BYTES = 2**16
"""Read from the end at once: most footers are shorter."""
MOST_BYTES = 2**31
"""A row group's images may have so many bytes: a task holds them all."""


def parquet_footer(uri: str) -> tuple[pa.Schema, int]:
    """Return the schema and the number of rows of a Parquet file.

    Raises
    ------
    ArchiveError
        If it is none, or is damaged.
    OSError
        If the storage cannot be read.
    """
    metadata = _metadata(uri)
    return metadata.schema.to_arrow_schema(), metadata.num_rows


def read_labels(uri: str, column: str) -> list[str | None] | None:
    """Read the classes of all rows: by name where Hugging Face's features give names to the numbers.

    Returns
    -------
    list of str or None
        None where there is no such column of numbers or texts.
    """
    metadata = _metadata(uri)
    schema = metadata.schema.to_arrow_schema()
    kind = schema.field(column).type if schema.names.count(column) == 1 else None
    if kind is None or not (pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        return None
    described = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    names: list[str] | None = described.get("info", {}).get("features", {}).get(column, {}).get("names")
    file = RangedFile(uri, storage.file_size(uri), 0, MOST_BYTES)
    values: list[Any] = pq.ParquetFile(file, metadata=metadata).read(columns=[column])[column].to_pylist()
    if names is None or not pa.types.is_integer(kind):
        return [None if value is None else str(value) for value in values]
    # Data sets number images without a class -1.
    return [names[value] if value is not None and 0 <= value < len(names) else None for value in values]


def largest_row_group(uri: str, column: str) -> int:
    """Return the bytes of the images of the largest row group of a Parquet file, all of which are read for one."""
    metadata = _metadata(uri)
    path = _path(metadata, column)
    return max((_bytes(metadata, group, path) or 0 for group in range(metadata.num_row_groups)), default=0)


def _path(metadata: pq.FileMetaData, column: str) -> str:
    kind = metadata.schema.to_arrow_schema().field(column).type
    return f"{column}.bytes" if pa.types.is_struct(kind) else column


def _bytes(metadata: pq.FileMetaData, group: int, path: str) -> int | None:
    about = metadata.row_group(group)
    chunks = (about.column(place) for place in range(about.num_columns))
    chunk = next((chunk for chunk in chunks if chunk.path_in_schema == path), None)
    return None if chunk is None else max(chunk.total_uncompressed_size, chunk.total_compressed_size)


@functools.lru_cache(32)
def _metadata(uri: str) -> pq.FileMetaData:
    size = storage.file_size(uri)
    file = RangedFile(uri, size, FOOTER_BYTES, MOST_BYTES)
    # The window lies before the end: pyarrow reads the last bytes first, then the footer.
    file.seek(max(size - FOOTER_BYTES, 0))
    file.read(1)
    file.seek(0)
    try:
        return pq.read_metadata(file)
    except (pa.ArrowException, ValueError) as error:
        if isinstance(error, ArchiveError):
            raise
        raise ArchiveError(f"{uri} is no Parquet file that can be read: {' '.join(str(error).split())}") from None


def read_rows(uri: str, column: str, rows: Sequence[int]) -> list[bytes | Exception]:
    """Read the images of some rows: one request for the images of a row group, however many are wanted.

    Parameters
    ----------
    uri, column : str
    rows : sequence of int

    Returns
    -------
    list of bytes or Exception
        In the order of `rows`.

    Raises
    ------
    ArchiveError, OSError
        If the file cannot be read.
    """
    metadata = _metadata(uri)
    starts = np.cumsum([0, *(metadata.row_group(group).num_rows for group in range(metadata.num_row_groups))])
    found: list[bytes | Exception] = []
    for row in rows:
        if not 0 <= row < starts[-1]:
            found.append(ArchiveError(f"{uri} has no row {row}"))
            continue
        group = int(np.searchsorted(starts, row, side="right")) - 1
        cell = _row_group(uri, column, group)[row - int(starts[group])].as_py()
        found.append(cell if cell is not None else NoBytesError(f"row {row} of {uri} has no bytes in {column}"))
    return found


@functools.lru_cache(2)
def _row_group(uri: str, column: str, group: int) -> pa.Array:
    """Read the images of a row group; those of the last two (image and mask) are kept for the rows that follow."""
    metadata = _metadata(uri)
    if column not in metadata.schema.to_arrow_schema().names:
        raise ArchiveError(f"{uri} has no column {column}")
    path = _path(metadata, column)
    size = _bytes(metadata, group, path)
    if size is None:
        raise ArchiveError(f"{uri} has no encoded images in its column {column}")
    if size > MOST_BYTES:
        raise ArchiveError(
            f"{uri} has a row group with {size} bytes in {column}, and no more than {MOST_BYTES} are read: "
            "write the file with smaller row groups"
        )
    file = RangedFile(uri, storage.file_size(uri), 0, MOST_BYTES)
    try:
        table = pq.ParquetFile(file, metadata=metadata).read_row_group(group, columns=[path])
        cells = table.column(column).cast(_large(table.schema.field(column).type)).combine_chunks()
    except (pa.ArrowException, ValueError) as error:
        if isinstance(error, ArchiveError):
            raise
        raise ArchiveError(f"{uri}: row group {group} is damaged: {' '.join(str(error).split())}") from None
    return cells.field("bytes") if pa.types.is_struct(cells.type) else cells


def _large(kind: pa.DataType) -> pa.DataType:
    """Return the type with room for more than 2 GiB."""
    return pa.struct([("bytes", pa.large_binary())]) if pa.types.is_struct(kind) else pa.large_binary()
