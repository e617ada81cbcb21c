"""The running sums of a run, ``_progress.json``: what is done so far, readable without opening the results.

The driver adds the sums of every shard that it is told of, and writes the file now and then, with the set of shards
that the sums cover. A later start reads it and adds only what is missing from it, so that neither a resume nor the end
of a run has to read everything. The file is no more than a saving: where it is missing, damaged or at odds with the
files of results, it is made anew from these.
"""

import contextlib
import json
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.run.layout import PROGRESS, shard_file
from jobs.run.shard_set import ShardSet
from jobs.run.summary import Summary, summaries
from jobs.storage import files as storage

SECONDS_BETWEEN_WRITES = 10.0


@dataclass(eq=False)
class Tally:
    """Sums over finished shards.

    Parameters
    ----------
    stages : sequence of str
        The method's stages.
    summary : Summary
    covered, failed : ShardSet
        The shards that the sums cover, and those of them that hold rows whose status is not ok.
    """

    stages: Sequence[str]
    summary: Summary
    covered: ShardSet = field(default_factory=ShardSet)
    failed: ShardSet = field(default_factory=ShardSet)

    @classmethod
    def empty(cls, stages: Sequence[str]) -> "Tally":
        """Return the sums of nothing."""
        return cls(stages, Summary(stages))

    def add(self, shard: int, summary: Summary) -> None:
        """Add a shard, whose sums are `summary`."""
        self.covered.add(shard)
        if summary.failures:
            self.failed.add(shard)
        self.summary.merge(summary)

    def remove(self, shard: int, summary: Summary) -> None:
        """Take a shard out, whose sums are `summary`."""
        self.covered.discard(shard)
        self.failed.discard(shard)
        self.summary.remove(summary)

    def to_plain(self) -> dict[str, Any]:
        """Return the content of the file."""
        return {
            "summary": self.summary.to_plain(),
            "covered": self.covered.to_text(),
            "failed": self.failed.to_text(),
        }


def read_tally(output: str, stages: Sequence[str]) -> tuple[Tally, dict[str, Any]]:
    """Read the sums of a run as they were last written, and what else the file says; empty where there are none."""
    try:
        content: dict[str, Any] = json.loads(storage.read_bytes(storage.join(output, PROGRESS)))
        summary = Summary.from_plain(stages, content["summary"])
        tally = Tally(stages, summary, *(ShardSet.from_text(content[name]) for name in ("covered", "failed")))
    except (FileNotFoundError, ValueError, KeyError, TypeError, zlib.error):
        return Tally.empty(stages), {}
    return tally, content


def tally_of(output: str, epoch: str, stages: Sequence[str], shards: NDArray[np.int64], rows: int) -> Tally:
    """Return the sums of the given shards, whose files are there: from the sums last written, and from the files.

    Parameters
    ----------
    output, epoch : str
    stages : sequence of str
    shards : int64 array
    rows : int
        Rows that they hold.
    """
    wanted = set(shards.tolist())
    tally, _ = read_tally(output, stages)
    if not tally.covered <= wanted:
        tally = Tally.empty(stages)
    _add_files(tally, output, epoch, sorted(wanted.difference(tally.covered)))
    if tally.summary.rows != rows:
        tally = Tally.empty(stages)
        _add_files(tally, output, epoch, sorted(wanted))
    return tally


def _add_files(tally: Tally, output: str, epoch: str, shards: Sequence[int]) -> None:
    files = (shard_file(output, shard, epoch) for shard in shards)
    for shard, summary in zip(shards, summaries(files, tally.stages), strict=True):
        tally.add(shard, summary)


class TallyFile:
    """Adds to a tally and writes it below the output, not too often.

    Parameters
    ----------
    output : str
    tally : Tally
    """

    def __init__(self, output: str, tally: Tally) -> None:
        self.tally = tally
        self._uri = storage.join(output, PROGRESS)
        self._began = datetime.now(UTC)
        self._started = self._written = time.monotonic()
        self._images = 0

    def add(self, shard: int, summary: Summary, images: int) -> None:
        """Add a shard, of which this start of the run has done so many images."""
        self.tally.add(shard, summary)
        self._images += images
        if time.monotonic() - self._written >= SECONDS_BETWEEN_WRITES:
            self.write()

    def write(self, error: str | None = None) -> None:
        """Write the file; `error` says why the run stopped."""
        session = {
            "began": self._began.isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - self._started, 3),
            "images": self._images,
            "error": error,
        }
        content = {"updated": datetime.now(UTC).isoformat(timespec="seconds"), "session": session}
        self._written = time.monotonic()
        # What is lost without it is time, not rows: no reason to end a run.
        with contextlib.suppress(Exception):
            storage.write_bytes(self._uri, (json.dumps(content | self.tally.to_plain()) + "\n").encode())
