"""The bytes of images by their URIs, whether they are files or members of archives: what all jobs open images with.

Members that follow each other in an archive are one request. Where a URI does not say where its member lies, as in the
results of a run, the archive's index is made, once a process.
"""

import functools
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from jobs.errors import ArchiveError
from jobs.inputs.archives.arrow import fault_in_arrow, index_arrow
from jobs.inputs.archives.columns import Columns
from jobs.inputs.archives.parquet import parquet_footer, read_rows
from jobs.inputs.archives.tar import BLOCK, check_header, fault_in_tar, index_tar
from jobs.inputs.archives.uris import Member, member_of
from jobs.storage import files as storage

MOST_BETWEEN = 2**20
"""Bytes that are read in vain rather than begin another request: a store sends about so many while it begins one."""
MOST_AT_ONCE = 2**24
"""Bytes of one request, beside its last member."""

_Contents = list[bytes | Exception]


def read_bytes(uri: str, limit: int | None = None) -> bytes:
    """Read an image; see `read_many`.

    Raises
    ------
    Exception
        What the storage raised last, or an ArchiveError.
    """
    (content,) = read_many([uri], limit)
    if isinstance(content, Exception):
        raise content
    return content


def read_many(uris: Sequence[str], limit: int | None = None) -> _Contents:
    """Read many images, side by side.

    Parameters
    ----------
    uris : sequence of str
        Of files, and of members of archives.
    limit : int, optional
        Bytes to read of each at most, from the beginning; by default all.

    Returns
    -------
    list of bytes or Exception
        In the order of `uris`; an exception stands for an image that could not be read.
    """
    members = {index: member for index, uri in enumerate(uris) if (member := member_of(uri)) is not None}
    if not members:
        return storage.read_many(uris, limit)
    found: dict[int, bytes | Exception] = {}
    files = [index for index in range(len(uris)) if index not in members]
    found |= zip(files, storage.read_many([uris[index] for index in files], limit), strict=True)
    archives: dict[str, list[int]] = defaultdict(list)
    for index, member in members.items():
        archives[member.archive].append(index)
    with ThreadPoolExecutor(min(storage.READ_AT_ONCE, len(archives))) as threads:
        of_archives = threads.map(lambda some: _read([members[index] for index in some], limit), archives.values())
        for some, contents in zip(archives.values(), of_archives, strict=True):
            found |= zip(some, contents, strict=True)
    return [found[index] for index in range(len(uris))]


def _read(members: list[Member], limit: int | None) -> _Contents:
    """Read members of one archive."""
    try:
        if members[0].archive.lower().endswith(".parquet"):
            return _read_parquet(members, limit)
        return _read_placed(members, limit)
    except Exception as error:  # whatever befalls one archive must not end the others
        if isinstance(error, ArchiveError) or not isinstance(error, ValueError):
            return [error] * len(members)
        # What libraries make of a damaged file, such as names that are no UTF-8.
        return [ArchiveError(f"{members[0].archive} is damaged: {' '.join(str(error).split())}")] * len(members)


def _read_parquet(members: list[Member], limit: int | None) -> _Contents:
    found: _Contents = [ArchiveError(f"there is no {member.name} in {member.archive}") for member in members]
    rows: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for index, member in enumerate(members):
        if not member.name:
            found[index] = _fault_in_parquet(member.archive)
        column, _, row = member.name.rpartition("/")
        if row.isdecimal():
            rows[column].append((int(row), index))
    for column, wanted in rows.items():
        wanted.sort()
        contents = read_rows(members[0].archive, column, [row for row, _ in wanted])
        for (_, index), content in zip(wanted, contents, strict=True):
            found[index] = content if isinstance(content, Exception) else content[:limit]
    return found


@dataclass
class _Request:
    start: int
    end: int
    wanted: list[int]


def _read_placed(members: list[Member], limit: int | None) -> _Contents:
    """Read members that are ranges of bytes."""
    is_tar = members[0].archive.lower().endswith(".tar")
    found: _Contents = [ArchiveError("not read")] * len(members)
    placed: dict[int, Member] = {}
    for index, asked in enumerate(members):
        member = _with_place(asked)
        if isinstance(member, Exception):
            found[index] = member
        elif member.offset is None:
            found[index] = fault_in_tar(member) if is_tar else fault_in_arrow(member)
        else:
            placed[index] = member
    requests: list[_Request] = []
    before = BLOCK if is_tar else 0
    for index, member in sorted(placed.items(), key=lambda item: item[1].offset or 0):
        assert member.offset is not None
        assert member.size is not None
        start = max(member.offset - before, 0)
        end = member.offset + (member.size if limit is None else min(member.size, limit))
        last = requests[-1] if requests else None
        if last is not None and start - last.end <= MOST_BETWEEN and last.end - last.start < MOST_AT_ONCE:
            last.end = max(last.end, end)
            last.wanted.append(index)
        else:
            requests.append(_Request(start, end, [index]))

    def read(request: _Request) -> None:
        try:
            content = storage.read_range(members[0].archive, request.start, request.end)
        except Exception as error:  # as in storage.read_many
            for index in request.wanted:
                found[index] = error
            return
        for index in request.wanted:
            found[index] = _cut(content, request.start, placed[index], limit, is_tar)

    if requests:
        with ThreadPoolExecutor(min(storage.READ_AT_ONCE, len(requests))) as threads:
            list(threads.map(read, requests))
    return found


def _cut(content: bytes, start: int, member: Member, limit: int | None, is_tar: bool) -> bytes | Exception:
    assert member.offset is not None
    assert member.size is not None
    first = member.offset - start
    size = member.size if limit is None else min(member.size, limit)
    try:
        if is_tar:
            check_header(content[max(first - BLOCK, 0) : first], member)
        if len(content) < first + size:
            raise ArchiveError(f"{member.archive} ends before {member.name} does: it has changed since it was listed")
    except ArchiveError as error:
        return error
    return content[first : first + size]


def _with_place(member: Member) -> Member | Exception:
    if member.offset is not None or member.fault_at is not None:
        return member
    known = _indexed(member.archive, member.name.rpartition("/")[0]).get(member.name)
    return ArchiveError(f"there is no {member.name} in {member.archive}") if known is None else known


@functools.lru_cache(8)
def _indexed(archive: str, column: str) -> dict[str, Member]:
    if archive.lower().endswith(".tar"):
        return {member.name: member for member in index_tar(archive).members}
    return {image.name: image for image, _ in index_arrow(archive, Columns(column)).pairs}


def _fault_in_parquet(uri: str) -> Exception:
    try:
        parquet_footer(uri)
    except (ArchiveError, OSError) as error:
        return error
    return ArchiveError(f"{uri} has changed since it was listed: --extend adds what it holds now")
