"""Contact sheets: original, maps and mask side by side for a sample of a run's rows, straight from the results."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from jobs.errors import SettingsError
from jobs.reporting.options import Order
from jobs.reporting.pictures import Picture, RowPictures, display_name, map_names, row_pictures, score_of
from jobs.reporting.rows import choose, index_rows, read_rows
from jobs.reporting.runs import Run, open_run
from jobs.storage import files as storage

SIDE = 240
"""Longest side of a picture on the sheet, in pixels."""

_GAP = 14
_MARGIN = 24
_LINE = 18
_CAPTION_LINES = 3
_PAGE, _INK, _FAINT, _BOX = "#ffffff", "#1a1a1a", "#6a6a6a", "#ececec"


def contact_sheet(run_uri: str, rows: int = 8, order: Order | None = None) -> Image.Image:
    """Make a contact sheet.

    Parameters
    ----------
    run_uri : str
        Output of a run of the saliency job, finished or not.
    rows : int
        Number of images; fewer are shown where the run has fewer.
    order : str, optional
        Which images, see `jobs.reporting.rows.choose`; None: "spread", or "first" where no row has a score.

    Raises
    ------
    SettingsError
        If there is no run, or the order asks for scores and no row has one.
    """
    run = open_run(run_uri, partial=True)
    index = index_rows(run)
    if order is None:
        order = "spread" if len(index.scored_ids) else "first"
    if order != "first" and not len(index.scored_ids):
        raise SettingsError(f"no row of {storage.redacted(run.uri)} has a score: give --order first")
    content = read_rows(run, index, choose(index.f_beta, rows, order))
    total = len(index.image_ids)
    title = f"{run.method}: {len(content)} of {total} images, " + _ORDERS[order].format(stage=run.stages[-1])
    return _draw(title, run, content, row_pictures(run, content, SIDE))


_ORDERS: dict[Order, str] = {
    "best": "the best by the F-beta of {stage}",
    "median": "the middle by the F-beta of {stage}",
    "worst": "the worst by the F-beta of {stage}",
    "spread": "from the best to the worst by the F-beta of {stage}",
    "first": "the first of the results",
}


def _draw(title: str, run: Run, rows: Sequence[dict[str, Any]], pictures: Sequence[RowPictures]) -> Image.Image:
    heights = [_picture_size(row)[1] + _CAPTION_LINES * _LINE + _GAP for row in rows]
    names = ("original", *map_names(run), "mask")
    columns = len(names)
    top = _MARGIN + 3 * _LINE
    size = (2 * _MARGIN + columns * SIDE + (columns - 1) * _GAP, top + sum(heights) + _MARGIN)
    sheet = Image.new("RGB", size, _PAGE)
    draw = ImageDraw.Draw(sheet)
    _text(draw, (_MARGIN, _MARGIN - 6), title, _font(15, bold=True), _INK, size[0] - 2 * _MARGIN)
    for column, name in enumerate(names):
        _text(draw, (_left(column), top - _LINE - 6), name, _font(13, bold=True), _INK, SIDE)
    for row, shown, height in zip(rows, pictures, heights, strict=True):
        cells = [shown.original, *shown.maps.values(), shown.mask]
        captions = [_about(row), *([_score(row, name)] for name in map_names(run)), []]
        for column, (picture, caption) in enumerate(zip(cells, captions, strict=True)):
            _cell(sheet, (_left(column), top), picture, _picture_size(row), caption)
        top += height
    return sheet


def _left(column: int) -> int:
    return _MARGIN + column * (SIDE + _GAP)


def _picture_size(row: dict[str, Any]) -> tuple[int, int]:
    """Width and height of a row's pictures on the sheet."""
    width, height = row["width"] or 4, row["height"] or 3
    scale = SIDE / max(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _cell(
    sheet: Image.Image, corner: tuple[int, int], picture: Picture, size: tuple[int, int], caption: Sequence[str]
) -> None:
    left, top = corner
    draw = ImageDraw.Draw(sheet)
    if isinstance(picture, str):
        draw.rectangle((left, top, left + size[0] - 1, top + size[1] - 1), fill=_BOX)
        font = _font(12)
        _text(draw, (left + 8, top + max(2, size[1] // 2 - 8)), picture, font, _FAINT, size[0] - 16)
    else:
        sheet.paste(picture, corner)
    for line, text in enumerate(caption):
        position = (left, top + size[1] + 4 + line * _LINE)
        _text(draw, position, text, _font(12), _INK if line == 0 else _FAINT, SIDE)


def _about(row: dict[str, Any]) -> list[str]:
    lines = [display_name(row["image_uri"])]
    if row["status"] != "ok":
        lines.append(f"{row['status']}: {row['error'] or ''}")
    if row["label"] is not None:
        name = row["label_name"] or f"class {row['label']}"
        probability = row["label_probability"]
        lines.append(name if probability is None else f"{name}, p = {probability:.2f}")
    if row["logit_before"] is not None and row["logit_after"] is not None:
        lines.append(f"logit {row['logit_before']:.1f} → {row['logit_after']:.1f}")
    return lines[:_CAPTION_LINES]


def _score(row: dict[str, Any], name: str) -> str:
    score = score_of(row, name)
    return "" if score is None else f"F = {score:.3f}"


def _font(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    # Matplotlib brings this font along, so that sheets look alike everywhere and few letters are missing.
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts", "ttf", name)), size)


def _text(
    draw: ImageDraw.ImageDraw, corner: tuple[int, int], text: str, font: ImageFont.FreeTypeFont, ink: str, width: int
) -> None:
    """Draw one line, cut where it would be wider than `width`."""
    line = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text[:200])
    if font.getlength(line) > width:
        lengths = np.array([font.getlength(line[:count] + "…") for count in range(len(line))])
        line = line[: int(np.count_nonzero(lengths <= width)) - 1] + "…"
    draw.text(corner, line, fill=ink, font=font)
