"""One shard as one row of a Ray dataset: its images travel as an Arrow table inside that row, with the work's log."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.ipc

from jobs.pipeline.work_log import ShardLog


@dataclass(frozen=True)
class ShardRow:
    """A shard on its way.

    Parameters
    ----------
    shard : int
    images : pyarrow.Table
        A row an image.
    log : ShardLog
    """

    shard: int
    images: pa.Table
    log: ShardLog

    def to_block(self) -> pa.Table:
        """Return the one row that holds the shard."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, self.images.schema) as writer:
            writer.write_table(self.images)
        offsets = pa.py_buffer(np.array([0, sink.tell()], np.int64))
        cell = pa.LargeBinaryArray.from_buffers(pa.large_binary(), 1, [None, offsets, sink.getvalue()])
        return pa.table({"shard": pa.array([self.shard], pa.int64()), "images": cell, "log": [self.log.to_json()]})

    @classmethod
    def from_block(cls, block: pa.Table) -> "ShardRow":
        """Read what `to_block` made; the images' bytes are not copied."""
        with pa.ipc.open_stream(block["images"][0].as_buffer()) as reader:
            return cls(block["shard"][0].as_py(), reader.read_all(), ShardLog.from_json(block["log"][0].as_py()))
