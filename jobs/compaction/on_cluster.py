"""The compaction on Ray: maps by groups of files, scores sorted as a whole."""

from typing import Any

import pyarrow as pa
import ray
import ray.data

from jobs.compaction.plan import CompactionPlan
from jobs.compaction.tables import (
    KEY,
    MAPS,
    MAPS_ROW_GROUP,
    SCORES,
    SCORES_ROW_GROUP,
    parquet_bytes,
    split,
    split_schema,
)
from jobs.pipeline.ray_data import configure
from jobs.run.results_files import read_results
from jobs.storage import files as storage

_MEMORY = 6
"""Times the bytes of a group that its task has at most: read, joined, sorted, encoded."""


def compact(plan: CompactionPlan) -> dict[str, int]:
    """Write maps and scores, and return how many rows and files there are.

    The maps, which are nearly all bytes, are read once and written once: each task sorts those of its own files, and
    none travel. Only the scores are sorted across the whole run.
    """
    configure(1)
    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    output, rows_a_file = plan.output, plan.settings.rows_per_scores_file

    def maps_of_group(block: pa.Table) -> pa.Table:
        (name,), (files,) = block["name"].to_pylist(), block["files"].to_pylist()
        tables = [read_results(file) for file in files]
        scores, maps = split(pa.concat_tables(tables), name)
        storage.write_bytes(storage.join(output, MAPS, name), parquet_bytes(maps, MAPS_ROW_GROUP))
        return scores

    def scores_file(block: pa.Table) -> pa.Table:
        # the metadata of the schema does not survive Ray's sort
        table = block.select(scores_schema.names).cast(scores_schema)
        first = table[KEY][0].as_py()
        uri = storage.join(output, SCORES, f"part-{first:016x}.parquet")
        storage.write_bytes(uri, parquet_bytes(table, SCORES_ROW_GROUP))
        return pa.table({"rows": [len(table)]})

    scores_schema, _ = split_schema(read_results(plan.run.files[0]).schema)
    once: dict[str, Any] = {"batch_format": "pyarrow", "zero_copy_batch": True}
    groups = [{"name": f"part-{n:08d}.parquet", "files": list(files)} for n, files in enumerate(plan.groups)]
    blocks = ray.data.from_items(groups, override_num_blocks=len(groups))
    scores = blocks.map_batches(maps_of_group, batch_size=1, memory=_MEMORY * plan.largest, **once)
    written = scores.sort(KEY).map_batches(scores_file, batch_size=rows_a_file, **once)
    rows = [row["rows"] for row in written.iter_rows()]
    return {"rows": sum(rows), "scores_files": len(rows), "maps_files": len(plan.groups)}
