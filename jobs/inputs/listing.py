"""Listing the files below a URI in pages, in order, without ever holding all names.

S3 lists a thousand keys a request, one request after the other. A long listing is therefore cut into ranges at the
sub-prefixes found near its top, and the ranges are listed side by side, each into a spool file of keys that
end with a NUL (XML, S3's format, can hold none). The ranges cover the keys whatever the sub-prefixes are: a bad cut
costs time, not keys.
"""

import bisect
import itertools
import os
import tempfile
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

import fsspec
import pyarrow as pa
import pyarrow.compute as pc
from fsspec.implementations.local import LocalFileSystem

from jobs.storage import files as storage
from jobs.storage.retries import READ_SECONDS, persistently
from saliency_core.imaging.extensions import EXTENSIONS, UNREAD_EXTENSIONS, advice, is_read

IMAGE_EXTENSIONS = tuple(extension for extension, format_name in EXTENSIONS.items() if is_read(format_name))
"""Of the files that are listed as images here: what is installed decides about HEIC and JPEG XL."""

NO_EXTENSION = "(no extension)"
OTHERS = "(others)"
_MOST_EXTENSIONS = 100

PAGE = 10_000
"""Names in a page of a local listing."""

RANGES = 64
"""Parts that a long listing is cut into."""

RANGES_AT_ONCE = 16
SPOOL_BYTES = 1 << 20
_LEVELS = 6


def is_image(uri: str) -> bool:
    """Whether a file is an image or a mask by its name; hidden ones are not.

    Examples
    --------
    >>> is_image("s3://bucket/a.JPG"), is_image("/photographs/._a.jpg")
    (True, False)
    """
    name = uri.rsplit("/", 1)[-1]
    return name.lower().endswith(IMAGE_EXTENSIONS) and not name.startswith(".")


def only_images(pages: Iterable[list[str]], left_out: Counter[str]) -> Iterator[list[str]]:
    """Yield the images of every page, and count the other files by their extensions; hidden ones do not count."""
    for page in pages:
        images = []
        for uri in page:
            if is_image(uri):
                images.append(uri)
            elif not (name := uri.rsplit("/", 1)[-1]).startswith("."):
                stem, dot, ending = name.lower().rpartition(".")
                extension = f".{ending}" if stem and dot else NO_EXTENSION
                left_out[extension if extension in left_out or len(left_out) < _MOST_EXTENSIONS else OTHERS] += 1
        yield images


def described(left_out: Mapping[str, int]) -> str:
    """Say what was left out, images in formats that are not read first, and what to do about them.

    Examples
    --------
    >>> described({".txt": 3, ".psd": 2})
    '2 .psd (a Photoshop document: export it as PNG or TIFF), 3 .txt'
    """
    ordered = sorted(left_out.items(), key=lambda item: (not what_it_is(item[0]), -item[1], item[0]))
    parts = []
    for extension, count in ordered:
        what = what_it_is(extension)
        parts.append(f"{count} {extension}" + (f" ({what})" if what else ""))
    return ", ".join(parts)


def what_it_is(extension: str) -> str:
    """Return which image format that is not read here an extension stands for, and what to do; "" if none."""
    if extension in UNREAD_EXTENSIONS:
        return ": ".join(UNREAD_EXTENSIONS[extension])
    return advice(EXTENSIONS[extension]) if extension in EXTENSIONS else ""


def iterate_files(uri: str) -> Iterator[list[str]]:
    """Yield the files below a folder or prefix, or the one file at it, as pages of URIs.

    Parameters
    ----------
    uri : str
        As `jobs.storage.files.absolute` returns it.

    Yields
    ------
    list of str
        In the order of their names; nothing where there is nothing. Links to folders are not followed.

    Raises
    ------
    OSError
        If the storage cannot be listed.
    ValueError
        If a local name is not UTF-8: no URI can be written down for it.
    """
    filesystem, path = storage.resolve(uri)
    if isinstance(filesystem, LocalFileSystem):
        yield from _local_pages(path)
        return
    protocol = uri.split("://", 1)[0]
    pages = _s3_pages(filesystem, path) if hasattr(filesystem, "call_s3") else _walked_pages(filesystem, path)
    found = False
    for page in pages:
        found = True
        yield [f"{protocol}://{key}" for key in page]
    if not found and filesystem.isfile(path):
        yield [f"{protocol}://{path}"]


def _local_pages(path: str) -> Iterator[list[str]]:
    if Path(path).is_file():
        yield [path]
        return
    if not Path(path).is_dir():
        return
    names = _local_names(path.rstrip("/") + "/")
    while page := list(itertools.islice(names, PAGE)):
        yield page


def _local_names(folder: str) -> Iterator[str]:
    for name in _sorted_entries(folder):
        if name.endswith("/"):
            yield from _local_names(folder + name)
        else:
            yield folder + name


def _sorted_entries(folder: str) -> Iterator[str]:
    """Yield the names in one folder, subfolders with a slash behind; Arrow keeps a million of them in 50 MB."""
    parts = []
    with os.scandir(folder) as entries:
        names = (entry.name + ("/" if entry.is_dir(follow_symlinks=False) else "") for entry in entries)
        while page := list(itertools.islice(names, PAGE)):
            parts.append(pa.array(page, pa.string()))
    if not parts:
        return
    column = pa.chunked_array(parts)
    order = pc.sort_indices(column)
    for start in range(0, len(order), PAGE):
        yield from column.take(order.slice(start, PAGE)).to_pylist()


def _walked_pages(filesystem: fsspec.AbstractFileSystem, path: str) -> Iterator[list[str]]:
    for folder, _, names in filesystem.walk(path):
        if names:
            yield [f"{folder.rstrip('/')}/{name}" for name in sorted(names)]


def _s3_pages(filesystem: Any, path: str) -> Iterator[list[str]]:
    bucket, _, key = path.partition("/")
    prefix = key.rstrip("/") + "/" if key else ""
    first = _request(filesystem, bucket, prefix)
    if not first.get("IsTruncated"):
        if keys := _keys(first):
            yield [f"{bucket}/{key}" for key in keys]
        return
    cuts: list[str | None] = [None, *_cuts(filesystem, bucket, prefix), None]
    with ThreadPoolExecutor(RANGES_AT_ONCE) as threads:
        spools: deque[Future[IO[bytes]]] = deque(
            threads.submit(_list_range, filesystem, bucket, prefix, start, end)
            for start, end in itertools.pairwise(cuts)
        )
        try:
            while spools:
                with spools.popleft().result() as spool:
                    for keys in _spooled(spool):
                        yield [f"{bucket}/{key}" for key in keys]
        finally:
            threads.shutdown(cancel_futures=True)


def _request(filesystem: Any, bucket: str, prefix: str, **options: str) -> dict[str, Any]:
    def ask(_: float) -> dict[str, Any]:
        answer: dict[str, Any] = filesystem.call_s3("list_objects_v2", Bucket=bucket, Prefix=prefix, **options)
        return answer

    return persistently(ask, READ_SECONDS)


def _keys(answer: dict[str, Any]) -> list[str]:
    # Objects whose keys end with a slash are some tools' marks of empty folders.
    return [item["Key"] for item in answer.get("Contents", ()) if not item["Key"].endswith("/")]


def _cuts(filesystem: Any, bucket: str, prefix: str) -> list[str]:
    """Find keys that cut a listing into ranges, sorted: sub-prefixes near its top."""
    found = [prefix]
    for _ in range(_LEVELS):
        deeper: list[str] = []
        for parent in found[:RANGES]:
            answer = _request(filesystem, bucket, parent, Delimiter="/")
            deeper += [item["Prefix"] for item in answer.get("CommonPrefixes", ())]
        if not deeper:
            break
        found = deeper
        if len(found) >= RANGES // 2:
            break
    if found == [prefix]:
        return []
    step = -(-len(found) // (RANGES - 1))
    return sorted(found)[::step]


def _list_range(filesystem: Any, bucket: str, prefix: str, start: str | None, end: str | None) -> IO[bytes]:
    """List the keys from `start` on and before `end` into a spool."""
    spool = tempfile.SpooledTemporaryFile(SPOOL_BYTES)  # noqa: SIM115  the reader closes it
    # StartAfter leaves out a key equal to it: a cut ends with a slash, and such keys are no files.
    options = {} if start is None else {"StartAfter": start}
    while True:
        answer = _request(filesystem, bucket, prefix, **options)
        keys = _keys(answer)
        if end is not None:
            # S3 orders keys by their bytes, and Python texts by code points: the same order in UTF-8.
            keys = keys[: bisect.bisect_left(keys, end)]
        if keys:
            spool.write("\0".join([*keys, ""]).encode())
        is_last = not answer.get("IsTruncated") or (end is not None and answer["Contents"][-1]["Key"] >= end)
        if is_last:
            spool.seek(0)
            return spool
        options = {"ContinuationToken": answer["NextContinuationToken"]}


def _spooled(spool: IO[bytes]) -> Iterator[list[str]]:
    rest = b""
    while content := spool.read(SPOOL_BYTES):
        *keys, rest = (rest + content).split(b"\0")
        yield [key.decode() for key in keys]
