"""The state of an output: what lies there, and the steps that change it, each safe to be cut off anywhere."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from jobs.errors import SettingsError
from jobs.run.layout import (
    ERRORS,
    MANIFEST,
    OVERWRITE,
    PROGRESS,
    RECORD,
    RESULTS,
    STOP,
    SUCCESS,
    beginnings,
    is_shard_file,
    shard_of_file,
)
from jobs.run.shards import Shards
from jobs.storage import files as storage

OutputState = Literal["new", "unfinished", "finished", "overwrite"]


@dataclass(frozen=True, eq=False)
class FoundOutput:
    """What lies at an output.

    Parameters
    ----------
    state : {"new", "unfinished", "finished", "overwrite"}
        "unfinished" goes on where an earlier start of the same run stopped; "overwrite": what is there has to go.
    record : dict, optional
        The record of an unfinished or finished run.
    """

    state: OutputState
    record: dict[str, Any] | None = None


def look(output: str, overwrite: bool) -> FoundOutput:
    """Find out what lies at an output.

    Parameters
    ----------
    output : str
        Absolute URI.
    overwrite : bool
        Whether what is there may be removed.

    Raises
    ------
    SettingsError
        If it cannot be reached, or holds what must not be touched without `overwrite`.
    """
    shown = storage.redacted(output)
    try:
        under_way = _read_json(output, OVERWRITE)
        record = _read_json(output, RECORD)
        finished, filled = (storage.exists(storage.join(output, name)) for name in (SUCCESS, RESULTS))
    except Exception as error:  # every storage has errors of its own
        raise SettingsError(f"the output {shown} cannot be reached: {storage.redacted(str(error))}") from error
    if overwrite:
        is_new = record is None and under_way is None and not (finished or filled)
        return FoundOutput("new" if is_new else "overwrite")
    if under_way is not None:
        raise SettingsError(
            f"an --overwrite of {shown} began at {under_way.get('since')} and did not end, so the run that was there "
            "may be gone in part: give --overwrite again to finish it, or another --output"
        )
    if record is None and (finished or filled):
        raise SettingsError(
            f"{shown} holds results without a record of their run: give another --output, or --overwrite"
        )
    if record is not None and "segments" not in record:
        raise SettingsError(f"the record of the run at {shown} cannot be read: give another --output, or --overwrite")
    # The record is written behind the manifest: where it is, the run can go on.
    state: OutputState = "new" if record is None else "finished" if finished else "unfinished"
    return FoundOutput(state, record)


def finished_shards(output: str, shards: Shards, epoch: str) -> NDArray[np.int64]:
    """Return the shards whose results are there, sorted."""
    listed = storage.list_files_beginning(storage.join(output, RESULTS), beginnings(shards.numbers))
    found = np.fromiter((shard for uri in listed if (shard := shard_of_file(uri, epoch)) is not None), np.int64)
    return np.intersect1d(found, shards.numbers)


def remove_strays(output: str, epoch: str) -> None:
    """Remove what workers of a run that was overwritten have still written beside the results of this one."""
    if not epoch:  # nothing has been overwritten here
        return
    for uri in storage.list_files(storage.join(output, RESULTS)):
        if is_shard_file(uri) and shard_of_file(uri, epoch) is None:
            storage.remove_tree(uri)


def remove_run(output: str) -> None:
    """Remove a run, and nothing else that may lie in its folder.

    A mark goes there first and away last: a removal that is cut off is finished by the next ``--overwrite``, and no
    start without it takes what is left for a run.
    """
    mark = {"since": datetime.now(UTC).isoformat(timespec="seconds")}
    storage.write_bytes(storage.join(output, OVERWRITE), (json.dumps(mark) + "\n").encode())
    for name in (SUCCESS, RECORD, PROGRESS, RESULTS, MANIFEST, ERRORS, STOP, OVERWRITE):
        storage.remove_tree(storage.join(output, name))


def _read_json(output: str, name: str) -> dict[str, Any] | None:
    try:
        content = json.loads(storage.read_bytes(storage.join(output, name)))
    except FileNotFoundError:
        return None
    except ValueError:
        content = None
    return content if isinstance(content, dict) else {}
