"""What a compaction will do, settled and checked before any work."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from cyclopts import Parameter

from jobs.compaction.table_formats import TableFormat, check_table_format
from jobs.errors import SettingsError
from jobs.reporting.runs import Run, open_run
from jobs.storage import files as storage
from jobs.storage.redaction import redacted

RECORD = "_compaction.json"
SUCCESS = "_SUCCESS"
CARD = "README.md"


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class CompactSettings:
    """Settings of the compaction.

    Parameters
    ----------
    run
        Output of a finished run of the saliency job; it is left as it is.
    output
        Where the tables go: a folder or prefix of its own.
    file_megabytes
        Size of the files of maps, about.
    rows_per_scores_file
        Most rows of a file of scores; a row is some hundred bytes.
    partial
        Take a run that has not finished, with the rows that are there.
    overwrite
        Replace the tables that lie at the output, and in the Iceberg catalogue.
    table_format
        Make Iceberg or Delta tables of the files as well, without a copy: ``iceberg`` in the default catalogue of
        pyiceberg's configuration, or by metadata files below the output; ``delta`` in the folders of the files.
    namespace
        Of Iceberg tables.
    slots
        CPU slots of the Ray that the job starts on this machine; by default its cores, at least 4.
    ray_address
        Address of a running Ray cluster; by default the one in RAY_ADDRESS, else a Ray of the job's own.
    """

    run: str
    output: str
    file_megabytes: int = 256
    rows_per_scores_file: int = 1_000_000
    partial: Annotated[bool, Parameter(negative="")] = False
    overwrite: Annotated[bool, Parameter(negative="")] = False
    table_format: TableFormat | None = None
    namespace: str = "saliency"
    slots: int | None = None
    ray_address: str | None = None

    def __post_init__(self) -> None:
        for name in ("file_megabytes", "rows_per_scores_file"):
            if getattr(self, name) < 1:
                raise SettingsError(f"{name} must be 1 or more, not {getattr(self, name)}")


@dataclass(frozen=True)
class CompactionPlan:
    """What is compacted, and in which parts.

    Parameters
    ----------
    settings : CompactSettings
    run : Run
    output : str
        Absolute URI.
    groups : tuple of tuple of str
        Files of results, as many together as make a file of maps.
    largest : int
        Bytes of the largest group.
    """

    settings: CompactSettings
    run: Run
    output: str
    groups: tuple[tuple[str, ...], ...]
    largest: int

    def describe(self) -> str:
        """Say for a person what will be done."""
        return "\n".join(
            [
                f"run       {redacted(self.run.uri)}: {len(self.run.files)} files of results",
                f"output    {redacted(self.output)}: {len(self.groups)} files of maps, sorted scores",
            ]
        )


def make_plan(settings: CompactSettings) -> CompactionPlan:
    """Look at the run and at the output.

    Raises
    ------
    SettingsError
        If there is no such run, or the output holds something already.
    """
    run = open_run(settings.run, partial=settings.partial)
    output = storage.absolute(settings.output)
    shown = redacted(output)
    if output == run.uri:
        raise SettingsError(f"the output must not be the run itself, {shown}: name a folder of its own")
    try:
        begun, finished = (storage.exists(storage.join(output, name)) for name in (RECORD, SUCCESS))
        taken = storage.exists(output)
        sizes = storage.file_sizes(storage.join(run.uri, "results"))
    except Exception as error:  # every storage has errors of its own
        raise SettingsError(f"the output {shown} cannot be reached: {redacted(str(error))}") from error
    if taken and not begun:
        raise SettingsError(f"the output {shown} holds something that no compaction wrote: name a new folder")
    if finished and not settings.overwrite:
        raise SettingsError(f"the output {shown} holds a compacted run already: give --overwrite, or a new folder")
    if settings.table_format is not None:
        check_table_format(settings.table_format, settings.namespace, settings.overwrite)
    groups, largest = grouped(run.files, sizes, settings.file_megabytes * 1_000_000)
    return CompactionPlan(settings, run, output, groups, largest)


def grouped(files: Sequence[str], sizes: dict[str, int], most_bytes: int) -> tuple[tuple[tuple[str, ...], ...], int]:
    """Put files that follow each other together until they have `most_bytes`; return the largest group's bytes, too.

    Examples
    --------
    >>> grouped(["a", "b", "c"], {"a": 4, "b": 5, "c": 9}, 10)
    ((('a', 'b'), ('c',)), 9)
    """
    groups: list[list[str]] = []
    held: list[int] = []
    for file in files:
        if not groups or held[-1] + sizes[file] > most_bytes:
            groups.append([])
            held.append(0)
        groups[-1].append(file)
        held[-1] += sizes[file]
    return tuple(map(tuple, groups)), max(held, default=0)


def record_of(plan: CompactionPlan) -> dict[str, Any]:
    """Return what is written down of a compaction before it begins; without credentials."""
    settings = {
        name: redacted(value) if isinstance(value, str) else value for name, value in vars(plan.settings).items()
    }
    return {"run": redacted(plan.run.uri), "fingerprint": plan.run.record.get("fingerprint"), "settings": settings}


def write_record(plan: CompactionPlan, more: dict[str, Any]) -> None:
    """Write the record, with what came of it."""
    content = json.dumps(record_of(plan) | more, indent=2) + "\n"
    storage.write_bytes(storage.join(plan.output, RECORD), content.encode())
