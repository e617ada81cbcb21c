"""The manifest: one row for every input image, made once at the start of a run and cut into shards.

A shard is the unit in which work is done and kept: one row group of the manifest, one task in every step of the
pipeline, one file of results. What is finished can be seen from the names of the files alone.
"""

import csv
import dataclasses
import hashlib
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from jobs import storage
from jobs.data_sets import read_data_set
from jobs.settings import SaliencySettings, SettingsError
from saliency_core.erasure import NO_LABEL
from saliency_core.masks import MaskFormat

SCHEMA = pa.schema(
    [
        pa.field("image_id", pa.int64(), nullable=False),
        pa.field("image_uri", pa.string(), nullable=False),
        pa.field("mask_uri", pa.string()),
        pa.field("label", pa.int64(), nullable=False),
    ]
)
IMAGE_EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif")
FOLDER = "_manifest"
SHARDS_PER_FILE = 100
"""A task reads one file to find its shard: small, however long the whole manifest is."""

MOST_ROWS_PER_SHARD = 100
LEAST_ROWS_PER_SHARD = 8


@dataclass(frozen=True)
class Manifest:
    """All input images of a run.

    Parameters
    ----------
    table : pyarrow.Table
        Rows of `SCHEMA`; label is -1 where the network's own recognition is wanted.
    sha256 : str
        Digest of the rows.
    """

    table: pa.Table
    sha256: str

    @property
    def masks(self) -> int:
        """Number of images that have a mask."""
        return self.table.num_rows - self.table["mask_uri"].null_count


def stable_id(uri: str) -> int:
    """Return a positive 63-bit number that belongs to a URI: the same in every run.

    Examples
    --------
    >>> stable_id("s3://bucket/a.jpg") == stable_id("s3://bucket/a.jpg") != stable_id("s3://bucket/b.jpg")
    True
    """
    digest = hashlib.blake2b(uri.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


@dataclass(frozen=True)
class Inputs:
    """The images that the settings name, as listed or read.

    Parameters
    ----------
    image_uris : list of str
    mask_uris : list of str or None
        One an image.
    labels : list
        One an image: a class index, a class name or None.
    ids : list of int, optional
        The manifest's own ids.
    mask_format : {"auto", "binary", "voc"}
        How the masks are coded, where the source knows it.
    """

    image_uris: list[str]
    mask_uris: list[str | None]
    labels: list[Any]
    ids: list[int] | None
    mask_format: MaskFormat = "auto"


def list_inputs(settings: SaliencySettings) -> Inputs:
    """List the inputs that the settings name, and pair them with their masks.

    Raises
    ------
    SettingsError
        If the input is missing, empty, unreadable or ambiguous.
    """
    if settings.dataset is not None and settings.root is not None:
        found = read_data_set(settings.dataset, settings.root, settings.split, with_classes=settings.class_labels)
        return Inputs(found.image_uris, found.mask_uris, found.class_names_of_images, None, found.mask_format)
    assert settings.images is not None
    inputs = _read_input(settings.images)
    if not inputs.image_uris:
        raise SettingsError(
            f"there are no images at {storage.redacted(settings.images)}: "
            f"looked for {', '.join(IMAGE_EXTENSIONS)}, or give a .txt, .csv or .parquet list of them"
        )
    if settings.masks is None:
        return inputs
    if any(mask is not None for mask in inputs.mask_uris):
        raise SettingsError("the manifest names masks already: leave --masks out, or the column mask_uri")
    pairs = _pair_masks(inputs.image_uris, settings.images, settings.masks)
    return dataclasses.replace(inputs, mask_uris=pairs)


def build_manifest(inputs: Inputs, label: int | None, class_names: Sequence[str] | None) -> Manifest:
    """Make the manifest of a run.

    Parameters
    ----------
    inputs : Inputs
    label : int, optional
        The class to explain where an image has no label of its own; None: the recognised one.
    class_names : sequence of str, optional
        The network's classes: labels may be given by these names. None for a method without a network.

    Returns
    -------
    Manifest

    Raises
    ------
    SettingsError
        If a label is no class of the network, or an id stands for two rows.
    """
    uris, masks = inputs.image_uris, inputs.mask_uris
    labels = _labels(inputs.labels, label, class_names)
    ids = inputs.ids if inputs.ids is not None else [stable_id(uri) for uri in uris]
    twice = [identifier for identifier, count in Counter(ids).items() if count > 1]
    if twice:
        example = uris[ids.index(twice[0])]
        raise SettingsError(
            f"{len(twice)} ids stand for more than one row (such as {storage.redacted(example)}): "
            "list every image once, or give a column id with a number of its own for every row"
        )
    table = pa.table({"image_id": ids, "image_uri": uris, "mask_uri": masks, "label": labels}, schema=SCHEMA)
    return Manifest(table, _digest(table))


def shard_rows(count: int, slots: int, wanted: int | None) -> int:
    """Choose the number of images in a shard.

    Parameters
    ----------
    count : int
        Images in all.
    slots : int
        CPU slots that work on them: small inputs are cut so that each gets several shards.
    wanted : int, optional
        The user's own choice.
    """
    if wanted is not None:
        return wanted
    return min(MOST_ROWS_PER_SHARD, max(LEAST_ROWS_PER_SHARD, -(-count // (4 * slots))))


def write_manifest(manifest: Manifest, output: str, rows_per_shard: int) -> None:
    """Write the manifest below `output`: a row group a shard, a file for every `SHARDS_PER_FILE` of them."""
    rows_per_file = rows_per_shard * SHARDS_PER_FILE
    for number, start in enumerate(range(0, manifest.table.num_rows, rows_per_file)):
        buffer = io.BytesIO()
        pq.write_table(manifest.table.slice(start, rows_per_file), buffer, row_group_size=rows_per_shard)
        storage.write_bytes(_manifest_file(output, number), buffer.getvalue())


def stored_manifest(output: str) -> Manifest:
    """Read the manifest of a run back."""
    files = storage.list_files(storage.join(output, FOLDER))
    tables = [pq.read_table(io.BytesIO(storage.read_bytes(uri))).cast(SCHEMA) for uri in files]
    table = pa.concat_tables(tables)
    return Manifest(table, _digest(table))


def read_shard(output: str, shard: int) -> pa.Table:
    """Read the rows of one shard of the manifest of a run."""
    number, row_group = divmod(shard, SHARDS_PER_FILE)
    content = storage.read_bytes(_manifest_file(output, number))
    return pq.ParquetFile(io.BytesIO(content)).read_row_group(row_group).cast(SCHEMA)


def _manifest_file(output: str, number: int) -> str:
    return storage.join(output, FOLDER, f"part-{number:06d}.parquet")


def _read_input(images: str) -> Inputs:
    lowered = images.lower()
    try:
        if lowered.endswith((".parquet", ".csv")):
            return _read_table(images)
        if lowered.endswith(".txt"):
            lines = storage.read_bytes(images).decode("utf-8").splitlines()
            uris = [storage.absolute(line.strip()) for line in lines if line.strip()]
        else:
            uris = [uri for uri in storage.list_files(storage.absolute(images)) if _is_image(uri)]
    except (OSError, UnicodeDecodeError, ValueError, ImportError) as error:
        if isinstance(error, SettingsError):
            raise
        reason = storage.redacted(str(error) or type(error).__name__)
        raise SettingsError(f"the input {storage.redacted(images)} cannot be read: {reason}") from error
    return Inputs(uris, [None] * len(uris), [None] * len(uris), None)


def _read_table(uri: str) -> Inputs:
    content = storage.read_bytes(uri)
    if uri.lower().endswith(".csv"):
        header = next(csv.reader(io.StringIO(content[: 1 << 16].decode("utf-8", "replace"))), [])
        # Names such as 0001.png and labels such as 007 are texts, whatever they look like.
        types = {name: pa.string() for name in header if name in ("uri", "mask_uri")}
        options = pyarrow.csv.ConvertOptions(column_types=types, strings_can_be_null=True)
        table = pyarrow.csv.read_csv(io.BytesIO(content), convert_options=options)
    else:
        table = pq.read_table(io.BytesIO(content))
    if "uri" not in table.column_names:
        found = ", ".join(table.column_names)
        raise SettingsError(f"the manifest {storage.redacted(uri)} has no column uri (it has {found})")
    folder = uri.rsplit("/", 1)[0] if "/" in uri else "."

    def located(value: str | None) -> str | None:
        # Relative names are taken from the manifest's own folder.
        if value is None:
            return None
        is_whole = "://" in value or value.startswith("/")
        return storage.absolute(value if is_whole else storage.join(folder, value))

    columns = {name: table[name].to_pylist() for name in table.column_names}
    uris = [located(value) for value in columns["uri"]]
    if any(value is None for value in uris):
        raise SettingsError(f"the manifest {storage.redacted(uri)} has rows without a uri")
    nothing = [None] * len(uris)
    ids = columns.get("id")
    if ids is not None and not all(isinstance(value, int) and -(2**63) <= value < 2**63 for value in ids):
        raise SettingsError("the manifest's column id must hold a 64-bit integer in every row")
    masks = [located(value) for value in columns.get("mask_uri", nothing)]
    return Inputs([value for value in uris if value], masks, columns.get("label", nothing), ids)


def _is_image(uri: str) -> bool:
    name = uri.rsplit("/", 1)[-1]
    return name.lower().endswith(IMAGE_EXTENSIONS) and not name.startswith(".")


def _pair_masks(uris: Sequence[str], images: str, masks: str) -> list[str | None]:
    root = storage.absolute(masks)
    try:
        found = [uri for uri in storage.list_files(root) if _is_image(uri)]
    except OSError as error:
        raise SettingsError(f"the masks at {storage.redacted(masks)} cannot be read: {error}") from error
    by_name: dict[str, str] = {}
    for name, uri in zip(storage.parent_names(found, root), found, strict=True):
        if name in by_name:
            raise SettingsError(f"two masks have the name {name}: {by_name[name]} and {uri}")
        by_name[name] = uri
    names = storage.parent_names(uris, storage.absolute(images))
    if images.lower().endswith(".txt"):
        names = (name.rsplit("/", 1)[-1] for name in names)
    pairs = [by_name.get(name) for name in names]
    if not any(pairs):
        raise SettingsError(
            f"no mask at {storage.redacted(masks)} has the name of an image: "
            "masks are paired with images by their name without the extension"
        )
    return pairs


def _labels(values: Sequence, default: int | None, class_names: Sequence[str] | None) -> list[int]:
    numbers = {name: index for index, name in enumerate(class_names or ())}
    labels = []
    for value in values:
        if value is None or value == "":
            labels.append(NO_LABEL if default is None else default)
        elif isinstance(value, int | np.integer) and not isinstance(value, bool):
            labels.append(int(value))
        elif value in numbers:
            labels.append(numbers[value])
        else:
            raise SettingsError(f"the manifest's label {value!r} is neither a number nor a class of the network")
    classes = len(class_names) if class_names is not None else None
    wrong = [label for label in labels if label < NO_LABEL or (classes is not None and label >= classes)]
    if wrong:
        raise SettingsError(f"the label {wrong[0]} is not a class of the network (0 to {(classes or 0) - 1})")
    return labels


def _digest(table: pa.Table) -> str:
    digest = hashlib.sha256()
    for batch in table.combine_chunks().to_batches(max_chunksize=100_000):
        for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            digest.update(repr(row).encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
