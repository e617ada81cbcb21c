"""The images that the settings name, batch by batch: folders, lists, tables, archives and data sets become one stream.

Nothing here holds all names. Masks are paired through an index, see `jobs.inputs.masks`.
"""

import csv
import io
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from jobs.errors import ArchiveError, SettingsError
from jobs.inputs.archives.columns import Columns, holds_bytes
from jobs.inputs.archives.listing import ArchiveReader, expanded, is_saved_cache, refuse_compressed
from jobs.inputs.archives.pairs import Pair
from jobs.inputs.archives.parquet import parquet_footer
from jobs.inputs.archives.uris import ENDINGS, is_archive, member_of
from jobs.inputs.data_sets import read_data_set
from jobs.inputs.listing import IMAGE_EXTENSIONS, described, iterate_files, only_images, what_it_is
from jobs.inputs.masks import index_masks
from jobs.storage import files as storage
from saliency_core.imaging.options import MaskFormat

BATCH_ROWS = 10_000
_ANY_COLUMNS = Columns()


class InputSettings(Protocol):
    """What a job's settings say of its inputs."""

    @property
    def images(self) -> str | None:
        """A folder or prefix, a text file of URIs or a table."""

    @property
    def masks(self) -> str | None:
        """A folder or prefix of masks, paired with the images by name."""

    @property
    def dataset(self) -> str | None:
        """Instead of both: a data set by name."""

    @property
    def root(self) -> str | None:
        """Where it was unpacked."""

    @property
    def split(self) -> str | None:
        """Which split of it."""

    @property
    def class_labels(self) -> bool:
        """Whether its classes are the labels."""

    @property
    def image_column(self) -> str | None:
        """The column of encoded images in Parquet and Arrow files."""

    @property
    def mask_column(self) -> str | None:
        """That of their masks."""


@dataclass(frozen=True)
class InputBatch:
    """Some images.

    Parameters
    ----------
    image_uris : list of str
    mask_uris : list of str or None
        One an image.
    labels : list
        One an image: a class index, a class name or None.
    ids : list of int, optional
        The table's own ids; every batch of an input has them, or none.
    """

    image_uris: list[str]
    mask_uris: list[str | None]
    labels: list[Any]
    ids: list[int] | None = None


@dataclass(frozen=True)
class Inputs:
    """All images that the settings name.

    Parameters
    ----------
    batches : iterator of InputBatch
        To be read once; raises a SettingsError where the input turns out to be unreadable, empty or ambiguous.
    mask_format : {"auto", "binary", "voc", "ids"}
        How the masks are coded, where the source knows it.
    left_out : Counter of str
        Files of a folder that are no images by their extension; complete when the batches have been read.
    warnings : list of str
        What will make the run slow; likewise.
    """

    batches: Iterator[InputBatch]
    mask_format: MaskFormat = "auto"
    left_out: Counter[str] = field(default_factory=Counter)
    warnings: list[str] = field(default_factory=list)


def open_inputs(settings: InputSettings) -> Inputs:
    """Begin to list or read the inputs that the settings name, and to pair them with their masks.

    Raises
    ------
    SettingsError
        If a data set is incomplete; all other errors come out of the batches.
    """
    if settings.dataset is not None and settings.root is not None:
        found = read_data_set(settings.dataset, settings.root, settings.split, with_classes=settings.class_labels)
        listed = (
            InputBatch(found.image_uris[part], found.mask_uris[part], list(found.class_names_of_images[part]))
            for part in (slice(start, start + BATCH_ROWS) for start in range(0, len(found.image_uris), BATCH_ROWS))
        )
        return Inputs(listed, found.mask_format)
    assert settings.images is not None
    left_out: Counter[str] = Counter()
    warnings: list[str] = []
    batches = read_images(settings.images, left_out, Columns(settings.image_column, settings.mask_column), warnings)
    if settings.masks is not None:
        batches = _paired(batches, settings.images, settings.masks)
    return Inputs(batches, left_out=left_out, warnings=warnings)


def read_images(
    images: str,
    left_out: Counter[str] | None = None,
    columns: Columns = _ANY_COLUMNS,
    warnings: list[str] | None = None,
) -> Iterator[InputBatch]:
    """Yield the images of a folder, a text file of URIs, a table or archives.

    Parameters
    ----------
    images : str
    left_out : Counter of str, optional
        Gets the numbers of other files in the folder, by extension.
    columns : Columns, optional
        Of images and masks in Parquet and Arrow files.
    warnings : list of str, optional
        Gets sentences on what is slow to read.

    Raises
    ------
    SettingsError
        If it cannot be read, or has none.
    """
    left_out = Counter() if left_out is None else left_out
    found = _read_input(images, left_out, columns, [] if warnings is None else warnings)
    return _checked(images, found, left_out)


def _checked(images: str, batches: Iterator[InputBatch], left_out: Counter[str]) -> Iterator[InputBatch]:
    """Pass batches on; an empty input and every error of the storage become one sentence."""
    is_empty = True
    while True:
        try:
            batch = next(batches, None)
        except SettingsError:
            raise
        except (OSError, ValueError, ImportError, pa.ArrowException) as error:
            reason = storage.redacted(" ".join(str(error).split()) or type(error).__name__)
            raise SettingsError(f"the input {storage.redacted(images)} cannot be read: {reason}") from error
        if batch is None:
            break
        is_empty = is_empty and not batch.image_uris
        yield batch
    if is_empty:
        unread = {extension: count for extension, count in left_out.items() if what_it_is(extension)}
        if unread:
            raise SettingsError(
                f"there are no images at {storage.redacted(images)} in a format that is read here: {described(unread)}"
            )
        raise SettingsError(
            f"there are no images at {storage.redacted(images)}: "
            f"looked for {', '.join((*IMAGE_EXTENSIONS, *ENDINGS))}, or give a .txt, .csv or .parquet list of them"
        )


def _read_input(images: str, left_out: Counter[str], columns: Columns, warnings: list[str]) -> Iterator[InputBatch]:
    lowered = images.lower()
    if is_table_of_uris(images, columns):
        yield from _read_table(images)
        return
    refuse_compressed(images)
    is_folder = not lowered.endswith((".txt", *ENDINGS))
    pages: Iterable[list[str]]
    if lowered.endswith(".txt"):
        pages = _read_lines(images)
    elif is_folder:
        pages = iterate_files(storage.absolute(images))
    else:
        pages = [[storage.absolute(images)]]
    reader = ArchiveReader(columns, left_out)
    for page in pages:
        files = [uri for uri in page if not is_archive(uri)]
        archives = (name for uri in page if is_archive(uri) and not is_saved_cache(uri) for name in expanded(uri))
        for uri in () if is_folder else files:
            refuse_compressed(uri)
        for found in only_images([files], left_out) if is_folder else [files]:
            if found:
                nothing = [None] * len(found)
                yield InputBatch(found, list(nothing), list(nothing))
        for pairs in reader.pages(archives, strictly=is_folder):
            for start in range(0, len(pairs), BATCH_ROWS):
                yield _of_archive(pairs[start : start + BATCH_ROWS])
    reader.check()
    warnings += reader.warnings


def is_table_of_uris(uri: str, columns: Columns = _ANY_COLUMNS) -> bool:
    """Tell whether an input is a table that lists images: a CSV file, or a Parquet file that does not hold them."""
    if uri.lower().endswith(".csv"):
        return True
    if not uri.lower().endswith(".parquet") or columns.image is not None or expanded(uri) != [uri]:
        return False
    try:
        schema, _ = parquet_footer(storage.absolute(uri))
    except ArchiveError:
        return True
    return "uri" in schema.names or not any(holds_bytes(field.type) for field in schema)


def _of_archive(pairs: list[Pair]) -> InputBatch:
    masks = [mask.placed if mask is not None else None for _, mask in pairs]
    return InputBatch([image.placed for image, _ in pairs], masks, [None] * len(pairs))


def _read_lines(uri: str) -> Iterator[list[str]]:
    folder = _folder(uri)
    with storage.LocalCopy(uri) as path, path.open(encoding="utf-8-sig", newline=None) as text:
        lines = (_unquoted(line.strip()) for line in text)
        uris = (_located(line, folder) for line in lines if line)
        while page := list(itertools.islice(uris, BATCH_ROWS)):
            yield page


def _folder(uri: str) -> str:
    """Return the folder of a list or table, from which relative names are taken."""
    return uri.rsplit("/", 1)[0] if "/" in uri else "."


def _unquoted(line: str) -> str:
    return line[1:-1] if len(line) > 2 and line[0] == line[-1] == '"' else line


def _read_table(uri: str) -> Iterator[InputBatch]:
    folder = _folder(uri)
    has_ids = False
    for batch in _table_batches(uri):
        columns = {name: batch.column(name).to_pylist() for name in batch.schema.names}
        if not all(value and value.strip() for value in columns["uri"]):
            raise SettingsError(f"the manifest {storage.redacted(uri)} has rows without a uri")
        uris = [_located(value, folder) for value in columns["uri"]]
        ids = columns.get("id")
        has_ids = has_ids or ids is not None
        if ids is not None and not all(isinstance(value, int) and -(2**63) <= value < 2**63 for value in ids):
            raise SettingsError("the manifest's column id must hold a 64-bit integer in every row")
        nothing = [None] * len(uris)
        masks = [
            _located(value, folder) if value and value.strip() else None for value in columns.get("mask_uri", nothing)
        ]
        yield InputBatch(uris, masks, columns.get("label", nothing), ids)


def _located(value: str, folder: str) -> str:
    is_whole = "://" in value or value.startswith("/")
    return storage.absolute(value if is_whole else storage.join(folder, value))


def _table_batches(uri: str) -> Iterator[pa.RecordBatch]:
    wanted = ("uri", "mask_uri", "label", "id")
    with storage.LocalCopy(uri) as path, path.open("rb") as file:
        if uri.lower().endswith(".csv"):
            beginning = file.read(1 << 16).decode("utf-8-sig", "replace")
            headers = {mark: next(csv.reader(io.StringIO(beginning), delimiter=mark), []) for mark in ",;\t"}
            # Spreadsheets write semicolons where the comma is the decimal mark.
            delimiter = next((mark for mark, names in headers.items() if "uri" in names), ",")
            header = headers[delimiter]
            _check_columns(uri, header)
            file.seek(0)
            # Texts, whatever they look like: 0001.png stays a name. Labels are told apart one by one.
            names = [name for name in wanted if name in header]
            options = pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                include_columns=names,
                strings_can_be_null=True,
                null_values=[""],  # a class may be called null, and a file NA
            )
            # Names may hold line breaks, within quotes.
            parsing = pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
            with pyarrow.csv.open_csv(file, parse_options=parsing, convert_options=options) as reader:
                for batch in reader:
                    for start in range(0, batch.num_rows, BATCH_ROWS):
                        yield _with_numbers(batch.slice(start, BATCH_ROWS))
        else:
            table = pq.ParquetFile(file)
            _check_columns(uri, table.schema_arrow.names)
            names = [name for name in wanted if name in table.schema_arrow.names]
            yield from table.iter_batches(BATCH_ROWS, columns=names)


def _check_columns(uri: str, names: Sequence[str]) -> None:
    if "uri" not in names:
        raise SettingsError(f"the manifest {storage.redacted(uri)} has no column uri (it has {', '.join(names)})")


def _with_numbers(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Make numbers of a CSV file's ids, and nothing of its empty labels."""
    if "id" not in batch.schema.names:
        return batch
    try:
        ids = batch.column("id").cast(pa.int64())
    except pa.ArrowInvalid as error:
        raise SettingsError("the manifest's column id must hold a 64-bit integer in every row") from error
    return batch.set_column(batch.schema.get_field_index("id"), "id", ids)


def _within_archive(uri: str) -> str:
    """Return the name that an image has in its archive; other URIs as they are."""
    member = member_of(uri)
    return uri if member is None else member.name


def _paired(batches: Iterator[InputBatch], images: str, masks: str) -> Iterator[InputBatch]:
    # The input first: what is wrong with it is said before the masks are listed.
    first = next(batches)
    index = index_masks(masks)
    is_list = images.lower().endswith((".txt", ".csv", *ENDINGS))
    pairs = 0
    for batch in itertools.chain([first], batches):
        if any(mask is not None for mask in batch.mask_uris):
            raise SettingsError("the manifest names masks already: leave --masks out, or the column mask_uri")
        names: Iterable[str] = storage.parent_names(map(_within_archive, batch.image_uris), storage.absolute(images))
        if is_list:
            names = (name.rsplit("/", 1)[-1] for name in names)
        found = index.find(list(names))
        pairs += len(found) - found.count(None)
        yield InputBatch(batch.image_uris, found, batch.labels, batch.ids)
    if not pairs:
        raise SettingsError(
            f"no mask at {storage.redacted(masks)} has the name of an image: "
            "masks are paired with images by their name without the extension"
        )
