"""Arrow files as Hugging Face ``datasets`` saves them: streams of record batches, in which every image has its place.

Of each batch only its description and the offsets of the images are read, so that every image is then a range of
bytes, as in a tar.
"""

import struct
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from jobs.errors import ArchiveError, NoBytesError
from jobs.inputs.archives.columns import ColumnError, Columns, chosen_columns
from jobs.inputs.archives.pairs import ArchiveIndex, Pair
from jobs.inputs.archives.ranges import RangedFile
from jobs.inputs.archives.uris import Member
from jobs.storage import files as storage

WINDOW_BYTES = 2**16
LONGEST_READ = 2**28
"""Bytes of a batch's description, or of its offsets, at most."""
_SCHEMA, _RECORD_BATCH = 1, 3
_FILE_MARK = b"ARROW1"


def index_arrow(uri: str, wanted: Columns, *, strictly: bool = False) -> ArchiveIndex:
    """Find the images and masks of an Arrow file, in the order of their rows.

    Raises
    ------
    ColumnError
        If the settings have to say which column holds the images.
    OSError
        If the storage cannot be read; a file that is damaged is no error.
    """
    file = RangedFile(uri, storage.file_size(uri), WINDOW_BYTES, LONGEST_READ)
    index = ArchiveIndex()
    try:
        for pair in _pairs(file, wanted, strictly):
            index.pairs.append(pair)
    except ColumnError as error:
        raise ColumnError(f"{uri} has {error}") from None
    except _DAMAGE as error:
        index.fault = ArchiveError(_damage(uri, file.floor, error))
        index.fault_at = file.floor
    return index


def fault_in_arrow(member: Member) -> Exception:
    """Say again why an image, or the rest of its file, cannot be read."""
    if member.name:
        return NoBytesError(f"{member.name} of {member.archive} has no bytes")
    at = member.fault_at or 0
    try:
        file = RangedFile(member.archive, storage.file_size(member.archive), WINDOW_BYTES, LONGEST_READ)
        file.seek(at)
        _, _, body, length = _message(file)
        reason = "it ends within a batch" if body + length > file.size else "the batch is damaged"
        return ArchiveError(_damage(member.archive, at, ArchiveError(reason)))
    except _DAMAGE as error:
        return ArchiveError(_damage(member.archive, at, error))
    except OSError as error:
        return error


_DAMAGE = (pa.ArrowException, struct.error, IndexError, ValueError, OverflowError, MemoryError)


def _damage(uri: str, at: int, error: BaseException) -> str:
    return f"{uri} cannot be read from byte {at} on: {' '.join(str(error).split())}"


def _pairs(file: RangedFile, wanted: Columns, strictly: bool) -> Iterator[Pair]:
    if file.read(len(_FILE_MARK)) == _FILE_MARK:
        file.seek(8)  # the file format is the stream with a mark before it and a footer behind it
    else:
        file.seek(0)
    kind, description, body, _ = _message(file)
    if kind != _SCHEMA:
        raise ArchiveError("it does not begin with a schema")
    prefix = struct.pack("<Ii", 0xFFFFFFFF, len(description))
    schema = pa.ipc.read_schema(pa.py_buffer(prefix + description))
    columns = chosen_columns(schema, wanted, strictly=strictly)
    assert columns.image is not None
    row = 0
    while True:
        at = file.floor = file.tell()
        kind, description, body, length = _message(file)
        if kind is None:
            return
        if kind == _RECORD_BATCH:
            if body + length > file.size:
                raise ArchiveError("it ends within a batch")
            images = _places(file, schema, columns.image, description, body, length)
            masks = _places(file, schema, columns.mask, description, body, length) if columns.mask else None
            for place in range(len(images)):
                image = _member(file.uri, columns.image, row, images[place], at)
                mask = None
                if masks is not None and masks[place] is not None and columns.mask is not None:
                    mask = _member(file.uri, columns.mask, row, masks[place], at)
                yield image, mask
                row += 1
        file.seek(body + length)


def _member(uri: str, column: str, row: int, place: tuple[int, int] | None, at: int) -> Member:
    if place is None:
        return Member(uri, f"{column}/{row}", fault_at=at)
    return Member(uri, f"{column}/{row}", *place)


def _message(file: RangedFile) -> tuple[int | None, bytes, int, int]:
    """Read a message's description: its kind (None at the end), the description, where its body begins, its bytes."""
    head = file.read(8)
    if len(head) < 8:
        if head.strip(b"\0"):
            raise ArchiveError("it ends within a message")
        return None, b"", 0, 0
    mark, size = struct.unpack("<Ii", head)
    if mark != 0xFFFFFFFF:
        raise ArchiveError("there is no message where one should be")
    if size == 0:
        return None, b"", 0, 0
    description = file.read(size)
    if size < 0 or len(description) < size:
        raise ArchiveError("it ends within a message")
    table = _Table.root(description)
    length = table.number(3, "<q")
    if length < 0:
        raise ArchiveError("a message has a negative length")
    return table.number(1, "<B"), description, file.tell(), length


def _places(
    file: RangedFile, schema: pa.Schema, column: str, description: bytes, body: int, length: int
) -> list[tuple[int, int] | None]:
    """Return offset and bytes of every image of a batch; None where there is none."""
    batch = _Table.root(description).table(2)
    if batch.has(3):
        raise ArchiveError("its batches are compressed: save it without compression")
    if batch.has(4):
        raise ArchiveError("it has view columns: save them as binary")
    rows = batch.number(0, "<q")
    before = sum(
        _buffers(field.type) for field in schema if schema.names.index(field.name) < schema.names.index(column)
    )
    kind = schema.field(column).type
    validities = [before]
    if pa.types.is_struct(kind):
        before += 1
        for child in kind:
            if child.name == "bytes":
                kind = child.type
                break
            before += _buffers(child.type)
        validities.append(before)
    buffers = batch.structs(2, "<qq")
    width = 8 if pa.types.is_large_binary(kind) else 4
    starts = body + buffers[before + 1][0]
    wanted = (rows + 1) * width if rows else 0
    if rows < 0 or wanted > buffers[before + 1][1] or starts + wanted > body + length:
        raise ArchiveError("a batch's offsets lie outside it")
    file.seek(starts)
    content = file.read(wanted)
    offsets = np.frombuffer(content, "<i8" if width == 8 else "<i4").astype(np.int64)
    valid = np.ones(rows, bool)
    for at, size in (buffers[index] for index in validities):
        if size:
            file.seek(body + at)
            bits = np.frombuffer(file.read(-(-rows // 8)), np.uint8)
            valid &= np.unpackbits(bits, bitorder="little")[:rows].astype(bool)
    data_at, data_size = buffers[before + 2]
    if rows and (np.any(np.diff(offsets) < 0) or offsets[0] < 0 or offsets[-1] > data_size):
        raise ArchiveError("a batch's offsets lie outside it")
    first = body + data_at
    sizes = np.diff(offsets)
    return [
        (first + int(offset), int(size)) if is_there else None
        for offset, size, is_there in zip(offsets[:-1], sizes, valid, strict=True)
    ]


def _buffers(kind: pa.DataType) -> int:
    """Return how many buffers a column of a type has in a batch."""
    if isinstance(kind, pa.BaseExtensionType):
        return _buffers(kind.storage_type)
    if pa.types.is_dictionary(kind):
        return 2
    if pa.types.is_null(kind):
        return 0
    return len(pa.nulls(0, kind).buffers())


class _Table:
    """A table of a flat buffer, as Arrow describes its messages: https://arrow.apache.org/docs/format/Columnar.html."""

    def __init__(self, content: bytes, at: int) -> None:
        self.content = content
        self.at = at
        self._fields = at - self._unpacked("<i", at)
        if self._fields < 0:
            raise ArchiveError("a message's description is damaged")

    @classmethod
    def root(cls, content: bytes) -> "_Table":
        return cls(content, struct.unpack_from("<I", content)[0])

    def has(self, field: int) -> bool:
        return self._place(field) is not None

    def number(self, field: int, kind: str) -> int:
        place = self._place(field)
        return 0 if place is None else self._unpacked(kind, place)

    def table(self, field: int) -> "_Table":
        place = self._place(field)
        if place is None:
            raise ArchiveError("a message's description is damaged")
        return _Table(self.content, place + self._unpacked("<I", place))

    def structs(self, field: int, kind: str) -> list[tuple[int, ...]]:
        place = self._place(field)
        if place is None:
            return []
        place += self._unpacked("<I", place)
        count, size = self._unpacked("<I", place), struct.calcsize(kind)
        return list(struct.iter_unpack(kind, self.content[place + 4 : place + 4 + count * size]))

    def _place(self, field: int) -> int | None:
        size = self._unpacked("<H", self._fields)
        slot = 4 + 2 * field
        offset = self._unpacked("<H", self._fields + slot) if slot < size else 0
        return self.at + offset if offset else None

    def _unpacked(self, kind: str, at: int) -> int:
        if at < 0:
            raise ArchiveError("a message's description is damaged")
        value: int = struct.unpack_from(kind, self.content, at)[0]
        return value
