"""Scores and precision-recall curves of runs as tables, for files and for people."""

import dataclasses
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jobs.reporting.evaluation import RunSums, SegmentationSums
from jobs.reporting.runs import Run, run_names
from jobs.run.schema import STATUSES, TIMED
from jobs.storage import files as storage
from saliency_core.scoring.data_set import DataSetFigures
from saliency_core.scoring.histograms import LEVELS, f_beta

FIGURES = {
    "f_beta_of_mean_curve": "A",
    "f_beta_max_of_mean": "B",
    "f_beta_mean_of_max": "C",
    "f_beta_mean": "mean F",
    "f_beta_adaptive": "adaptive F",
    "mae": "MAE",
    "iou": "IoU",
    "accuracy": "accuracy",
    "iou_otsu": "IoU (Otsu)",
    "accuracy_otsu": "accuracy (Otsu)",
    "e_measure_max": "max E",
    "e_measure_mean": "mean E",
    "e_measure_adaptive": "adaptive E",
    "s_measure": "S",
    "weighted_f_beta": "weighted F",
    "segmentation_f_beta": "cut-out F",
    "segmentation_iou": "cut-out IoU",
}
"""Scores by their column, with the short name that people see."""


@dataclass(frozen=True)
class Evaluated:
    """A run with its sums.

    Parameters
    ----------
    run : Run
    name : str
        Its name among the runs compared.
    sums : RunSums
    """

    run: Run
    name: str
    sums: RunSums

    @property
    def rows(self) -> int:
        """Rows of the results."""
        return self.sums.summary.rows

    def figures(self, stage: str) -> DataSetFigures:
        """Scores of a stage that follow from histograms."""
        return self.sums.summary.scores[stage].figures()

    def seconds_per_image(self) -> dict[str, float]:
        """Seconds of work an image, by part; parallel work counts in full."""
        return {name: seconds / max(self.rows, 1) for name, seconds in self.sums.summary.seconds.items()}


def evaluated(runs: Sequence[Run], sums: Sequence[RunSums]) -> list[Evaluated]:
    """Put runs, names and sums together."""
    return [Evaluated(*parts) for parts in zip(runs, run_names(runs), sums, strict=True)]


def scores_table(runs: Sequence[Evaluated]) -> pa.Table:
    """Return all scores, one row a run and stage.

    Columns: `run` (its URI), `name`, `method`, `stage`, `finished`, `rows`, `rows_STATUS`, `images` (scored),
    `empty_masks`, the columns of `FIGURES` (null where there is nothing to average; those of the cut-out objects stand
    in the row of the last stage, from which they are cut), `segmentation_images`, `structure_images` and
    `structure_without_mask` (images behind and lost to S-measure and weighted F-beta), `images_per_second` (of the
    whole run, from its record) and `seconds_PART` (work an image).
    """
    rows = [_scores_row(run, stage) for run in runs for stage in run.run.stages]
    return pa.Table.from_pylist(rows, schema=_SCORES)


def curves_table(runs: Sequence[Evaluated]) -> pa.Table:
    """Return the curves of all runs and stages, one row a threshold 0..255.

    Columns: `run`, `name`, `method`, `stage`, `threshold`, `precision` and `recall` (means over images), `f_beta` (of
    these means: its maximum is A), `f_beta_mean` and `e_measure_mean` (means of the images' own). A stage without
    scored images has no rows.
    """
    parts = []
    for run in runs:
        for stage, scores in run.sums.summary.scores.items():
            if not scores.images:
                continue
            who = {"run": storage.redacted(run.run.uri), "name": run.name, "method": run.run.method, "stage": stage}
            columns = {name: [value] * LEVELS for name, value in who.items()} | {
                "threshold": np.arange(LEVELS),
                "precision": scores.precision,
                "recall": scores.recall,
                "f_beta": f_beta(scores.precision, scores.recall),
                "f_beta_mean": scores.f_beta_sum / scores.images,
                "e_measure_mean": scores.e_measure_sum / scores.images,
            }
            parts.append(pa.table(columns, schema=_CURVES))
    return pa.concat_tables(parts) if parts else _CURVES.empty_table()


def _scores_row(run: Evaluated, stage: str) -> dict[str, Any]:
    structure = run.sums.structure[stage]
    segmentation = run.sums.segmentation if stage == run.run.stages[-1] else SegmentationSums()
    counts = run.sums.summary.counts
    row: dict[str, Any] = {
        "run": storage.redacted(run.run.uri),
        "name": run.name,
        "method": run.run.method,
        "stage": stage,
        "finished": run.run.finished,
        "rows": run.rows,
        "segmentation_images": segmentation.images,
        "structure_images": structure.images,
        "structure_without_mask": structure.without_mask,
        "images_per_second": run.run.record.get("images_per_second"),
    }
    row |= {f"rows_{status}": counts[status] for status in STATUSES}
    row |= {f"seconds_{part}": seconds for part, seconds in run.seconds_per_image().items()}
    scores = dataclasses.asdict(run.figures(stage))
    count = structure.images or np.nan
    scores |= {"s_measure": structure.s_measure / count, "weighted_f_beta": structure.weighted_f_beta / count}
    count = segmentation.images or np.nan
    scores |= {"segmentation_f_beta": segmentation.f_beta / count, "segmentation_iou": segmentation.iou / count}
    return row | {name: None if np.isnan(value) else value for name, value in scores.items()}


_WHO = [pa.field(name, pa.string(), nullable=False) for name in ("run", "name", "method", "stage")]
_SCORES = pa.schema(
    [
        *_WHO,
        pa.field("finished", pa.bool_(), nullable=False),
        pa.field("rows", pa.int64(), nullable=False),
        *(pa.field(f"rows_{status}", pa.int64(), nullable=False) for status in STATUSES),
        pa.field("images", pa.int64(), nullable=False),
        pa.field("empty_masks", pa.int64(), nullable=False),
        *(pa.field(name, pa.float64()) for name in FIGURES),
        pa.field("segmentation_images", pa.int64(), nullable=False),
        pa.field("structure_images", pa.int64(), nullable=False),
        pa.field("structure_without_mask", pa.int64(), nullable=False),
        pa.field("images_per_second", pa.float64()),
        *(pa.field(f"seconds_{part}", pa.float64(), nullable=False) for part in TIMED),
    ]
)
_CURVES = pa.schema(
    [
        *_WHO,
        pa.field("threshold", pa.int32(), nullable=False),
        *(
            pa.field(name, pa.float64(), nullable=False)
            for name in ("precision", "recall", "f_beta", "f_beta_mean", "e_measure_mean")
        ),
    ]
)


def parquet_file(table: pa.Table) -> bytes:
    """Return a table as the bytes of a Parquet file."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()
