"""Shards as rows of a Ray dataset: their images travel as Arrow tables inside a row, with the log of the work on them.

A row holds one shard, or several small ones that go from step to step together (`jobs.pipeline.groups`). What the
network does not read lies beside what it does, compressed: it goes through a network worker as it is.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.ipc

from jobs.pipeline.tables import FOR_NETWORK
from jobs.pipeline.work_log import ShardLog

# Superpixel labels become a seventh to a tenth, photographs hardly less, all in a millisecond an image.
_COMPRESSED = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
_PLAIN = pa.ipc.IpcWriteOptions(use_threads=False)

LEAST_BYTES = 2**11
"""Of a row: Ray Data makes a block of every row that has more than half of them, so that it is passed on at once."""


@dataclass(frozen=True)
class ShardRow:
    """A shard on its way.

    Parameters
    ----------
    shard : int
    images : pyarrow.Table, optional
        A row an image: of the columns that the network reads, or what it made of them, where `others` has the rest.
        None where the shard is done already.
    log : ShardLog
    others : pyarrow.Buffer, optional
        The other columns, as they travel.
    """

    shard: int
    images: pa.Table | None
    log: ShardLog
    others: pa.Buffer | None = None

    @property
    def all_columns(self) -> pa.Table:
        """The images with all of their columns."""
        assert self.images is not None
        if self.others is None:
            return self.images
        found = _read(self.others)
        for name in self.images.column_names:
            found = found.append_column(self.images.schema.field(name), self.images[name])
        return found


def to_block(shards: Sequence[ShardRow]) -> pa.Table:
    """Return the one row that holds some shards."""
    sink = pa.BufferOutputStream()
    heads = []
    for row in shards:
        ends = [sink.tell()]
        if row.images is not None and row.others is not None:
            _write(row.images, sink, _PLAIN)
            ends.append(sink.tell())
            sink.write(row.others)
        elif row.images is not None:
            names = [name for name in row.images.column_names if name in FOR_NETWORK]
            _write(row.images.select(names), sink, _PLAIN)
            ends.append(sink.tell())
            _write(row.images.drop_columns(names), sink, _COMPRESSED)
        heads.append([row.shard, [*ends, sink.tell()], row.log.to_json()])
    sink.write(bytes(max(LEAST_BYTES - sink.tell(), 0)))
    offsets = pa.py_buffer(np.array([0, sink.tell()], np.int64))
    cell = pa.LargeBinaryArray.from_buffers(pa.large_binary(), 1, [None, offsets, sink.getvalue()])
    return pa.table({"heads": [json.dumps(heads)], "images": cell})


def from_block(block: pa.Table) -> list[ShardRow]:
    """Read what `to_block` made; nothing is copied."""
    cell = block["images"][0].as_buffer()
    shards = []
    for shard, ends, log in json.loads(block["heads"][0].as_py()):
        images, others = None, None
        if len(ends) > 2:
            began, middle, ended = ends
            images, others = _read(cell.slice(began, middle - began)), cell.slice(middle, ended - middle)
        shards.append(ShardRow(shard, images, ShardLog.from_json(log), others))
    return shards


def _write(table: pa.Table, sink: pa.NativeFile, options: pa.ipc.IpcWriteOptions) -> None:
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table)


def _read(buffer: pa.Buffer) -> pa.Table:
    with pa.ipc.open_stream(buffer, options=pa.ipc.IpcReadOptions(use_threads=False)) as reader:
        return reader.read_all()
