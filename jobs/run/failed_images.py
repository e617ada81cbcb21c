"""All images of a run that failed, as a table for queries."""

import io
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from jobs.run.layout import shard_file
from jobs.run.results_files import read_columns
from jobs.run.shards import Shards
from jobs.run.status import finished_times, read_record
from jobs.storage import files as storage

COLUMNS = ("image_id", "image_uri", "mask_uri", "status", "error")


def failed_images(uri: str) -> Iterator[pa.Table]:
    """Yield the rows of a run whose status is not ok, shard by shard: `COLUMNS` and the number of the ``shard``."""
    output = storage.absolute(uri)
    record = read_record(output)
    epoch = record.get("epoch", "")
    for shard in sorted(finished_times(output, Shards.from_record(record), epoch)):
        rows = read_columns(shard_file(output, shard, epoch), COLUMNS)
        failed = rows.filter(pc.not_equal(rows["status"], "ok"))
        if failed.num_rows:
            yield failed.append_column("shard", pa.array([shard] * failed.num_rows, pa.int64()))


def write_failed_images(uri: str, target: str) -> int:
    """Write them to a .parquet or .csv file, in Parquet with the schema of the results; return how many there are."""
    fields = [pa.field("image_id", pa.int64())] + [pa.field(name, pa.string()) for name in COLUMNS[1:]]
    schema = pa.schema([*fields, pa.field("shard", pa.int64())])
    table = pa.concat_tables([schema.empty_table(), *(part.cast(schema) for part in failed_images(uri))])
    buffer = io.BytesIO()
    if target.endswith(".csv"):
        pyarrow.csv.write_csv(table, buffer)
    else:
        pq.write_table(table, buffer)
    storage.write_bytes(target, buffer.getvalue())
    return table.num_rows
