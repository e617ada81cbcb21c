"""Files on any fsspec URI: local paths, ``file://``, ``s3://`` and the rest.

Every call is repeated where that can help, and ends within bounded time; see `jobs.storage.retries`.
"""

import asyncio
import os
import tempfile
import uuid
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec
import fsspec.asyn
from fsspec.implementations.local import LocalFileSystem

from jobs.errors import SurroundingsError, WriteError
from jobs.storage import traffic
from jobs.storage.redaction import redacted as redacted
from jobs.storage.retries import READ_SECONDS, S3_CONFIG, WRITE_SECONDS, persistently
from jobs.storage.surroundings import fault_of_surroundings

READ_AT_ONCE = 16
"""Files that one task reads at a time: their latencies overlap."""
LISTED_AT_ONCE = 16
"""Parts of a folder that are listed at a time."""

_USER_INFO_ALLOWED = frozenset({"http", "https", "ftp", "sftp", "ssh", "smb"})


def resolve(uri: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """Return the file system of a URI and the path on it.

    Nothing in the key is interpreted (no globs, no URL chaining with ``::``, no percent decoding). S3 takes its
    credentials, region and endpoint from the environment or profile as AWS's own tools do.

    Raises
    ------
    ValueError
        If the URI of an object store holds credentials: they would be taken for the bucket's name, and shown.
    """
    protocol = uri.split("://", 1)[0] if "://" in uri else "file"
    authority = uri.split("://", 1)[-1].split("/", 1)[0]
    if "://" in uri and "@" in authority and ":" in authority and protocol not in _USER_INFO_ALLOWED:
        raise ValueError(f"{redacted(uri)} is given with credentials in it: give them by environment or profile")
    filesystem_class = fsspec.get_filesystem_class(protocol)
    if protocol in ("s3", "s3a"):
        filesystem = fsspec.filesystem(protocol, config_kwargs=S3_CONFIG)
        filesystem.retries = 1  # see jobs.storage.retries
    else:
        filesystem = fsspec.filesystem(protocol)
    return filesystem, filesystem_class._strip_protocol(uri)


def absolute(uri: str) -> str:
    """Return local paths absolute and without ``file://``, other URIs without a closing slash."""
    filesystem, path = resolve(uri)
    return path if isinstance(filesystem, LocalFileSystem) else uri.rstrip("/")


def join(uri: str, *names: str) -> str:
    """Append path parts to a URI."""
    return "/".join([uri.rstrip("/"), *names])


def exists(uri: str) -> bool:
    """Tell whether there is a file or a non-empty prefix at a URI."""
    filesystem, path = resolve(uri)

    def look(_: float) -> bool:
        filesystem.invalidate_cache()
        return bool(filesystem.exists(path))

    return persistently(look, READ_SECONDS)


def read_bytes(uri: str, limit: int | None = None) -> bytes:
    """Read a file.

    Parameters
    ----------
    uri : str
    limit : int, optional
        Bytes to read at most, from the beginning; by default all.

    Raises
    ------
    Exception
        What the storage raised last, within `READ_SECONDS`.
    """
    filesystem, path = resolve(uri)

    def read(seconds: float) -> bytes:
        # Without an end or this number s3fs asks for the size first, which is a second request for every image.
        part = {"max_concurrency": 1} if _is_s3(filesystem) else {}
        if limit is not None:
            part |= {"start": 0, "end": limit}
        try:
            content: bytes = _within(seconds, filesystem, "_cat_file", "cat_file", path, **part)
        except OSError as error:
            if limit is not None and _is_range_of_nothing(error):
                return b""
            raise
        traffic.count("bytes_read", len(content))
        return content

    return persistently(read, READ_SECONDS)


def read_range(uri: str, start: int, end: int) -> bytes:
    """Read a part of a file; it is shorter where the file ends before.

    Raises
    ------
    Exception
        What the storage raised last, within `READ_SECONDS`.
    """
    filesystem, path = resolve(uri)

    def read(seconds: float) -> bytes:
        # In one request: s3fs would cut larger parts.
        part = {"max_concurrency": 1} if _is_s3(filesystem) else {}
        try:
            content: bytes = _within(seconds, filesystem, "_cat_file", "cat_file", path, start=start, end=end, **part)
        except OSError as error:
            if _is_range_of_nothing(error):
                return b""
            raise
        traffic.count("bytes_read", len(content))
        return content

    return persistently(read, READ_SECONDS) if start < end else b""


def file_size(uri: str) -> int:
    """Return the bytes of a file.

    Raises
    ------
    Exception
        What the storage raised last, within `READ_SECONDS`.
    """
    filesystem, path = resolve(uri)

    def ask(seconds: float) -> int:
        filesystem.invalidate_cache()
        return int(_within(seconds, filesystem, "_info", "info", path)["size"])

    return persistently(ask, READ_SECONDS)


def read_many(uris: Sequence[str], limit: int | None = None) -> list[bytes | Exception]:
    """Read many files, side by side.

    Parameters
    ----------
    uris : sequence of str
    limit : int, optional
        Bytes to read of each at most, from the beginning; by default all.

    Returns
    -------
    list of bytes or Exception
        In the order of `uris`; an exception stands for a file that could not be read.
    """
    with ThreadPoolExecutor(min(READ_AT_ONCE, max(1, len(uris)))) as threads:
        return list(threads.map(lambda uri: _read_or_error(uri, limit), uris))


def _read_or_error(uri: str, limit: int | None) -> bytes | Exception:
    try:
        # File by file: fsspec's call for many files takes a key such as a[1].jpg for a pattern.
        return read_bytes(uri, limit)
    except Exception as error:  # whatever befalls one file must not end the others
        return error


def checked_surroundings(uri: str, content: bytes | Exception) -> bytes | Exception:
    """Pass on what was read of a file, or its own fault.

    Raises
    ------
    SurroundingsError
        If no other file could be read from here either.
    """
    if isinstance(content, Exception) and (fault := fault_of_surroundings(content, uri)) is not None:
        # Not "from content": see write_bytes.
        raise SurroundingsError(fault) from None
    return content


def write_bytes(uri: str, content: bytes, seconds: float | None = None) -> None:
    """Write a file so that it is there whole or not at all.

    A local file is written beside its place and moved there; object stores do the same by themselves.

    Parameters
    ----------
    uri : str
    content : bytes
    seconds : float, optional
        For all attempts together, by default `WRITE_SECONDS`.

    Raises
    ------
    WriteError
        Within these seconds; a full disk or a missing permission at once.
    """
    filesystem, path = resolve(uri)

    def write(seconds: float) -> None:
        if isinstance(filesystem, LocalFileSystem):
            _write_beside_and_move(Path(path), content)
        else:
            _within(seconds, filesystem, "_pipe_file", "pipe_file", path, content)

    try:
        persistently(write, WRITE_SECONDS if seconds is None else seconds)
        traffic.count("bytes_written", len(content))
    except Exception as error:
        fault = fault_of_surroundings(error, uri)
        reason = fault or " ".join(str(error).split()) or type(error).__name__
        failed = WriteError(redacted(f"cannot write {uri}: {reason}"))
        failed.is_of_surroundings = fault is not None
        # Not "from error": its text may hold credentials, and Ray writes whole chains of errors to its logs.
        raise failed from None


def _write_beside_and_move(target: Path, content: bytes) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _is_s3(filesystem: fsspec.AbstractFileSystem) -> bool:
    return "s3" in (filesystem.protocol if isinstance(filesystem.protocol, tuple) else (filesystem.protocol,))


def _is_range_of_nothing(error: OSError) -> bool:
    """Tell whether S3 refused the first bytes of an empty file."""
    response = getattr(error.__cause__, "response", None)
    return isinstance(response, dict) and response.get("Error", {}).get("Code") in ("InvalidRange", "416")


def _within(
    seconds: float,
    filesystem: fsspec.AbstractFileSystem,
    asynchronous: str,
    synchronous: str,
    *arguments: Any,
    **more: Any,
) -> Any:
    """Call a method of a file system; where it is an asynchronous one, for `seconds` at most."""
    if not isinstance(filesystem, fsspec.asyn.AsyncFileSystem):
        # The local disk, or a store whose client has timeouts of its own.
        return getattr(filesystem, synchronous)(*arguments, **more)
    method: Callable[..., Awaitable[Any]] = getattr(filesystem, asynchronous)

    return bounded_call(seconds, filesystem, lambda: method(*arguments, **more))


def bounded_call(seconds: float, filesystem: Any, call: Callable[[], Awaitable[Any]]) -> Any:
    """Wait for what an asynchronous file system does, on its own loop, for `seconds` at most.

    Raises
    ------
    TimeoutError
        With a text.
    """

    async def bounded() -> Any:
        return await asyncio.wait_for(call(), max(seconds, 0.001))

    try:
        return fsspec.asyn.sync(filesystem.loop, bounded)
    except TimeoutError as error:  # those of the event loop come without a text
        raise TimeoutError(str(error) or f"no answer within {seconds:.0f} seconds") from error


def list_files(uri: str) -> list[str]:
    """List all files under a folder or prefix, sorted, as URIs of the same kind."""
    return sorted(file_sizes(uri))


def list_files_beginning(uri: str, beginnings: Sequence[str]) -> list[str]:
    """List the files right below a folder or prefix whose names begin so, and perhaps others, as URIs of the same kind.

    Parameters
    ----------
    uri : str
    beginnings : sequence of str
        On S3, whose listings are pages of a thousand one after the other, each is listed beside the others.
    """
    filesystem, path = resolve(uri)
    if not _is_s3(filesystem) or len(beginnings) < 2:
        return list_files(uri)

    def look(beginning: str) -> list[str]:
        found: list[str] = persistently(lambda _: filesystem.find(path, prefix=beginning), WRITE_SECONDS)
        return found

    filesystem.invalidate_cache()
    protocol = uri.split("://", 1)[0]
    with ThreadPoolExecutor(LISTED_AT_ONCE) as threads:
        return [f"{protocol}://{key}" for keys in threads.map(look, beginnings) for key in keys]


def file_sizes(uri: str) -> dict[str, int]:
    """Return the bytes of every file under a folder or prefix, by its URI of the same kind."""
    filesystem, path = resolve(uri)

    def look(_: float) -> dict[str, int]:
        filesystem.invalidate_cache()
        return {name: int(about["size"]) for name, about in filesystem.find(path, detail=True).items()}

    found = persistently(look, WRITE_SECONDS)
    if isinstance(filesystem, LocalFileSystem):
        return found
    protocol = uri.split("://", 1)[0]
    return {f"{protocol}://{key}": size for key, size in found.items()}


def remove_tree(uri: str) -> None:
    """Remove a folder or prefix with all that is in it; nothing there is no error."""
    filesystem, path = resolve(uri)

    def remove(_: float) -> None:
        filesystem.invalidate_cache()
        if filesystem.exists(path):
            filesystem.rm(path, recursive=True)

    persistently(remove, WRITE_SECONDS)


class LocalCopy:
    """A URI's content as a local file for a ``with`` block; the file itself where it is local already."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> Path:
        filesystem, path = resolve(self.uri)
        if isinstance(filesystem, LocalFileSystem):
            return Path(path)
        self._folder = tempfile.TemporaryDirectory()
        local = Path(self._folder.name) / path.rsplit("/", 1)[-1]
        persistently(lambda _: filesystem.get_file(path, str(local)), WRITE_SECONDS)
        return local

    def __exit__(self, *_: object) -> None:
        if self._folder is not None:
            self._folder.cleanup()


def parent_names(uris: Iterable[str], root: str) -> Iterator[str]:
    """Yield each URI's path below `root`, without its extension: the key that pairs images with masks."""
    prefix = root.rstrip("/") + "/"
    for uri in uris:
        relative = uri.removeprefix(prefix)
        head, _, tail = relative.rpartition("/")
        stem = tail.rsplit(".", 1)[0] if "." in tail else tail
        yield f"{head}/{stem}" if head else stem
