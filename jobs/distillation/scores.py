"""The student beside its teacher on the held-out part, where the run was scored: masks are read here, and only here."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import ray.data
from numpy.typing import NDArray

from jobs.distillation.teacher import Teacher
from jobs.inputs.archives.reading import read_many
from jobs.reporting.masks import mask_of_row
from jobs.run.results_files import read_columns
from saliency_core.imaging.masks import MaskError
from saliency_core.imaging.resizing import resize_map
from saliency_core.scoring.data_set import DataSetFigures, DataSetScores
from saliency_core.scoring.histograms import map_histograms, to_8bit

MOST_IMAGES = 1000
"""Held-out images that are scored, at most."""


@dataclass(frozen=True)
class Scores:
    """Scores of teacher and student on the same images.

    Parameters
    ----------
    teacher, student : DataSetFigures
        The student's map is the head's alone, without the graph behind it.
    """

    teacher: DataSetFigures
    student: DataSetFigures


def scores(teacher: Teacher, lessons: pa.Table, maps: NDArray[np.uint8]) -> Scores | None:
    """Score the maps of a student.

    Parameters
    ----------
    teacher : Teacher
    lessons : Table
        Of `teacher.LESSONS`.
    maps : uint8 array (N, grid, grid)
        The student's, one a row of `lessons`.

    Returns
    -------
    Scores, or None where the run scored none of these images, or their masks are not there any more.
    """
    wanted: dict[int, dict[int, NDArray[np.uint8]]] = {}
    for row, map_ in zip(lessons.select(["file", "image_id"]).to_pylist()[:MOST_IMAGES], maps, strict=False):
        wanted.setdefault(row["file"], {})[row["image_id"]] = map_
    of_file = list(wanted.items())

    def score(block: pa.Table) -> pa.Table:
        found = [row for number in block["id"].to_pylist() for row in _score_file(teacher, *of_file[number])]
        return pa.Table.from_pylist(found, schema=_HISTOGRAMS)

    dataset = ray.data.range(len(of_file), override_num_blocks=len(of_file)).map_batches(score, batch_format="pyarrow")
    sums = {"teacher": DataSetScores(), "student": DataSetScores()}
    for row in dataset.iter_rows():
        for name, own in sums.items():
            own.add(*(np.asarray(row[f"{name}_{side}"], np.int64)[None] for side in ("inside", "outside")))
    if not sums["teacher"].images:
        return None
    return Scores(sums["teacher"].figures(), sums["student"].figures())


_HISTOGRAMS = pa.schema(
    [(f"{name}_{side}", pa.list_(pa.int64())) for name in ("teacher", "student") for side in ("inside", "outside")]
)


def _score_file(teacher: Teacher, number: int, maps: dict[int, NDArray[np.uint8]]) -> list[dict[str, Any]]:
    stage = teacher.stage
    sides = {side: f"{side}_histogram_{stage}" for side in ("foreground", "background")}
    columns = ["image_id", "mask_uri", "width", "height", f"map_{stage}", *sides.values()]
    rows = read_columns(teacher.run.files[number], columns).to_pylist()
    rows = [row for row in rows if row["image_id"] in maps and row[sides["foreground"]] is not None]
    found = []
    for row, content in zip(rows, read_many([row["mask_uri"] for row in rows]), strict=True):
        if isinstance(content, Exception):
            continue
        try:
            mask = mask_of_row(content, row, stage, teacher.run.settings)
        except MaskError:
            continue
        map_ = resize_map(maps[row["image_id"]].astype(np.float32), *mask.foreground.shape)
        inside, outside = map_histograms(to_8bit(map_), mask.foreground, mask.valid)
        found.append(
            {
                "teacher_inside": row[sides["foreground"]],
                "teacher_outside": row[sides["background"]],
                "student_inside": inside.tolist(),
                "student_outside": outside.tolist(),
            }
        )
    return found
