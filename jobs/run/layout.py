"""What lies where below the output of a run.

============== =========================================================================================
``_run.json``  the record: settings, fingerprint, shards; counts and scores at the end
``_manifest/`` one row for every image, written before any work
``results/``   one file a shard, each whole or not there: the truth about what is done
``_progress``  sums over the finished shards, rewritten now and then; whatever it lacks is read from results
``_claim``     the driver that works on the run, with its last sign of life
``_overwrite`` an overwrite is under way: what is here is being removed
``_stop``      somebody asks the driver to stop
``_errors/``   tracebacks of starts that failed
``_SUCCESS``   written last: every image has its row
============== =========================================================================================
"""

import re

import numpy as np
from numpy.typing import NDArray

from jobs.storage import files as storage

SUCCESS = "_SUCCESS"
RECORD = "_run.json"
MANIFEST = "_manifest"
RESULTS = "results"
PROGRESS = "_progress.json"
CLAIM = "_claim.json"
OVERWRITE = "_overwrite.json"
STOP = "_stop.json"
ERRORS = "_errors"


def shard_file(output: str, shard: int, epoch: str = "") -> str:
    """Return the URI of the results of one shard: always the same, so that doing it again replaces it.

    Parameters
    ----------
    output : str
    shard : int
    epoch : str
        Of the run: "" for the first at an output, and another for each that has overwritten one, so that what a
        worker of the old run still writes is no file of the new one.
    """
    return storage.join(output, RESULTS, f"part-{shard:08d}{'-' if epoch else ''}{epoch}.parquet")


def shard_of_file(uri: str, epoch: str = "") -> int | None:
    """Return the shard whose results a file holds; None for any other file.

    Examples
    --------
    >>> shard_of_file(shard_file("s3://bucket/run", 7)), shard_of_file("s3://bucket/run/results/notes.txt")
    (7, None)
    >>> shard_of_file(shard_file("s3://bucket/run", 7), "5eed"), shard_of_file("part-00000007-5eed.parquet", "5eed")
    (None, 7)
    """
    name = uri.rsplit("/", 1)[-1]
    digits = name.removeprefix("part-").removesuffix(".parquet").removesuffix(f"-{epoch}" if epoch else "")
    if not (digits.isdigit() and digits.isascii()):
        return None
    shard = int(digits)
    return shard if name == shard_file("", shard, epoch).rsplit("/", 1)[-1] else None


def beginnings(shards: NDArray[np.int64]) -> list[str]:
    """Return what the names of shards' files begin with, each for ten thousand of them: to list them side by side.

    Examples
    --------
    >>> beginnings(np.array([3, 9_999, 10_000, 123_456_789]))
    ['part-0000', 'part-0001', 'part-12345']
    """
    return [f"part-{number:04d}" for number in np.unique(shards // 10_000).tolist()]


def is_shard_file(uri: str) -> bool:
    """Tell whether a file holds the results of some shard, of whatever epoch."""
    return _SHARD_FILE.fullmatch(uri.rsplit("/", 1)[-1]) is not None


_SHARD_FILE = re.compile(r"part-[0-9]{8,}(-[0-9a-f]+)?\.parquet")
