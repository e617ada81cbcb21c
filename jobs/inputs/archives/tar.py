"""Tar files: which members they hold and where, from a pass over their headers.

Archives come from anywhere. Nothing is unpacked, so that names cannot lead anywhere; links, devices and sparse members
are not followed; what an archive says of lengths is believed as far as the archive reaches. Compressed archives are
refused: to read one member all before it would have to be unpacked.
"""

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass

from jobs.errors import ArchiveError
from jobs.inputs.archives.ranges import RangedFile
from jobs.inputs.archives.uris import Member
from jobs.storage import files as storage

BLOCK = 512
STREAM_BYTES = 8 * 2**20
"""Read at once where members are small: one request for many headers, with all that lies between them."""
HOP_BYTES = 16 * 2**10
"""Read at once where members are large: one request from header to header."""
LARGE_MEMBER = 2**20
"""From this mean size on the second is the better one: a store sends about so much while it begins to answer."""
LONGEST_HEADER = 2**20
MOST_MEMBERS = 5_000_000

_COMPRESSIONS = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}


@dataclass
class TarIndex:
    """What a tar holds.

    Parameters
    ----------
    members : list of Member
        Files, in order; of two with one name the later, as when the archive is unpacked. Links and their like, whose
        place is not one, have `fault_at`.
    fault : ArchiveError, optional
        Why the rest cannot be read.
    fault_at : int
        From where on, in bytes.
    """

    members: list[Member]
    fault: Exception | None = None
    fault_at: int = 0


def index_tar(uri: str) -> TarIndex:
    """Read all headers of a tar.

    Raises
    ------
    OSError
        If the storage cannot be read; an archive that is damaged is no error.
    """
    found: dict[str, Member] = {}
    index = TarIndex([])
    file = RangedFile(uri, storage.file_size(uri), STREAM_BYTES, LONGEST_HEADER)
    try:
        for member in _members(file):
            found.pop(member.name, None)
            found[member.name] = member
    except _BrokenError as error:
        index.fault, index.fault_at = ArchiveError(str(error)), error.at
    index.members = list(found.values())
    return index


def fault_in_tar(member: Member) -> Exception:
    """Say again why a member, or the rest of its archive, cannot be read."""
    at = member.fault_at or 0
    try:
        file = RangedFile(member.archive, storage.file_size(member.archive), HOP_BYTES, LONGEST_HEADER)
        found = next(_members(file, at), None)
    except _BrokenError as error:
        return ArchiveError(str(error))
    except OSError as error:
        return error
    if found is None or found.fault_at is None:
        return ArchiveError(f"{member.archive} has changed since it was listed: --extend adds what it holds now")
    return ArchiveError(f"{found.name} in {member.archive} is a link, a device or sparse, at byte {at}: not followed")


def check_header(block: bytes, member: Member) -> None:
    """Check the header right before a member's bytes: whether these are still what was listed.

    Raises
    ------
    ArchiveError
    """
    try:
        is_as_listed = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape").size == member.size
    except tarfile.HeaderError:
        is_as_listed = False
    if not is_as_listed:
        raise ArchiveError(f"{member.archive} has changed since it was listed: {member.name} is not where it was")


class _BrokenError(Exception):
    def __init__(self, uri: str, at: int, reason: str) -> None:
        super().__init__(f"{uri} cannot be read from byte {at} on: {reason}")
        self.at = at


def _members(file: RangedFile, at: int = 0) -> Iterator[Member]:
    """Yield the files in a tar from a header on."""
    uri = file.uri
    if file.size == 0:
        raise _BrokenError(uri, 0, "it is empty")
    beginning = file.read(8) if at == 0 else b""
    for mark, name in _COMPRESSIONS.items():
        if beginning.startswith(mark):
            raise _BrokenError(uri, 0, f"it is compressed with {name}: unpack it, compressed archives are not read")
    file.seek(at)
    try:
        tar = tarfile.TarFile(fileobj=file, mode="r", encoding="utf-8", errors="surrogateescape")
    except (tarfile.TarError, ArchiveError, ValueError) as error:
        raise _BrokenError(uri, at, _reason(error)) from None
    count = 0
    while True:
        began = tar.offset if count else at
        try:
            info = tar.next()
        except (tarfile.TarError, ArchiveError, ValueError, RecursionError, OverflowError) as error:
            raise _BrokenError(uri, began, _reason(error)) from None
        if info is None:
            break
        tar.members.clear()  # type: ignore[attr-defined]
        count += 1
        end = info.offset_data + (info.size if info.isreg() else 0)
        if tar.offset <= began or info.size < 0:
            raise _BrokenError(uri, info.offset, "it leads backwards")
        if end > file.size:
            missing = end - file.size
            raise _BrokenError(uri, info.offset, f"it ends {missing} bytes before {_shown(info.name)} is complete")
        if count > MOST_MEMBERS:
            raise _BrokenError(uri, info.offset, f"it has more than {MOST_MEMBERS} members")
        if info.issparse() or info.islnk() or info.issym() or info.isdev():
            yield Member(uri, info.name, fault_at=info.offset)
        elif info.isreg():
            yield Member(uri, info.name, info.offset_data, info.size)
        file.floor = tar.offset - 1
        file.window = STREAM_BYTES if tar.offset - at < LARGE_MEMBER * count else HOP_BYTES
    # tarfile takes whatever is no header for the end.
    ended = tar.offset if count else at
    file.seek(ended)
    rest = file.read(BLOCK)
    if rest.strip(b"\0"):
        reason = "there is no header where one should be" if len(rest) == BLOCK else "it ends within a header"
        raise _BrokenError(uri, ended, reason)


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _shown(name: str) -> str:
    return name.encode("utf-8", "replace").decode()[:200]
