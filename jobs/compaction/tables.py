"""The two tables that a compacted run has: `scores`, small and sorted as a whole, and `maps`."""

import io
import json

import pyarrow as pa
import pyarrow.parquet as pq

SCORES = "scores"
MAPS = "maps"
KEY = "image_id"
MAPS_FILE = "maps_file"
"""Column of the scores that names the file with an image's maps."""

SCORES_ROW_GROUP = 100_000
MAPS_ROW_GROUP = 128
"""Rows: few enough that one image's maps are found without reading many others."""

_ROWS_A_PAGE = 10_000
_FALSE_POSITIVES = 0.01


def split_schema(schema: pa.Schema) -> tuple[pa.Schema, pa.Schema]:
    """Return the schemas of the scores and of the maps that results of a schema are split into.

    Pictures and histograms, which are most of the bytes, go to the maps, with the id; all else goes to the scores, with
    the name of the file of maps. Both keep Hugging Face's features of their columns.
    """
    maps = [field for field in schema if pa.types.is_nested(field.type)]
    scores = [field for field in schema if not pa.types.is_nested(field.type)]
    key = schema.field(KEY)
    return (
        _described([*scores, pa.field(MAPS_FILE, pa.string(), nullable=False)], schema),
        _described([key, *maps], schema),
    )


def split(results: pa.Table, maps_file: str) -> tuple[pa.Table, pa.Table]:
    """Split rows of results, sorted by id, into scores and maps.

    Parameters
    ----------
    results : pyarrow.Table
    maps_file : str
        Name of the file that the maps are going to lie in.
    """
    scores, maps = split_schema(results.schema)
    rows = results.sort_by(KEY)
    named = rows.append_column(scores.field(MAPS_FILE), pa.repeat(pa.scalar(maps_file), len(rows)))
    return named.select(scores.names).cast(scores), rows.select(maps.names).cast(maps)


def parquet_bytes(table: pa.Table, row_group: int) -> bytes:
    """Return a table, sorted by id, as a Parquet file with a page index and a Bloom filter on the id.

    Row groups that do not hold an id are passed over by their statistics or by the filter, pages by the index.
    """
    sink = io.BytesIO()
    # PNG bytes do not get smaller a second time.
    pictures = {f"{field.name}.bytes" for field in table.schema if pa.types.is_struct(field.type)}
    columns = [str(leaf.path) for leaf in _leaves(table.schema)]
    pq.write_table(
        table,
        sink,
        row_group_size=row_group,
        compression={name: "none" if name in pictures else "zstd" for name in columns},
        use_dictionary=[name for name in columns if name in ("status", "label_name", "error", MAPS_FILE)],
        sorting_columns=[pq.SortingColumn(table.schema.get_field_index(KEY))],
        write_page_index=True,
        max_rows_per_page=_ROWS_A_PAGE,
        bloom_filter_options={KEY: {"ndv": min(row_group, len(table)) or 1, "fpp": _FALSE_POSITIVES}},
    )
    return sink.getvalue()


def _described(fields: list[pa.Field], schema: pa.Schema) -> pa.Schema:
    metadata = dict(schema.metadata or {})
    features = json.loads(metadata[b"huggingface"])["info"]["features"]
    features |= {MAPS_FILE: {"dtype": "string", "_type": "Value"}}
    own = {field.name: features[field.name] for field in fields}
    return pa.schema(fields, metadata | {b"huggingface": json.dumps({"info": {"features": own}}).encode()})


def _leaves(schema: pa.Schema) -> list[pq.ColumnSchema]:
    sink = io.BytesIO()
    pq.write_table(schema.empty_table(), sink)
    parquet = pq.ParquetFile(sink).schema
    return [parquet.column(index) for index in range(len(parquet.names))]
