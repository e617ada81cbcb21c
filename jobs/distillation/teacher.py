"""The teacher: a finished run, and a bounded sample of its maps, drawn by a seed without reading the rest."""

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import ray
from numpy.typing import NDArray
from PIL import Image

from jobs.distillation.settings import DistilSettings
from jobs.errors import SettingsError, TrainingError
from jobs.pipeline.ray_data import configure
from jobs.reporting.runs import Run, open_run
from jobs.run.results_files import read_columns
from jobs.storage import files as storage
from jobs.storage.hashing import hash64

ROWS_A_FILE = 16
"""Rows wanted of a file of results: fewer would read more files for one sample, more would be neighbours."""

SPARE = 1.25
"""Rows drawn for one wanted: some are not ok."""

LEAST_TRUST = 0.05
"""The weight of the least trusted map, before all are scaled to a mean of 1."""

LESSONS = pa.schema(
    [
        pa.field("image_id", pa.int64(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        # Position of the file of results among those of the run.
        pa.field("file", pa.int64(), nullable=False),
        # The teacher's map on the student's grid, uint8 (grid, grid).
        pa.field("target", pa.binary(), nullable=False),
        pa.field("weight", pa.float32(), nullable=False),
    ]
)


@dataclass(frozen=True)
class Teacher:
    """A finished run as a teacher.

    Parameters
    ----------
    run : Run
    stage : str
        Which of its maps.
    moved : (str, str), optional
        The folder that its images lay in, and the one where they are now.
    """

    run: Run
    stage: str
    moved: tuple[str, str] | None = None

    def located(self, uri: str) -> str:
        """Return where an image is now.

        Raises
        ------
        SettingsError
            If it did not lie in the run's folder.
        """
        if self.moved is None:
            return uri
        before, now = self.moved
        if not uri.startswith(f"{before}/"):
            raise SettingsError(
                f"{storage.redacted(uri)} does not lie in {storage.redacted(before)}, the folder of the run's images: "
                "leave --images out"
            )
        return storage.join(now, uri.removeprefix(f"{before}/"))


def find_teacher(settings: DistilSettings) -> Teacher:
    """Find the run that the settings name, and check that it can teach.

    Raises
    ------
    SettingsError
        If there is no finished run, or no such stage.
    """
    run = open_run(settings.run)
    stage = settings.stage or run.stages[-1]
    if stage not in run.stages:
        raise SettingsError(f"the run has no stage {stage!r}: choose one of {', '.join(run.stages)}")
    moved = None
    if settings.images is not None:
        before = run.settings.get("images") or run.settings.get("root")
        if before is None or before.lower().endswith((".txt", ".csv", ".parquet")):
            raise SettingsError("the run's images were a list, not a folder: leave --images out")
        moved = storage.absolute(before), storage.absolute(settings.images)
    return Teacher(run, stage, moved)


def draw_lessons(teacher: Teacher, settings: DistilSettings, grid: int) -> pa.Table:
    """Draw the sample: rows of `LESSONS`, in an order that the seed and the images' ids decide.

    Parameters
    ----------
    teacher : Teacher
    settings : DistilSettings
    grid : int
        Cells a side of the student's map.

    Raises
    ------
    TrainingError
        If no row can teach.
    """
    files = teacher.run.files
    wanted = min(len(files), max(1, round(SPARE * settings.sample / ROWS_A_FILE)))
    chosen = np.sort(np.random.default_rng(settings.seed).permutation(len(files))[:wanted])
    each = round(SPARE * settings.sample / wanted) + 1

    def read(block: pa.Table) -> pa.Table:
        found = [_read_file(teacher, settings, grid, int(chosen[n]), each) for n in block["id"].to_pylist()]
        return pa.concat_tables(found)

    configure(each)
    dataset = ray.data.range(wanted, override_num_blocks=min(wanted, 1000)).map_batches(read, batch_format="pyarrow")
    lessons = pa.Table.from_pylist(list(dataset.iter_rows()), schema=LESSONS)
    if len(lessons) < 2 * settings.folds:
        raise TrainingError(f"{len(lessons)} rows of the run can teach, of {wanted} files of results: too few")
    order = np.argsort([_lot(settings.seed, number) for number in lessons["image_id"].to_pylist()], kind="stable")
    lessons = lessons.take(pa.array(order[: settings.sample]))
    weights = lessons["weight"].to_numpy()
    scaled = pa.array((weights / weights.mean()).astype(np.float32))
    return lessons.set_column(lessons.schema.get_field_index("weight"), LESSONS.field("weight"), scaled)


def _read_file(teacher: Teacher, settings: DistilSettings, grid: int, number: int, count: int) -> pa.Table:
    column = f"map_{teacher.stage}"
    names = ["image_id", "image_uri", "status", "label_probability", "logit_before", "logit_after", column]
    rows = read_columns(teacher.run.files[number], names).to_pylist()
    rows = [row for row in rows if row["status"] in ("ok", "mask_error") and row[column] is not None]
    rows.sort(key=lambda row: _lot(settings.seed, row["image_id"]))
    lessons = []
    for row in rows:
        target = on_grid(row[column]["bytes"], grid)
        if target is None:
            continue
        lessons.append(
            {
                "image_id": row["image_id"],
                "uri": teacher.located(row["image_uri"]),
                "file": number,
                "target": target.tobytes(),
                "weight": trust(row, settings.trust),
            }
        )
        if len(lessons) == count:
            break
    return pa.Table.from_pylist(lessons, schema=LESSONS)


def on_grid(png: bytes, grid: int) -> NDArray[np.uint8] | None:
    """Bring a stored map to a grid: its range is stretched to 0..255, a cell is the mean over its area.

    Returns
    -------
    uint8 array (grid, grid), or None where the map is one colour: it says nothing.
    """
    with Image.open(io.BytesIO(png), formats=("PNG",)) as file:
        levels = np.asarray(file.convert("L"), np.float32)
    low, high = float(levels.min()), float(levels.max())
    if high <= low:
        return None
    stretched = Image.fromarray((levels - low) * np.float32(255 / (high - low)))
    return np.asarray(stretched.resize((grid, grid), Image.Resampling.BOX)).round().astype(np.uint8)


def trust(row: dict[str, Any], kind: str) -> float:
    """Say how far a teacher's map is to be believed, from what the network said of the image.

    Parameters
    ----------
    row : dict
        Of the results.
    kind : {"equal", "probability", "fall", "both"}
        "fall" is the part of the label's logit that the erasure took away.

    Returns
    -------
    float
        From `LEAST_TRUST` to 1; 1 where there was no network.

    Examples
    --------
    >>> row = {"label_probability": 0.5, "logit_before": 8.0, "logit_after": 2.0}
    >>> trust(row, "equal"), trust(row, "probability"), trust(row, "fall"), trust(row, "both")
    (1.0, 0.5, 0.75, 0.375)
    """
    probability, before, after = (row[name] for name in ("label_probability", "logit_before", "logit_after"))
    if kind == "equal" or probability is None or before is None or after is None:
        return 1.0
    fall = min(max((before - after) / max(abs(before), 1e-6), 0.0), 1.0)
    values = {"probability": probability, "fall": fall, "both": probability * fall}
    return max(float(values[kind]), LEAST_TRUST)


def _lot(seed: int, image_id: int) -> int:
    return hash64(f"{seed} {image_id}")
