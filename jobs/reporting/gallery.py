"""The gallery of a report: for sample images, every map of every run side by side, as small embedded pictures."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import numpy as np
from PIL import Image

from jobs.reporting.options import Order
from jobs.reporting.pictures import Picture, RowPictures, display_name, row_pictures, score_of
from jobs.reporting.rows import IntArray, RowIndex, choose, read_rows
from jobs.reporting.tables import Evaluated

LARGEST_SIDE = 280
"""Longest side of an embedded picture in pixels; less where there are many."""

EMBEDDED_BYTES = 5_000_000
"""Bytes that all pictures of a report may take; base64 makes a third more of them in the page."""


@dataclass
class Cell:
    """A picture of the gallery.

    Parameters
    ----------
    run : str
        Name of the run that a map belongs to; empty for the original and the mask.
    name : str
        "original", "mask", or the stage.
    picture : Picture
    score : float, optional
        F-beta of a map.
    source : str, optional
        The picture as a ``data:`` URI; None where there is none.
    """

    run: str
    name: str
    picture: Picture
    score: float | None = None
    source: str | None = None


@dataclass
class Sample:
    """An image of the gallery.

    Parameters
    ----------
    name : str
        Name of its file.
    facts : list of str
        What each run recognised, and how far its logit fell.
    cells : list of Cell
    """

    name: str
    facts: list[str]
    cells: list[Cell]


@dataclass
class Group:
    """Images of the gallery that belong together.

    Parameters
    ----------
    title : str
    samples : list of Sample
    """

    title: str
    samples: list[Sample] = field(default_factory=list)


def shared_ids(indexes: Sequence[RowIndex]) -> IntArray:
    """Return the ids of the images that all runs hold."""
    return reduce(np.intersect1d, [index.image_ids for index in indexes])


def make_gallery(runs: Sequence[Evaluated], indexes: Sequence[RowIndex], count: int) -> list[Group]:
    """Make the gallery: the best, median and worst images by the first run's last stage, of those all runs hold.

    Parameters
    ----------
    runs : sequence of Evaluated
        Where no image is in all of them, the first alone is shown.
    indexes : sequence of RowIndex
        Of these runs.
    count : int
        Images of each kind. A set of fewer than three times as many scored images is shown whole; one without any
        score by its first images.
    """
    if not len(shared_ids(indexes)):
        runs, indexes = runs[:1], indexes[:1]
    groups = [
        Group(title, _samples(runs, indexes, ids)) for title, ids in _chosen_ids(indexes, count).items() if len(ids)
    ]
    _embed([cell for group in groups for sample in group.samples for cell in sample.cells])
    return groups


def _chosen_ids(indexes: Sequence[RowIndex], count: int) -> dict[str, IntArray]:
    first = indexes[0]
    shared = np.isin(first.image_ids, shared_ids(indexes))
    ids, f_beta = first.image_ids[shared], first.f_beta[shared]
    scored = int(np.count_nonzero(~np.isnan(f_beta)))
    orders: dict[str, tuple[Order, int]]
    if not scored:
        orders = {"First images": ("first", 3 * count)}
    elif scored < 3 * count:
        orders = {"All scored images, best first": ("best", scored)}
    else:
        orders = {"Best": ("best", count), "Median": ("median", count), "Worst": ("worst", count)}
    return {title: ids[choose(f_beta, number, order)] for title, (order, number) in orders.items()}


def _samples(runs: Sequence[Evaluated], indexes: Sequence[RowIndex], ids: IntArray) -> list[Sample]:
    samples: list[Sample] = []
    for number, (run, index) in enumerate(zip(runs, indexes, strict=True)):
        positions = [int(np.flatnonzero(index.image_ids == identifier)[0]) for identifier in ids]
        rows = read_rows(run.run, index, positions)
        pictures = row_pictures(run.run, rows, LARGEST_SIDE)
        if number == 0:
            samples = [
                Sample(
                    display_name(row["image_uri"]),
                    [],
                    [Cell("", "original", shown.original), Cell("", "mask", shown.mask)],
                )
                for row, shown in zip(rows, pictures, strict=True)
            ]
        for sample, row, shown in zip(samples, rows, pictures, strict=True):
            sample.facts += _facts(run.name, row)
            sample.cells += _map_cells(run.name, row, shown)
    return samples


def _map_cells(run: str, row: dict[str, Any], shown: RowPictures) -> list[Cell]:
    return [Cell(run, name, picture, score_of(row, name)) for name, picture in shown.maps.items()]


def _facts(run: str, row: dict[str, Any]) -> list[str]:
    """Say what a run found out about an image, or why it did not."""
    facts = []
    if row["status"] != "ok":
        facts.append(f"{row['status']}: {row['error'] or 'no reason given'}")
    if row["label"] is not None:
        fact = row["label_name"] or f"class {row['label']}"
        if row["label_probability"] is not None:
            fact += f", p = {row['label_probability']:.2f}"
        facts.append(fact)
    before, after = row["logit_before"], row["logit_after"]
    if before is not None and after is not None and before != after:
        facts.append(f"logit {before:.1f} → {after:.1f} ({after - before:+.1f})".replace("-", "−"))
    return [f"{run}: {'; '.join(facts)}"] if facts else []


def _embed(cells: Sequence[Cell]) -> None:
    """Encode the pictures, as large as the limit allows."""
    side = LARGEST_SIDE
    while True:
        encoded = [_jpeg(cell.picture, side) for cell in cells]
        if side < 48 or sum(len(content or b"") for content in encoded) <= EMBEDDED_BYTES:
            break
        side = side * 4 // 5
    for cell, content in zip(cells, encoded, strict=True):
        if content is not None:
            cell.source = "data:image/jpeg;base64," + base64.b64encode(content).decode()


def _jpeg(picture: Picture, side: int) -> bytes | None:
    if isinstance(picture, str):
        return None
    small = picture.copy()
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=82, optimize=True)
    return buffer.getvalue()
