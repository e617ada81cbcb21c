"""Pictures of a row: the original and the mask, fetched from where they lie, and the maps from the results."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from jobs.inputs.archives.reading import read_many
from jobs.reporting.masks import mask_of_row
from jobs.reporting.runs import SEGMENTATION, Run
from jobs.storage import files as storage
from saliency_core.imaging.decoding import decode_image
from saliency_core.imaging.guards import DecodeError
from saliency_core.imaging.masks import MaskError
from saliency_core.imaging.png import decode_png_map

Picture = Image.Image | str
"""A picture, or a few words that say why there is none."""

VOID_GREY = 128
"""How void pixels of a mask are shown."""


@dataclass(frozen=True)
class RowPictures:
    """What there is to see of a row.

    Parameters
    ----------
    original : Picture
    maps : dict of str to Picture
        One a name of `map_names`.
    mask : Picture
    """

    original: Picture
    maps: dict[str, Picture]
    mask: Picture


def map_names(run: Run) -> tuple[str, ...]:
    """Return the names of the maps of a run: its stages, and the object cut out where it was."""
    return (*run.stages, SEGMENTATION) if run.segmented else run.stages


def score_of(row: dict[str, Any], name: str) -> float | None:
    """Return the F-beta of one of a row's maps."""
    score: float | None = row[f"{SEGMENTATION}_f_beta" if name == SEGMENTATION else f"f_beta_{name}"]
    return score


def row_pictures(run: Run, rows: Sequence[dict[str, Any]], side: int) -> list[RowPictures]:
    """Make the pictures of some rows.

    Parameters
    ----------
    run : Run
    rows : sequence of dict
        Whole rows of the run's results.
    side : int
        Longest side of every picture in pixels; smaller ones are enlarged.
    """
    originals = read_many([row["image_uri"] for row in rows])
    with_mask = [row["mask_uri"] for row in rows if row["mask_uri"] is not None]
    masks = dict(zip(with_mask, read_many(with_mask), strict=True))
    return [
        RowPictures(
            original=_original(content, row, run, side),
            maps={name: _map(row, name, side) for name in map_names(run)},
            mask=_mask(masks.get(row["mask_uri"]), row, run, side),
        )
        for row, content in zip(rows, originals, strict=True)
    ]


def display_name(uri: str) -> str:
    """Return the name of the file at a URI, to be shown.

    Examples
    --------
    >>> display_name("https://me:secret@host/photos/a.jpg?signature=1f")
    'a.jpg'
    """
    return storage.redacted(uri).rstrip("/").rsplit("/", 1)[-1]


def _original(content: bytes | Exception, row: dict[str, Any], run: Run, side: int) -> Picture:
    if isinstance(content, Exception):
        return "original not reachable"
    try:
        image = decode_image(content, max_pixels=run.settings["max_pixels"], reduce_to=side, accept_truncated=True)
    except DecodeError:
        return "original not readable"
    if row["width"] is not None and (image.width, image.height) != (row["width"], row["height"]):
        return "original changed since the run"
    return _fit(Image.fromarray(image.pixels), side)


def _map(row: dict[str, Any], name: str, side: int) -> Picture:
    content = row[SEGMENTATION if name == SEGMENTATION else f"map_{name}"]
    if content is None:
        return f"no map: {row['status']}"
    return _fit(Image.fromarray(decode_png_map(content["bytes"])), side)


def _mask(content: bytes | Exception | None, row: dict[str, Any], run: Run, side: int) -> Picture:
    if row[f"foreground_histogram_{run.stages[0]}"] is None:
        return "no mask" if row["status"] == "ok" else f"no mask: {row['status']}"
    if content is None or isinstance(content, Exception):
        return "mask not reachable"
    try:
        mask = mask_of_row(content, row, run.stages[0], run.settings)
    except MaskError:
        return "mask changed since the run"
    levels = np.where(mask.valid, mask.foreground * np.uint8(255), np.uint8(VOID_GREY))
    return _fit(Image.fromarray(levels.astype(np.uint8)), side)


def _fit(image: Image.Image, side: int) -> Image.Image:
    scale = side / max(image.size)
    width, height = (max(1, round(length * scale)) for length in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS)
