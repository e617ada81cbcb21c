"""Runs of the saliency job as seen afterwards: their record, files and stages, and their columns."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.errors import SettingsError
from jobs.run.layout import RECORD, RESULTS, SUCCESS, shard_of_file
from jobs.run.schema import SCHEMA_VERSION
from jobs.storage import files as storage

SEGMENTATION = "segmentation"
"""Column of the objects cut out, and what they are called beside the stages."""

THREADS = 8
"""Files read at a time: reading from object storage is mostly waiting."""


@dataclass(frozen=True)
class Run:
    """A run of the saliency job.

    Parameters
    ----------
    uri : str
        Its output folder or prefix.
    record : dict
        Content of its ``_run.json``.
    finished : bool
        Whether it holds ``_SUCCESS``.
    files : tuple of str
        URIs of its results, in the order of the shards.
    stages : tuple of str
        Names of its maps, in order.
    segmented : bool
        Whether it cut the objects out as well.
    """

    uri: str
    record: dict[str, Any]
    finished: bool
    files: tuple[str, ...]
    stages: tuple[str, ...]
    segmented: bool

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that the record keeps."""
        settings: dict[str, Any] = self.record["settings"]
        return settings

    @property
    def method(self) -> str:
        """Name of the method."""
        return str(self.settings["method"])


def open_run(uri: str, *, partial: bool = False) -> Run:
    """Find out what there is at the output of a run; no row is read.

    Parameters
    ----------
    uri : str
        Output folder or prefix of the run.
    partial : bool
        Whether a run that has not finished will do.

    Raises
    ------
    SettingsError
        If there is no run, no result yet, or the run has not finished.
    """
    shown = storage.redacted(uri)
    try:
        uri = storage.absolute(uri)
        record = json.loads(storage.read_bytes(storage.join(uri, RECORD)))
        finished = storage.exists(storage.join(uri, SUCCESS))
        listed = storage.list_files(storage.join(uri, RESULTS))
        files = tuple(file for file in listed if shard_of_file(file, record.get("epoch", "")) is not None)
    except FileNotFoundError as error:
        raise SettingsError(f"there is no run at {shown}: it has no {RECORD}") from error
    except Exception as error:  # every storage has errors of its own
        raise SettingsError(f"the run at {shown} cannot be read: {storage.redacted(str(error))}") from error
    if record.get("schema_version") != SCHEMA_VERSION:
        raise SettingsError(
            f"the run at {shown} has results of version {record.get('schema_version')}, but this program reads "
            f"version {SCHEMA_VERSION}: run the job again"
        )
    if not finished and not partial:
        raise SettingsError(
            f"the run at {shown} has not finished (it holds no {SUCCESS}): wait or finish it, or give --partial to "
            "take the rows that are there"
        )
    if not files:
        raise SettingsError(f"the run at {shown} holds no results")
    return Run(uri, record, finished, files, *_stages(files[0]))


def open_runs(uris: Sequence[str], *, partial: bool = False) -> list[Run]:
    """Open several runs; see `open_run`."""
    if not uris:
        raise SettingsError("no run is named: give the output of one or more runs with --runs")
    runs = [open_run(uri, partial=partial) for uri in uris]
    for uri, count in Counter(run.uri for run in runs).items():
        if count > 1:
            raise SettingsError(f"the run {storage.redacted(uri)} is named twice")
    return runs


def run_names(runs: Sequence[Run]) -> list[str]:
    """Name every run by its method, and by its folder too where a method occurs twice."""
    names = [run.method for run in runs]
    folders = [storage.redacted(run.uri).rsplit("/", 1)[-1] for run in runs]
    names = [
        f"{name} ({folder})" if names.count(name) > 1 else name for name, folder in zip(names, folders, strict=True)
    ]
    return [
        f"{run.method} ({storage.redacted(run.uri)})" if names.count(name) > 1 else name
        for name, run in zip(names, runs, strict=True)
    ]


def _stages(file: str) -> tuple[tuple[str, ...], bool]:
    filesystem, path = storage.resolve(file)
    with filesystem.open(path, "rb") as source:
        schema = pq.read_schema(source)
    # map_width and map_height are numbers; the maps are structs of bytes and path.
    stages = [
        field.name.removeprefix("map_")
        for field in schema
        if field.name.startswith("map_") and pa.types.is_struct(field.type)
    ]
    return tuple(stages), SEGMENTATION in schema.names
