"""The manifest: one row for every input image, made once at the start of a run, before any work.

The inputs are streamed into a file of the driver's own (`stage_manifest`), where they are counted and checked;
nothing lies below the output until all checks have passed (`jobs.run.manifest_files`). All that is held of every row
is its id.
"""

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from jobs.errors import SettingsError
from jobs.inputs.archives.uris import without_place
from jobs.inputs.sources import BATCH_ROWS, InputBatch, Inputs
from jobs.storage import files as storage
from jobs.storage.hashing import hash64, stable_id
from saliency_core.methods.attribution import NO_LABEL

SCHEMA = pa.schema(
    [
        pa.field("image_id", pa.int64(), nullable=False),
        pa.field("image_uri", pa.string(), nullable=False),
        pa.field("mask_uri", pa.string()),
        pa.field("label", pa.int64(), nullable=False),
    ]
)

_MODULUS = 2**256


@dataclass(frozen=True, eq=False)
class StagedManifest:
    """The rows of a manifest in a local file, not yet below the output.

    Parameters
    ----------
    folder : tempfile.TemporaryDirectory
        Holds the file, and is removed when this object goes.
    images, masks : int
        Rows, and rows with a mask.
    digest : str
        See `row_digest`.
    left_out : dict
        Numbers of the files that were left out when a folder was listed, by extension.
    warnings : tuple of str
        What will make the run slow.
    """

    folder: "tempfile.TemporaryDirectory[str]"
    images: int
    masks: int
    digest: str
    left_out: dict[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows, of `SCHEMA`."""
        with pq.ParquetFile(_staged_file(self.folder)) as file:
            yield from file.iter_batches(BATCH_ROWS)


@dataclass(frozen=True, eq=False)
class KnownImages:
    """The images that a run has already; 16 bytes an image.

    Parameters
    ----------
    ids : int64 array (N,)
        Sorted.
    checks : uint64 array (N,)
        Hashes of the URIs, in the order of the ids.
    """

    ids: NDArray[np.int64]
    checks: NDArray[np.uint64]

    def contain(self, ids: NDArray[np.int64], uris: Sequence[str]) -> NDArray[np.bool_]:
        """Tell which images are known.

        Raises
        ------
        SettingsError
            If an id is known as that of another image.
        """
        if not len(self.ids):
            return np.zeros(len(ids), bool)
        places = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
        known: NDArray[np.bool_] = self.ids[places] == ids
        other = known & (self.checks[places] != uri_checks(uris))
        if other.any():
            index = int(np.argmax(other))
            raise SettingsError(
                f"the id {ids[index]} of {storage.redacted(uris[index])} belongs to another image of the run: "
                "give new images ids of their own"
            )
        return known


def row_digest(image_id: int, image_uri: str, mask_uri: str | None, label: int) -> int:
    """Return a number of 256 bits for a row; the digest of a manifest is the sum over its rows, in hexadecimal.

    A sum belongs to the set of rows, whatever their order: a run that was extended has the digest of one that had all
    images from the start.
    """
    content = repr((image_id, image_uri, mask_uri, label)).encode()
    return int.from_bytes(hashlib.sha256(content).digest(), "big")


def joined_digest(one: str, other: str) -> str:
    """Return the digest of the rows of two manifests together."""
    return f"{(int(one, 16) + int(other, 16)) % _MODULUS:064x}"


def stage_manifest(
    inputs: Inputs,
    label: int | None = None,
    class_names: Callable[[], Sequence[str] | None] = lambda: None,
    known: KnownImages | None = None,
) -> StagedManifest:
    """Stream the inputs into a local file, and check them.

    Parameters
    ----------
    inputs : Inputs
    label : int, optional
        The class to explain where an image has no label of its own; None: the recognised one.
    class_names : callable
        Returns the network's classes, by whose names labels may be given, or None for a method without a network. It
        is asked when the first label comes, so that what is wrong with the input is said before a network is loaded.
    known : KnownImages, optional
        Images to leave out.

    Raises
    ------
    SettingsError
        If the inputs cannot be read, a label is no class of the network, or an id stands for two rows.
    """
    folder = tempfile.TemporaryDirectory(prefix="saliency-manifest-")
    images = masks = total = 0
    all_ids = [np.empty(0, np.int64)]
    with pq.ParquetWriter(_staged_file(folder), SCHEMA, compression="zstd") as writer:
        for batch in inputs.batches:
            labels = _labels(batch.labels, label, class_names)
            ids = np.array(_ids(batch), np.int64)
            rows = _table(ids, batch, labels)
            if known is not None:
                rows = rows.filter(~known.contain(ids, batch.image_uris))
            images += rows.num_rows
            masks += rows.num_rows - rows["mask_uri"].null_count
            for row in zip(*(column.to_pylist() for column in rows.columns), strict=True):
                total += row_digest(*row)
            all_ids.append(rows["image_id"].to_numpy())
            writer.write_table(rows, row_group_size=BATCH_ROWS)
    digest = f"{total % _MODULUS:064x}"
    staged = StagedManifest(folder, images, masks, digest, dict(inputs.left_out), tuple(inputs.warnings))
    _check_ids(staged, np.concatenate(all_ids))
    return staged


def _staged_file(folder: "tempfile.TemporaryDirectory[str]") -> Path:
    return Path(folder.name) / "manifest.parquet"


def uri_checks(uris: Sequence[str]) -> NDArray[np.uint64]:
    """Return hashes of URIs, by which two images with one id are told apart."""
    # Not the hash that ids are made of: two URIs with one id have two of these.
    return np.fromiter((hash64(f"check {without_place(uri)}") for uri in uris), np.uint64, len(uris))


def _ids(batch: InputBatch) -> list[int]:
    return batch.ids if batch.ids is not None else [stable_id(without_place(uri)) for uri in batch.image_uris]


def _table(ids: NDArray[np.int64], batch: InputBatch, labels: list[int]) -> pa.Table:
    columns = {"image_id": ids, "image_uri": batch.image_uris, "mask_uri": batch.mask_uris, "label": labels}
    try:
        return pa.table(columns, schema=SCHEMA)
    except UnicodeEncodeError as error:
        raise SettingsError(f"a file's name is not UTF-8 ({error.object!r}): rename it") from error


def _check_ids(staged: StagedManifest, ids: NDArray[np.int64]) -> None:
    ids.sort()
    twice = np.unique(ids[1:][ids[1:] == ids[:-1]])
    if not len(twice):
        return
    example = next(
        row["image_uri"] for batch in staged.batches() for row in batch.to_pylist() if row["image_id"] == twice[0]
    )
    raise SettingsError(
        f"{len(twice)} ids stand for more than one row (such as {storage.redacted(example)}): "
        "list every image once, or give a column id with a number of its own for every row"
    )


def _labels(values: Sequence[Any], default: int | None, class_names: Callable[[], Sequence[str] | None]) -> list[int]:
    if default is None and not any(value is not None and value != "" for value in values):
        return [NO_LABEL] * len(values)
    names = class_names()
    numbers = {name: index for index, name in enumerate(names or ())}
    labels = []
    for value in values:
        if value is None or value == "":
            labels.append(NO_LABEL if default is None else default)
        elif isinstance(value, int | np.integer) and not isinstance(value, bool):
            labels.append(int(value))
        elif value in numbers:
            labels.append(numbers[value])
        elif isinstance(value, str) and value.lstrip("-").isdecimal():
            labels.append(int(value))
        else:
            raise SettingsError(f"the manifest's label {value!r} is neither a number nor a class of the network")
    wrong = [label for label in labels if label < NO_LABEL or (names is not None and label >= len(names))]
    if wrong:
        bounds = "0 or more" if names is None else f"0 to {len(names) - 1}"
        raise SettingsError(f"the label {wrong[0]} is not a class of the network ({bounds})")
    return labels
