"""How a run stands, from its folder alone: while it runs and afterwards, from any machine."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from jobs.errors import SettingsError
from jobs.run.budget import TOO_MANY_FAILED
from jobs.run.claim import LEASE_SECONDS, Holder, read_claim
from jobs.run.layout import OVERWRITE, RECORD, RESULTS, SUCCESS, shard_file, shard_of_file
from jobs.run.results_files import FILES_AT_ONCE, read_columns
from jobs.run.shards import Shards
from jobs.run.tally import Tally, read_tally
from jobs.storage import files as storage
from jobs.storage.retries import READ_SECONDS, persistently
from saliency_core.methods.registry import METHODS, NetworkMethod
from saliency_core.parameters import OBJECTS

State = Literal["running", "stalled", "unfinished", "failed", "finished"]

STALLED_SECONDS = 900.0
"""A run whose driver lives but has finished no shard for so long is called stalled."""


@dataclass(frozen=True)
class FailedImage:
    """A row whose status is not ok."""

    image_uri: str
    status: str
    error: str | None


@dataclass(frozen=True)
class RunStatus:
    """How a run stands.

    Parameters
    ----------
    run : str
        Its output, without credentials.
    state : {"running", "stalled", "unfinished", "failed", "finished"}
        "stalled": it is claimed, but nothing moves; "unfinished": nobody works on it, the same command goes on;
        "failed": it is whole, but too many images failed.
    reason : str
        The state in a sentence.
    method : str, optional
        None as long as there is no record.
    images, done : int
        Rows that there will be, and that are there.
    counts : dict of str to int
        Rows of each status.
    started : str, optional
        First start of the run.
    images_per_second, seconds_left : float, optional
        Of the latest start, while it runs.
    holder : dict, optional
        Who works on it: host, process, since when, last sign of life.
    error : str, optional
        Why the latest start stopped.
    failed : list of FailedImage
        The latest of them.
    """

    run: str
    state: State
    reason: str
    method: str | None = None
    images: int = 0
    done: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    started: str | None = None
    images_per_second: float | None = None
    seconds_left: float | None = None
    holder: dict[str, Any] | None = None
    error: str | None = None
    failed: list[FailedImage] = field(default_factory=list)

    @property
    def failures(self) -> int:
        """Rows whose status is not ok."""
        return sum(self.counts.values()) - self.counts.get("ok", 0)


def run_status(uri: str, most_failed: int = 20) -> RunStatus:
    """Find out how a run stands. Nothing is written, and of the results only what the driver's own sums lack is read.

    Parameters
    ----------
    uri : str
        Its output folder or prefix.
    most_failed : int
        The most failed images to name.

    Raises
    ------
    SettingsError
        If there is no run, or it cannot be read.
    """
    shown = storage.redacted(uri)
    try:
        return _run_status(storage.absolute(uri), shown, most_failed)
    except SettingsError:
        raise
    except Exception as error:  # every storage has errors of its own
        reason = storage.redacted(" ".join(str(error).split()))
        raise SettingsError(f"the run at {shown} cannot be read: {type(error).__name__}: {reason}") from error


def _run_status(output: str, shown: str, most_failed: int) -> RunStatus:
    holder = read_claim(output)
    about = None if holder is None else _about(holder)
    try:
        record = read_record(output)
    except FileNotFoundError:
        if storage.exists(storage.join(output, OVERWRITE)):
            return RunStatus(shown, *_claimed_state(holder, "removing the run that was there"), holder=about)
        if holder is None:
            raise SettingsError(f"there is no run at {shown}: it has no {RECORD}") from None
        return RunStatus(shown, *_claimed_state(holder, "making the manifest"), holder=about)
    shards = Shards.from_record(record)
    method = record["settings"]["method"]
    has_objects = isinstance(METHODS[method], NetworkMethod) and record["settings"]["objects"]["objects"]
    tally, progress = read_tally(output, (*METHODS[method].stages, *((OBJECTS,) if has_objects else ())))
    epoch = record.get("epoch", "")
    times = finished_times(output, shards, epoch)
    counts, failed_shards = _counts(output, epoch, tally, times)
    # Some stores give whole seconds: of one second the later shard.
    latest_first = sorted(failed_shards, key=lambda shard: (times[shard], shard), reverse=True)
    done = int(shards.rows(sorted(times)).sum()) if times else 0
    session = progress.get("session", {})
    state: State
    if storage.exists(storage.join(output, SUCCESS)):
        state, reason = "finished", f"every image has its row since {record.get('finished')}"
    elif record["state"] == TOO_MANY_FAILED and holder is None:
        state = "failed"
        reason = (
            "every image has its row, but too many failed: --retry-errors does them again, --most-failed allows more"
        )
    else:
        state, reason = _claimed_state(holder, "computing")
        latest = max([*times.values(), datetime.fromisoformat(session["began"])]) if session else None
        idle = (datetime.now(UTC) - latest).total_seconds() if latest else 0.0
        if state == "running" and idle > STALLED_SECONDS:
            state, reason = "stalled", f"its driver lives, but nothing has been finished for {duration(idle)}"
    is_running = state == "running" and session.get("images") and session.get("seconds")
    rate = session["images"] / session["seconds"] if is_running else None
    return RunStatus(
        run=shown,
        state=state,
        reason=reason,
        method=method,
        images=shards.images,
        done=done,
        counts=dict(counts.most_common()),
        started=record["started"],
        images_per_second=rate,
        seconds_left=(shards.images - done) / rate if rate else None,
        holder=about if state != "finished" else None,
        error=session.get("error") if state != "finished" else None,
        failed=_failed_images(output, epoch, latest_first, most_failed),
    )


def read_record(output: str) -> dict[str, Any]:
    """Read the record of a run.

    Raises
    ------
    FileNotFoundError
        If there is none.
    """
    record: dict[str, Any] = json.loads(storage.read_bytes(storage.join(output, RECORD)))
    return record


def _about(holder: Holder) -> dict[str, Any]:
    return {
        "host": holder.host,
        "process": holder.pid,
        "since": holder.since.isoformat(timespec="seconds"),
        "last_sign_of_life": holder.beat.isoformat(timespec="seconds"),
        "seconds_ago": round(max(0.0, holder.age), 1),
    }


def _claimed_state(holder: Holder | None, doing: str) -> tuple[State, str]:
    if holder is None:
        return "unfinished", "nobody works on it: the same command goes on with it"
    if holder.runs is False:
        return "unfinished", f"its driver has died ({holder}): the same command goes on with it"
    if holder.age > LEASE_SECONDS:
        return "stalled", f"its driver has shown no sign of life lately ({holder}): another start takes it over"
    return "running", doing


def finished_times(output: str, shards: Shards, epoch: str) -> dict[int, datetime]:
    """Return the shards whose results are there, and when these were written."""
    filesystem, path = storage.resolve(storage.join(output, RESULTS))

    def find(_: float) -> dict[str, dict[str, Any]]:
        filesystem.invalidate_cache()
        found: dict[str, dict[str, Any]] = filesystem.find(path, detail=True)
        return found

    known = set(shards.numbers.tolist())
    times = {}
    for name, details in persistently(find, READ_SECONDS).items():
        shard = shard_of_file(name, epoch)
        if shard is not None and shard in known:
            written = details.get("LastModified") or details.get("mtime") or details.get("created") or 0
            times[shard] = written if isinstance(written, datetime) else datetime.fromtimestamp(written, UTC)
    return times


def _counts(output: str, epoch: str, tally: Tally, finished: Iterable[int]) -> tuple[Counter[str], set[int]]:
    """Count the rows of each status, and find the shards with failures: from the driver's sums and what they lack."""
    there = set(finished)
    if not tally.covered <= there:
        tally = Tally.empty(tally.stages)
    counts, failed = Counter(tally.summary.counts), set(tally.failed)
    missing = sorted(there.difference(tally.covered))

    def statuses(shard: int) -> list[str]:
        found: list[str] = read_columns(shard_file(output, shard, epoch), ["status"])["status"].to_pylist()
        return found

    with ThreadPoolExecutor(FILES_AT_ONCE) as threads:
        for shard, found in zip(missing, threads.map(statuses, missing), strict=True):
            counts.update(found)
            if any(status != "ok" for status in found):
                failed.add(shard)
    return counts, failed


def _failed_images(output: str, epoch: str, shards: Sequence[int], most: int) -> list[FailedImage]:
    found: list[FailedImage] = []
    for shard in shards:
        if len(found) >= most:
            break
        rows = read_columns(shard_file(output, shard, epoch), ["image_uri", "status", "error"]).to_pylist()
        found += [
            FailedImage(storage.redacted(row["image_uri"]), row["status"], row["error"])
            for row in rows
            if row["status"] != "ok"
        ]
    return found[:most]


def duration(seconds: float) -> str:
    """Say how long something takes, for a person."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours"
