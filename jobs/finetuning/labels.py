"""The labelled images of a run: what is trained on, what the epoch is chosen by, what is measured at the end."""

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jobs.errors import SettingsError
from jobs.finetuning.settings import FinetuneSettings
from jobs.inputs.data_sets import read_data_set
from jobs.inputs.data_sets.listing import read_lines
from jobs.inputs.sources import read_images
from jobs.storage import files as storage

PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Labelled:
    """Images with their classes.

    Parameters
    ----------
    uris : list of str
    labels : list of int
        One an image: an index into the class names.
    without_class : int
        Images that were left out since they have no class.
    """

    uris: list[str]
    labels: list[int]
    without_class: int = 0

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
            for row in zip(part.uris, part.labels, strict=True):
                digest.update(repr(row).encode("utf-8", "surrogateescape"))
        return digest.hexdigest()


@dataclass(frozen=True)
class _Named:
    """Images with the names of their classes; None: without a class."""

    uris: list[str]
    names: list[str | None]
    class_names: tuple[str, ...] | None = None


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
    validation, test = parts.get("validation"), parts.get("test", Labelled([], []))
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
    >>> rest, held_out = hold_out(Labelled(list("abcdef"), [0, 0, 0, 0, 1, 1]), 0.5, seed=0)
    >>> held_out.labels
    [0, 0, 1]
    """
    generator = np.random.default_rng(seed)
    labels = np.asarray(images.labels)
    held = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        count = min(max(1, round(share * len(members))), len(members) - 1)
        held[generator.permutation(members)[:count]] = True
    if not held.any():
        raise SettingsError("every class has a single image, none can be held out: give --validation")
    rest, taken = (
        Labelled([images.uris[i] for i in chosen], [images.labels[i] for i in chosen])
        for chosen in (np.flatnonzero(~held), np.flatnonzero(held))
    )
    return dataclasses.replace(rest, without_class=images.without_class), taken


def _read(settings: FinetuneSettings, source: str) -> _Named:
    if settings.dataset is not None and settings.root is not None:
        found = read_data_set(settings.dataset, settings.root, source, with_classes=True)
        return _Named(found.image_uris, found.class_names_of_images, found.class_names)
    lowered = source.lower()
    if lowered.endswith(".txt"):
        raise SettingsError(
            f"the list {storage.redacted(source)} has no classes: "
            "give a folder for every class, or a manifest with the columns uri and label"
        )
    if lowered.endswith((".parquet", ".csv")):
        listed = _listed_names(settings)
        batches = list(read_images(source))
        uris = [uri for batch in batches for uri in batch.image_uris]
        return _Named(uris, [_name(label, listed) for batch in batches for label in batch.labels])
    uris = [uri for batch in read_images(source) for uri in batch.image_uris]
    prefix = storage.absolute(source).rstrip("/") + "/"
    folders = [uri.removeprefix(prefix).split("/") for uri in uris]
    return _Named(uris, [parts[0] if len(parts) > 1 else None for parts in folders])


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
        found = {name for name in train.names if name is not None}
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
    numbers = {name: index for index, name in enumerate(class_names)}
    kept = [(uri, name) for uri, name in zip(found.uris, found.names, strict=True) if name is not None]
    strange = sorted({name for _, name in kept} - numbers.keys())
    if strange:
        raise SettingsError(
            f"{len(strange)} classes of the {part} images are not in the list of classes (such as {strange[0]!r}): "
            "add them to it, or leave these images out"
        )
    if not kept:
        raise SettingsError(f"none of the {len(found.uris)} {part} images has a class")
    return Labelled(
        [uri for uri, _ in kept], [numbers[name] for _, name in kept], without_class=len(found.uris) - len(kept)
    )


def _check_apart(images: Images) -> None:
    seen: dict[str, str] = {}
    for name, part in images.parts.items():
        both = [uri for uri in part.uris if seen.setdefault(uri, name) != name]
        if both:
            raise SettingsError(
                f"{len(both)} images are {seen[both[0]]} and {name} images at once "
                f"(such as {storage.redacted(both[0])}): give sets that share none"
            )
        twice = len(part.uris) - len(set(part.uris))
        if twice:
            raise SettingsError(f"{twice} {name} images are named twice: name each once")
