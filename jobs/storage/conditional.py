"""A small file that several processes want to change, and none over the head of another.

Every write says on which content it is based, and fails where the file holds another meanwhile: by ``If-Match`` and
``If-None-Match`` on S3, by a lock on a local disk. Stores with neither are read again before the write: between the two
another write may slip in, so that whoever needs to be sure lets it settle and reads once more.
"""

import contextlib
import fcntl
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from jobs.storage import files as storage
from jobs.storage.retries import persistently

# 412 and 409 (two conditional writes at once) of S3; the last one where the file to be replaced is gone.
_CHANGED_CODES = frozenset({"PreconditionFailed", "412", "ConditionalRequestConflict", "409", "NoSuchKey"})
_UNKNOWN_CODES = frozenset({"NotImplemented", "501", "InvalidArgument", "InvalidRequest"})


class ChangedError(Exception):
    """The file holds something else than the write is based on."""


@dataclass(frozen=True)
class Version:
    """A content of the file, and how the store tells it from every other."""

    content: bytes
    etag: str = ""


class ConditionalFile:
    """A file on any fsspec URI.

    Parameters
    ----------
    uri : str
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri

    def read(self, seconds: float) -> Version | None:
        """Return what the file holds, None where there is none.

        Raises
        ------
        OSError
            Within so many seconds, on S3.
        """
        filesystem, path = storage.resolve(self.uri)
        try:
            if _is_s3(filesystem):
                return persistently(lambda left: _within(left, filesystem, _get, path), seconds)
            return Version(storage.read_bytes(self.uri))
        except FileNotFoundError:
            return None

    def write(self, content: bytes, based_on: Version | None, seconds: float) -> Version:
        """Replace the content that was read, or make the file where there was none.

        Raises
        ------
        ChangedError
            If it holds something else; a write of one's own whose answer was lost may be the reason.
        OSError
            Within so many seconds, on S3. The write may come about even so, as long as nobody has changed the file.
        """
        filesystem, path = storage.resolve(self.uri)
        if isinstance(filesystem, LocalFileSystem):
            self._write_local(Path(path), content, based_on)
            return Version(content)
        if _is_s3(filesystem):
            condition = {"IfNoneMatch": "*"} if based_on is None else {"IfMatch": based_on.etag}
            try:
                etag = persistently(lambda left: _within(left, filesystem, _put, path, content, condition), seconds)
                return Version(content, etag)
            except OSError as error:
                code = _code(error)
                if code in _CHANGED_CODES or isinstance(error, FileExistsError):
                    raise ChangedError from None
                if code not in _UNKNOWN_CODES:
                    raise
        # A store that does not know conditions.
        if self.read(seconds) != based_on:
            raise ChangedError
        storage.write_bytes(self.uri, content)
        found = self.read(seconds)
        return found if found is not None and found.content == content else Version(content)

    def _write_local(self, path: Path, content: bytes, based_on: Version | None) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path.parent):
            if based_on is None:
                _create_local(path, content)
            elif self.read(0) != based_on:
                raise ChangedError
            else:
                storage.write_bytes(str(path), content)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder, which ends with the process; file systems without locks go without."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _create_local(path: Path, content: bytes) -> None:
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        partial.write_bytes(content)
        # A link is there at once and whole, and is not made where there is a file already.
        path.hardlink_to(partial)
    except FileExistsError:
        raise ChangedError from None
    except OSError:  # some file systems have no links
        try:
            with path.open("xb") as file:
                file.write(content)
        except FileExistsError:
            raise ChangedError from None
    finally:
        partial.unlink(missing_ok=True)


def _is_s3(filesystem: fsspec.AbstractFileSystem) -> bool:
    return hasattr(filesystem, "_call_s3")


def _within(seconds: float, filesystem: Any, action: Any, *arguments: Any) -> Any:
    return storage.bounded_call(seconds, filesystem, lambda: action(filesystem, *arguments))


async def _get(filesystem: Any, path: str) -> Version:
    bucket, key, _ = filesystem.split_path(path)
    answer = await filesystem._call_s3("get_object", Bucket=bucket, Key=key)
    async with answer["Body"] as body:
        return Version(await body.read(), answer["ETag"])


async def _put(filesystem: Any, path: str, content: bytes, condition: dict[str, str]) -> str:
    bucket, key, _ = filesystem.split_path(path)
    answer = await filesystem._call_s3("put_object", Bucket=bucket, Key=key, Body=content, **condition)
    return str(answer["ETag"])


def _code(error: BaseException) -> str:
    cause: BaseException | None = error
    while cause is not None:
        response = getattr(cause, "response", None)
        if isinstance(response, dict):
            return str(response.get("Error", {}).get("Code"))
        cause = cause.__cause__
    return ""
