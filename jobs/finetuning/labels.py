"""The labelled images of a run: what is trained on, what the epoch is chosen by, what is measured at the end."""

import dataclasses
import functools
import hashlib
import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from jobs.errors import SettingsError
from jobs.finetuning.settings import FinetuneSettings
from jobs.inputs.archives.parquet import read_labels
from jobs.inputs.archives.uris import member_of
from jobs.inputs.data_sets import read_data_set
from jobs.inputs.data_sets.listing import read_lines
from jobs.inputs.sources import is_table_of_uris, read_images
from jobs.storage import files as storage

PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Labelled:
    """Images with their classes, in columns: lists of names take some 60 bytes more an image.

    Parameters
    ----------
    uris : pyarrow.Array of large_string
    labels : int64 array
        One an image: an index into the class names.
    without_class : int
        Images that were left out since they have no class.
    """

    uris: pa.Array
    labels: NDArray[np.int64]
    without_class: int = 0

    @classmethod
    def of(cls, uris: Sequence[str], labels: Sequence[int]) -> "Labelled":
        """Make one of lists."""
        return cls(pa.array(uris, pa.large_string()), np.asarray(labels, np.int64))

    def chosen(self, places: NDArray[np.int64]) -> "Labelled":
        """Return some of the images."""
        return Labelled(self.uris.take(pa.array(places)), self.labels[places])

    def __len__(self) -> int:
        return len(self.uris)


@dataclass(frozen=True)
class Images:
    """All images of a run, in three parts that share none.

    Parameters
    ----------
    class_names : tuple of str
    train, validation, test : Labelled
        `test` may be empty.
    """

    class_names: tuple[str, ...]
    train: Labelled
    validation: Labelled
    test: Labelled

    @property
    def parts(self) -> dict[str, Labelled]:
        """The parts by name, without an empty one."""
        return {name: part for name in PARTS if len(part := getattr(self, name))}

    @property
    def sha256(self) -> str:
        """Digest of class names, images and labels."""
        digest = hashlib.sha256(repr(self.class_names).encode("utf-8", "surrogateescape"))
        for name, part in self.parts.items():
            digest.update(name.encode())
            for uri, label in zip(part.uris, part.labels.tolist(), strict=True):
                digest.update(repr((uri.as_py(), label)).encode())
        return digest.hexdigest()


@dataclass(frozen=True)
class _Named:
    """Images with the names of their classes; None: without a class."""

    uris: pa.Array
    names: pa.Array
    class_names: tuple[str, ...] | None = None


_Page = tuple[Sequence[str], Sequence[str | None]]
"""URIs, and the names of their classes."""


def list_images(settings: FinetuneSettings) -> Images:
    """List the images that the settings name, and settle the classes.

    Raises
    ------
    SettingsError
        If images or classes are missing, unreadable, do not fit each other, or are in two parts at once.
    """
    given = {"train": settings.split or "finetune", "validation": settings.validation, "test": settings.test}
    if settings.dataset is None:
        given["train"] = settings.images
    elif settings.test is None:
        given["test"] = "val"
    named = {part: _read(settings, source) for part, source in given.items() if source is not None}
    class_names = _class_names(settings, named["train"])
    parts = {part: _labelled(found, class_names, part) for part, found in named.items()}
    train = parts["train"]
    counts = np.bincount(train.labels, minlength=len(class_names))
    empty = [name for name, count in zip(class_names, counts, strict=True) if not count]
    if empty:
        raise SettingsError(
            f"{len(empty)} of {len(class_names)} classes have no training image (such as {empty[0]}): "
            "take them out of the list of classes, or add images"
        )
    validation, test = parts.get("validation"), parts.get("test", Labelled.of([], []))
    if validation is None:
        train, validation = hold_out(train, settings.validation_share, settings.seed)
    images = Images(class_names, train, validation, test)
    _check_apart(images)
    return images


def hold_out(images: Labelled, share: float, seed: int) -> tuple[Labelled, Labelled]:
    """Split off a share of every class, at random; a class with one image keeps it.

    Returns
    -------
    rest, held_out : Labelled

    Raises
    ------
    SettingsError
        If nothing would be held out.

    Examples
    --------
    >>> rest, held_out = hold_out(Labelled.of(list("abcdef"), [0, 0, 0, 0, 1, 1]), 0.5, seed=0)
    >>> held_out.labels
    array([0, 0, 1])
    """
    generator = np.random.default_rng(seed)
    labels = images.labels
    held = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        count = min(max(1, round(share * len(members))), len(members) - 1)
        held[generator.permutation(members)[:count]] = True
    if not held.any():
        raise SettingsError("every class has a single image, none can be held out: give --validation")
    rest, taken = (images.chosen(np.flatnonzero(where)) for where in (~held, held))
    return dataclasses.replace(rest, without_class=images.without_class), taken


def _read(settings: FinetuneSettings, source: str) -> _Named:
    if settings.dataset is not None and settings.root is not None:
        found = read_data_set(settings.dataset, settings.root, source, with_classes=True)
        return _named([(found.image_uris, found.class_names_of_images)], found.class_names)
    lowered = source.lower()
    if lowered.endswith(".txt"):
        raise SettingsError(
            f"the list {storage.redacted(source)} has no classes: "
            "give a folder for every class, or a manifest with the columns uri and label"
        )
    listed = _listed_names(settings)
    batches = read_images(source)
    batches = itertools.chain([next(batches)], batches)  # what is wrong with the input is said first
    if is_table_of_uris(source):
        return _named((batch.image_uris, [_name(label, listed) for label in batch.labels]) for batch in batches)
    prefix = storage.absolute(source).rstrip("/") + "/"
    return _named((batch.image_uris, [_class_of(uri, prefix, listed) for uri in batch.image_uris]) for batch in batches)


def _named(pages: Iterable[_Page], class_names: tuple[str, ...] | None = None) -> _Named:
    columns = (pa.large_string(), pa.string())
    try:
        chunks = [[pa.array(values, kind) for values, kind in zip(page, columns, strict=True)] for page in pages]
    except UnicodeEncodeError as error:
        raise SettingsError(f"a file's name is not UTF-8 ({error.object!r}): rename it") from error
    uris, names = (pa.chunked_array([chunk[place] for chunk in chunks], columns[place]) for place in (0, 1))
    return _Named(uris.combine_chunks(), names.combine_chunks(), class_names)


def _class_of(uri: str, prefix: str, listed: Sequence[str] | None) -> str | None:
    """Return the class that an image has by its place: a folder, in a bucket or in a tar, or a row with a label."""
    member = member_of(uri)
    if member is None:
        folders = uri.removeprefix(prefix).split("/")[:-1]
    elif member.archive.lower().endswith(".parquet"):
        labels = _labels_of_rows(member.archive)
        row = member.name.rpartition("/")[2]
        return _name(labels[int(row)], listed) if labels is not None and row.isdecimal() else None
    else:
        folders = member.archive.removeprefix(prefix).split("/")[:-1] if member.archive.startswith(prefix) else []
        if member.archive.lower().endswith(".tar"):
            folders += [name for name in member.name.split("/")[:-1] if name != "."]
    return folders[0] if folders else None


@functools.lru_cache(2)
def _labels_of_rows(archive: str) -> list[str | None] | None:
    try:
        return read_labels(archive, "label")
    except (OSError, ValueError, pa.ArrowException) as error:
        raise SettingsError(f"the labels of {storage.redacted(archive)} cannot be read: {error}") from error


def _name(label: Any, listed: Sequence[str] | None) -> str | None:
    """Return the class name of a manifest's label; a number counts the lines of the list of classes from 0."""
    if label is None or label == "":
        return None
    name = str(label)
    is_number = listed is not None and name not in listed and name.isdecimal() and int(name) < len(listed)
    return listed[int(name)] if listed is not None and is_number else name


def _listed_names(settings: FinetuneSettings) -> list[str] | None:
    return None if settings.class_names is None else read_lines(storage.absolute(settings.class_names))


def _class_names(settings: FinetuneSettings, train: _Named) -> tuple[str, ...]:
    if train.class_names is not None:
        names = train.class_names
    elif (listed := _listed_names(settings)) is not None:
        names = tuple(listed)
    else:
        found = set(train.names.drop_null().unique().to_pylist())
        are_numbers = all(name.isdecimal() for name in found)
        names = tuple(sorted(found, key=int) if are_numbers else sorted(found))
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise SettingsError(f"the class {twice[0]!r} stands twice in the list of classes")
    if len(names) < 2:
        raise SettingsError(
            f"{settings.source} has {len(names)} classes, training needs at least 2: "
            "give a folder for every class, or a manifest with the columns uri and label"
        )
    return names


def _labelled(found: _Named, class_names: Sequence[str], part: str) -> Labelled:
    numbers = pc.index_in(found.names, pa.array(class_names, pa.string()))
    places = np.flatnonzero(found.names.is_valid())
    strange = sorted(set(found.names.drop_null().unique().to_pylist()) - set(class_names))
    if strange:
        raise SettingsError(
            f"{len(strange)} classes of the {part} images are not in the list of classes (such as {strange[0]!r}): "
            "add them to it, or leave these images out"
        )
    if not len(places):
        raise SettingsError(f"none of the {len(found.uris)} {part} images has a class")
    labels = numbers.take(pa.array(places)).to_numpy().astype(np.int64)
    return Labelled(found.uris.take(pa.array(places)), labels, without_class=len(found.uris) - len(places))


def _check_apart(images: Images) -> None:
    parts = list(images.parts.items())
    for index, (name, part) in enumerate(parts):
        for other, before in parts[:index]:
            both = part.uris.filter(pc.is_in(part.uris, before.uris))
            if len(both):
                raise SettingsError(
                    f"{len(both)} images are {other} and {name} images at once "
                    f"(such as {storage.redacted(both[0].as_py())}): give sets that share none"
                )
        twice = len(part.uris) - len(part.uris.unique())
        if twice:
            raise SettingsError(f"{twice} {name} images are named twice: name each once")
