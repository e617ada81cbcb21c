"""What lies where below the output of a run.

============== =========================================================================================
``_run.json``  the record: settings, fingerprint, shards; counts and scores at the end
``_manifest/`` one row for every image, written before any work
``results/``   one file a shard, each whole or not there: the truth about what is done
``_progress``  sums over the finished shards, rewritten now and then; whatever it lacks is read from results
``_claim``     the driver that works on the run, with its last sign of life
``_overwrite`` an overwrite is under way: what is here is being removed
``_SUCCESS``   written last: every image has its row
============== =========================================================================================
"""

from jobs.storage import files as storage

SUCCESS = "_SUCCESS"
RECORD = "_run.json"
MANIFEST = "_manifest"
RESULTS = "results"
PROGRESS = "_progress.json"
CLAIM = "_claim.json"
OVERWRITE = "_overwrite.json"


def shard_file(output: str, shard: int) -> str:
    """Return the URI of the results of one shard: always the same, so that doing it again replaces it."""
    return storage.join(output, RESULTS, f"part-{shard:08d}.parquet")


def shard_of_file(uri: str) -> int | None:
    """Return the shard whose results a file holds; None for any other file.

    Examples
    --------
    >>> shard_of_file(shard_file("s3://bucket/run", 7)), shard_of_file("s3://bucket/run/results/notes.txt")
    (7, None)
    """
    name = uri.rsplit("/", 1)[-1]
    digits = name.removeprefix("part-").removesuffix(".parquet")
    return int(digits) if name == f"part-{digits}.parquet" and digits.isdigit() and digits.isascii() else None
