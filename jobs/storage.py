"""Files on any fsspec URI: local paths, ``file://``, ``s3://`` and the rest."""

import os
import re
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
from fsspec.implementations.local import LocalFileSystem

READ_AT_ONCE = 16
"""Files that one task reads at a time: their latencies overlap."""

_USER_INFO = re.compile(r"(?<=://)[^/@\s]+@")
_QUERY = re.compile(r"(https?://[^\s?]+)\?\S+")


def redacted(text: str) -> str:
    """Take user names, passwords and signed query strings out of the URIs in a text.

    Examples
    --------
    >>> redacted("cannot read https://me:secret@host/a.png?X-Amz-Signature=1f")
    'cannot read https://host/a.png'
    """
    return _QUERY.sub(r"\1", _USER_INFO.sub("", text))


def resolve(uri: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """Return the file system of a URI and the path on it.

    Nothing in the key is interpreted (no globs, no URL chaining with ``::``, no percent decoding). S3 takes its
    credentials, region and endpoint from the environment or profile as AWS's own tools do.
    """
    protocol = uri.split("://", 1)[0] if "://" in uri else "file"
    filesystem_class = fsspec.get_filesystem_class(protocol)
    return fsspec.filesystem(protocol), filesystem_class._strip_protocol(uri)


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
    filesystem.invalidate_cache()
    return bool(filesystem.exists(path))


def read_bytes(uri: str) -> bytes:
    """Read a whole file."""
    filesystem, path = resolve(uri)
    content: bytes = filesystem.cat_file(path)
    return content


def read_many(uris: Sequence[str]) -> list[bytes | Exception]:
    """Read many files, side by side.

    Returns
    -------
    list of bytes or Exception
        In the order of `uris`; an exception stands for a file that could not be read.
    """
    with ThreadPoolExecutor(min(READ_AT_ONCE, max(1, len(uris)))) as threads:
        return list(threads.map(_read_or_error, uris))


def _read_or_error(uri: str) -> bytes | Exception:
    try:
        # File by file: fsspec's call for many files takes a key such as a[1].jpg for a pattern.
        return read_bytes(uri)
    except Exception as error:  # whatever befalls one file must not end the others
        return error


def write_bytes(uri: str, content: bytes) -> None:
    """Write a file so that it is there whole or not at all.

    A local file is written beside its place and moved there; object stores do the same by themselves.
    """
    filesystem, path = resolve(uri)
    if not isinstance(filesystem, LocalFileSystem):
        filesystem.pipe_file(path, content)
        return
    target = Path(path)
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


def list_files(uri: str) -> list[str]:
    """List all files under a folder or prefix, sorted, as URIs of the same kind."""
    filesystem, path = resolve(uri)
    filesystem.invalidate_cache()
    found = sorted(filesystem.find(path))
    if isinstance(filesystem, LocalFileSystem):
        return found
    protocol = uri.split("://", 1)[0]
    return [f"{protocol}://{key}" for key in found]


def remove_tree(uri: str) -> None:
    """Remove a folder or prefix with all that is in it; nothing there is no error."""
    filesystem, path = resolve(uri)
    filesystem.invalidate_cache()
    if filesystem.exists(path):
        filesystem.rm(path, recursive=True)


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
        filesystem.get_file(path, str(local))
        return local

    def __exit__(self, *_: object) -> None:
        if self._folder is not None:
            self._folder.cleanup()


def parent_names(uris: Sequence[str], root: str) -> Iterator[str]:
    """Yield each URI's path below `root`, without its extension: the key that pairs images with masks."""
    prefix = root.rstrip("/") + "/"
    for uri in uris:
        relative = uri.removeprefix(prefix)
        head, _, tail = relative.rpartition("/")
        stem = tail.rsplit(".", 1)[0] if "." in tail else tail
        yield f"{head}/{stem}" if head else stem
