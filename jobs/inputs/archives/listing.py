"""The images of many archives, in order: their indexes are made side by side, and none is held for long."""

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from jobs.errors import SettingsError
from jobs.inputs.archives.arrow import index_arrow
from jobs.inputs.archives.columns import ColumnError, Columns, chosen_columns
from jobs.inputs.archives.pairs import ArchiveIndex, Pair, images_and_masks
from jobs.inputs.archives.parquet import largest_row_group, parquet_footer
from jobs.inputs.archives.tar import index_tar
from jobs.inputs.archives.uris import COMPRESSED_ENDINGS, Member, is_archive
from jobs.storage import files as storage
from jobs.storage.surroundings import fault_of_surroundings

INDEXED_AT_ONCE = 16
MOST_BRACES = 1_000_000
MOST_READ_AT_ONCE = 2**27
"""Bytes read for one image from which on a warning is due: a shard reads them for some dozens."""

_BRACES = re.compile(r"\{(?P<first>[0-9]+)\.\.(?P<last>[0-9]+)\}|\{(?P<names>[^{}]*,[^{}]*)\}")


def index_archive(uri: str, columns: Columns, *, strictly: bool = False) -> ArchiveIndex:
    """Find the images of an archive and their masks.

    Parameters
    ----------
    uri : str
    columns : Columns
        Of a table's images and masks.
    strictly : bool
        Of a table, take only a column that is named as images are.

    Returns
    -------
    ArchiveIndex
        With a fault where the archive is missing or damaged.

    Raises
    ------
    ColumnError
        If a table has no column that may be taken.
    SettingsError
        If no archive can be read from here.
    """
    try:
        if uri.lower().endswith(".tar"):
            tar = index_tar(uri)
            index = ArchiveIndex(fault=tar.fault, fault_at=tar.fault_at)
            index.pairs = images_and_masks(tar.members, index.left_out)
            return index
        if uri.lower().endswith(".arrow"):
            return index_arrow(uri, columns, strictly=strictly)
        return _index_parquet(uri, columns, strictly)
    except ColumnError:
        raise
    except (ValueError, OSError) as error:  # of libraries as well: names in a damaged file that are no UTF-8
        if (reason := fault_of_surroundings(error, uri)) is not None:
            raise SettingsError(reason) from None
        return ArchiveIndex(fault=error)


def _index_parquet(uri: str, columns: Columns, strictly: bool) -> ArchiveIndex:
    schema, rows = parquet_footer(uri)
    try:
        found = chosen_columns(schema, columns, strictly=strictly)
    except ColumnError as error:
        raise ColumnError(f"{uri} has {error}") from None
    pairs: list[Pair] = [
        (Member(uri, f"{found.image}/{row}"), Member(uri, f"{found.mask}/{row}") if found.mask else None)
        for row in range(rows)
    ]
    assert found.image is not None
    return ArchiveIndex(pairs, read_at_once=largest_row_group(uri, found.image))


class ArchiveReader:
    """Reads the images of the archives of one input.

    Parameters
    ----------
    columns : Columns
    left_out : Counter of str
        Gets the numbers of members, and of files, that are no images.
    """

    def __init__(self, columns: Columns, left_out: Counter[str]) -> None:
        self.columns = columns
        self.left_out = left_out
        self._at_once: list[tuple[int, str]] = []
        self._held: list[Pair] = []
        self._fault: Exception | None = None
        self._found_any = False

    def pages(self, archives: Iterable[str], *, strictly: bool = False) -> Iterator[list[Pair]]:
        """Yield the images of each archive, one page an archive; what cannot be read of it is a last image.

        Parameters
        ----------
        archives : iterable of str
        strictly : bool
            Leave tables out that are not clearly ones of images, as a folder may hold.

        Raises
        ------
        SettingsError
            If which column is meant has to be said, or no archive can be read from here.
        """
        with ThreadPoolExecutor(INDEXED_AT_ONCE) as threads:
            remaining = iter(archives)
            while handful := list(itertools.islice(remaining, 2 * INDEXED_AT_ONCE)):
                found = threads.map(lambda uri: self._index(uri, strictly), handful)
                for uri, index in zip(handful, found, strict=True):
                    if index is None:
                        self.left_out[f".{uri.rsplit('.', 1)[-1].lower()}"] += 1
                        continue
                    self.left_out.update(index.left_out)
                    if index.read_at_once > MOST_READ_AT_ONCE:
                        self._at_once = [max([*self._at_once, (index.read_at_once, uri)])]
                    pairs = index.pairs
                    self._found_any = self._found_any or bool(pairs)
                    if index.fault is not None:
                        self._fault = self._fault or index.fault
                        pairs = [*pairs, (Member(uri, "", fault_at=index.fault_at), None)]
                    self._held += pairs
                    if self._found_any and self._held:
                        yield self._held
                        self._held = []

    @property
    def warnings(self) -> list[str]:
        """What is known to make the archives slow to read, in sentences."""
        return [
            f"{storage.redacted(uri)} has row groups with up to {size // 10**6} MB of images, all of them read and "
            "held for every shard that has one of them: write the file anew with row groups of about 100 images"
            for size, uri in self._at_once
        ]

    def check(self) -> None:
        """Raise a SettingsError if all that was found are archives that cannot be read."""
        if self._fault is not None and not self._found_any:
            reason = storage.redacted(" ".join(str(self._fault).split()) or type(self._fault).__name__)
            more = f", as {len(self._held) - 1} others" if len(self._held) > 1 else ""
            raise SettingsError(f"no archive can be read: {reason}{more}")

    def _index(self, uri: str, strictly: bool) -> ArchiveIndex | None:
        try:
            return index_archive(uri, self.columns, strictly=strictly)
        except ColumnError as error:
            if strictly:
                return None
            raise SettingsError(storage.redacted(str(error))) from None


def is_saved_cache(uri: str) -> bool:
    """Tell whether a file is one that ``datasets`` keeps beside a data set that it saved."""
    return uri.rsplit("/", 1)[-1].startswith(("cache-", "tmp")) and uri.endswith(".arrow")


def refuse_compressed(uri: str) -> None:
    """Raise a SettingsError for a tar that is compressed."""
    if uri.lower().endswith(COMPRESSED_ENDINGS):
        raise SettingsError(
            f"{storage.redacted(uri)} is compressed: members of such an archive cannot be read one by one. "
            "Unpack it to a .tar; images gain nothing by it"
        )


def expanded(uri: str) -> list[str]:
    """Return the archives that a list with braces names; other names alone, as they are.

    Raises
    ------
    SettingsError
        If they are too many.

    Examples
    --------
    >>> expanded("s3://bucket/{train,val}-{08..10}.tar")[1:4]
    ['s3://bucket/train-09.tar', 's3://bucket/train-10.tar', 's3://bucket/val-08.tar']
    >>> expanded("s3://bucket/{1,2}.jpg")
    ['s3://bucket/{1,2}.jpg']
    """
    found = [uri]
    while is_archive(uri) and (braces := _BRACES.search(found[0])):
        if braces["names"] is not None:
            parts = braces["names"].split(",")
        else:
            first, last = int(braces["first"]), int(braces["last"])
            if not 0 <= last - first < MOST_BRACES:
                raise SettingsError(f"the range {braces[0]} runs backwards, or has more than {MOST_BRACES} numbers")
            width = len(braces["first"])
            parts = [f"{number:0{width}d}" for number in range(first, last + 1)]
        if len(found) * len(parts) > MOST_BRACES:
            raise SettingsError(f"{storage.redacted(uri)} names more than {MOST_BRACES} archives")
        found = [_BRACES.sub(part.replace("\\", r"\\"), name, count=1) for name in found for part in parts]
    return found
