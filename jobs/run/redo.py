"""Doing failed rows again (``--retry-errors``): which they are, and how they go back among the rows beside them.

A failed row goes through the steps in its old place among the rows of its shard, so that a network's batch is cut as
it was the first time and the results are those of an undisturbed run. The rows beside it take no work: they are
placeholders with the status `KEPT`.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.compute as pc

from jobs.run.layout import shard_file
from jobs.run.results_files import FILES_AT_ONCE, read_columns

KEPT = "kept"
"""Status of a placeholder for a row that is there already. It never gets into the results."""


def failed_shards(
    output: str, shards: Iterable[int], epoch: str, statuses: Collection[str]
) -> Iterator[tuple[int, int]]:
    """Yield the shards that hold rows with one of the statuses, and how many."""

    def count(shard: int) -> tuple[int, int]:
        found = read_columns(shard_file(output, shard, epoch), ["status"])["status"]
        return shard, int(pc.sum(pc.is_in(found, pa.array(sorted(statuses)))).as_py() or 0)

    with ThreadPoolExecutor(FILES_AT_ONCE) as threads:
        yield from ((shard, rows) for shard, rows in threads.map(count, shards) if rows)


def prepare_failed(
    rows: pa.Table,
    output: str,
    shard: int,
    epoch: str,
    statuses: Collection[str],
    prepare: Callable[[pa.Table], pa.Table],
) -> pa.Table:
    """Prepare the failed rows of a shard.

    Parameters
    ----------
    rows : pyarrow.Table
        All rows of the shard, of `manifest.SCHEMA`.
    output : str
    shard : int
        Its file of results is there.
    epoch : str
        Of the run's results.
    statuses : collection of str
        The rows to do again.
    prepare : callable
        The first step.

    Returns
    -------
    pyarrow.Table
        As many rows as prepared ones are, in the same order: those done again, and placeholders.
    """
    found = read_columns(shard_file(output, shard, epoch), ["image_id", "status"])
    failed = found.filter(pc.is_in(found["status"], pa.array(sorted(statuses))))["image_id"].combine_chunks()
    again = pc.is_in(rows["image_id"], failed)
    kept = [
        {
            "image_id": row["image_id"],
            "image_uri": row["image_uri"],
            "mask_uri": row["mask_uri"],
            "status": KEPT,
            "wanted_label": row["label"],
        }
        for row in rows.filter(pc.invert(again)).to_pylist()
    ]
    prepared = prepare(rows.filter(again))
    both = pa.concat_tables([prepared, pa.Table.from_pylist(kept, schema=prepared.schema)])
    return both.take(pc.index_in(rows["image_id"], both["image_id"].combine_chunks()))


def merged(results: pa.Table, old: pa.Table) -> pa.Table:
    """Put rows that were done again among the old ones.

    Parameters
    ----------
    results : pyarrow.Table
        All rows of a shard; those with the status `KEPT` are placeholders.
    old : pyarrow.Table
        The shard as it was.

    Returns
    -------
    pyarrow.Table
        `results` with the old row in place of every placeholder, and of every row that lost the maps it had: a mask
        that failed the first time is no reason to give them up because the image cannot be fetched now.
    """
    places = pc.index_in(results["image_id"], old["image_id"].combine_chunks())
    had_maps = pc.equal(old["status"].take(places), "mask_error")
    has_maps = pc.is_in(results["status"], pa.array(["ok", "mask_error"]))
    keeps_old = pc.or_(pc.equal(results["status"], KEPT), pc.and_(had_maps, pc.invert(has_maps)))
    count = results.num_rows
    rows = pc.if_else(keeps_old, pc.add(pc.cast(places, pa.int64()), count), pa.array(range(count), pa.int64()))
    return pa.concat_tables([results, old.cast(results.schema)]).take(rows)
