"""Scores of whole runs from the histograms of their rows: files in, running sums out.

Every file of results becomes a small sum, and sums are merged: memory does not grow with the number of rows, and the
files can be spread over threads of one machine or over the machines of a Ray cluster.
"""

import contextlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from jobs.inputs.archives.reading import read_many
from jobs.reporting.masks import mask_of_row
from jobs.reporting.runs import SEGMENTATION, THREADS, Run
from jobs.run.results_files import read_columns
from jobs.run.summary import Summary
from saliency_core.imaging.masks import Mask, MaskError
from saliency_core.imaging.png import decode_png_map
from saliency_core.scoring.structure import s_measure, weighted_f_beta

FILES_AT_ONCE = 64
"""Files whose sums are held at a time by one process, and the unit of work on a cluster."""


@dataclass
class StructureSums:
    """Sums of the scores that need the maps themselves.

    Parameters
    ----------
    images : int
        Images scored.
    without_mask : int
        Images with a score in the results whose mask could not be fetched again, or has changed since.
    s_measure, weighted_f_beta : float
        Sums over the images.
    """

    images: int = 0
    without_mask: int = 0
    s_measure: float = 0.0
    weighted_f_beta: float = 0.0

    def merge(self, other: "StructureSums") -> None:
        """Take over the images of another sum."""
        self.images += other.images
        self.without_mask += other.without_mask
        self.s_measure += other.s_measure
        self.weighted_f_beta += other.weighted_f_beta


@dataclass
class SegmentationSums:
    """Sums of the scores of the objects cut out.

    Parameters
    ----------
    images : int
        Images scored.
    f_beta, iou : float
        Sums over the images.
    """

    images: int = 0
    f_beta: float = 0.0
    iou: float = 0.0

    def add(self, rows: pa.Table) -> None:
        """Add rows of results."""
        scores = {name: rows[f"{SEGMENTATION}_{name}"].drop_null().to_numpy() for name in ("f_beta", "iou")}
        self.merge(SegmentationSums(len(scores["iou"]), float(scores["f_beta"].sum()), float(scores["iou"].sum())))

    def merge(self, other: "SegmentationSums") -> None:
        """Take over the images of another sum."""
        self.images += other.images
        self.f_beta += other.f_beta
        self.iou += other.iou


@dataclass
class RunSums:
    """Sums over rows of one run.

    Parameters
    ----------
    summary : Summary
        Counts, seconds, and the scores that follow from histograms.
    structure : dict of str to StructureSums
        One a stage; all zero where they are not asked for.
    segmentation : SegmentationSums
        All zero for a run that cut nothing out.
    """

    summary: Summary
    structure: dict[str, StructureSums] = field(default_factory=dict)
    segmentation: SegmentationSums = field(default_factory=SegmentationSums)

    def __post_init__(self) -> None:
        self.structure = {stage: StructureSums() for stage in self.summary.stages}

    def merge(self, other: "RunSums") -> None:
        """Take over the rows of another sum."""
        self.summary.merge(other.summary)
        for stage, sums in other.structure.items():
            self.structure[stage].merge(sums)
        self.segmentation.merge(other.segmentation)


def evaluate_run(run: Run, *, structure_scores: bool = False) -> RunSums:
    """Score a run in this process.

    Parameters
    ----------
    run : Run
    structure_scores : bool
        Whether to read the maps and fetch the masks again for S-measure and weighted F-beta.
    """
    total = RunSums(Summary(run.stages))
    for start in range(0, len(run.files), FILES_AT_ONCE):
        total.merge(evaluate_files(run, run.files[start : start + FILES_AT_ONCE], structure_scores))
    return total


def evaluate_files(run: Run, files: Sequence[str], structure_scores: bool) -> RunSums:
    """Score some files of a run; see `evaluate_run`."""
    total = RunSums(Summary(run.stages))
    with ThreadPoolExecutor(THREADS) as threads:
        for part in threads.map(lambda file: _evaluate_file(run, file, structure_scores), files):
            total.merge(part)
    return total


def _evaluate_file(run: Run, file: str, structure_scores: bool) -> RunSums:
    sums = RunSums(Summary(run.stages))
    columns = sums.summary.columns()
    if run.segmented:
        columns += [f"{SEGMENTATION}_f_beta", f"{SEGMENTATION}_iou"]
    if structure_scores:
        columns += ["mask_uri", "width", "height", *(f"map_{stage}" for stage in run.stages)]
    rows = read_columns(file, columns)
    sums.summary.add(rows)
    if run.segmented:
        sums.segmentation.add(rows)
    if structure_scores:
        for row, mask in _rows_with_mask(rows, run):
            _add_structure(sums.structure, row, mask)
    return sums


def _rows_with_mask(rows: pa.Table, run: Run) -> Iterator[tuple[dict[str, Any], Mask | None]]:
    """Yield the rows that have scores, with their masks; None where a mask is gone or has changed."""
    stage = run.stages[0]
    scored = [row for row in rows.to_pylist() if any(row[f"foreground_histogram_{stage}"] or ())]
    contents = read_many([row["mask_uri"] for row in scored])
    for row, content in zip(scored, contents, strict=True):
        mask = None
        if not isinstance(content, Exception):
            with contextlib.suppress(MaskError):
                mask = mask_of_row(content, row, stage, run.settings)
        yield row, mask


def _add_structure(sums: dict[str, StructureSums], row: dict[str, Any], mask: Mask | None) -> None:
    for stage, total in sums.items():
        if mask is None:
            total.without_mask += 1
            continue
        levels = decode_png_map(row[f"map_{stage}"]["bytes"])
        total.images += 1
        total.s_measure += s_measure(levels, mask.foreground, mask.valid)
        total.weighted_f_beta += weighted_f_beta(levels, mask.foreground, mask.valid)
