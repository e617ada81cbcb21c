"""Sample rows of a run: an index of all rows by image and score, and the whole content of a few."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from jobs.reporting.options import Order
from jobs.reporting.runs import THREADS, Run
from jobs.run.results_files import read_columns
from jobs.storage import files as storage

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class RowIndex:
    """Where the rows of a run are; 16 bytes a row.

    Parameters
    ----------
    starts : int64 array (files + 1,)
        Position of the first row of every file, and the number of rows.
    image_ids : int64 array (N,)
    f_beta : float64 array (N,)
        Best F-beta of the run's last stage, NaN where a row has no score.
    """

    starts: IntArray
    image_ids: IntArray
    f_beta: FloatArray

    @property
    def scored_ids(self) -> IntArray:
        """Ids of the images with a score."""
        return self.image_ids[~np.isnan(self.f_beta)]


def index_rows(run: Run) -> RowIndex:
    """Read the ids and scores of all rows of a run."""
    score = f"f_beta_{run.stages[-1]}"
    with ThreadPoolExecutor(THREADS) as threads:
        parts = list(threads.map(lambda file: read_columns(file, ["image_id", score]), run.files))
    return RowIndex(
        starts=np.cumsum([0, *(part.num_rows for part in parts)]),
        image_ids=np.concatenate([part["image_id"].to_numpy() for part in parts]),
        f_beta=np.concatenate([part[score].to_numpy() for part in parts]),
    )


def choose(f_beta: FloatArray, count: int, order: Order) -> IntArray:
    """Choose sample rows.

    Parameters
    ----------
    f_beta : float64 array (N,)
        NaN where a row has no score.
    count : int
        Rows wanted; fewer are returned where there are fewer.
    order : str
        "best": best first; "worst": worst first; "median": those in the middle of the ranking; "spread": evenly from
        the best to the worst; "first": as they lie, with and without scores. All but the last take scored rows only.

    Returns
    -------
    int64 array (n,)
        Positions. Rows of equal score keep their order.

    Examples
    --------
    >>> scores = np.array([0.2, np.nan, 0.9, 0.5])
    >>> choose(scores, 2, "best"), choose(scores, 2, "spread"), choose(scores, 1, "median"), choose(scores, 2, "first")
    (array([2, 3]), array([2, 0]), array([3]), array([0, 1]))
    """
    if order == "first":
        return np.arange(min(count, len(f_beta)))
    ranking = np.argsort(-f_beta, kind="stable")
    ranking = ranking[: np.count_nonzero(~np.isnan(f_beta))]
    count = min(count, len(ranking))
    if order == "best":
        return ranking[:count]
    if order == "worst":
        return ranking[::-1][:count]
    if order == "median":
        start = (len(ranking) - count) // 2
        return ranking[start : start + count]
    return ranking[np.rint(np.linspace(0, len(ranking) - 1, count)).astype(np.int64)]


def read_rows(run: Run, index: RowIndex, positions: Sequence[int] | IntArray) -> list[dict[str, Any]]:
    """Read whole rows, maps and all, in the order of `positions`."""
    return [_read_row(run, index, int(position)) for position in positions]


def _read_row(run: Run, index: RowIndex, position: int) -> dict[str, Any]:
    file = int(np.searchsorted(index.starts, position, side="right")) - 1
    row = position - int(index.starts[file])
    filesystem, path = storage.resolve(run.files[file])
    with filesystem.open(path, "rb", cache_type="none") as source:
        parquet = pq.ParquetFile(source, pre_buffer=True)
        group = 0
        while row >= (size := parquet.metadata.row_group(group).num_rows):
            row -= size
            group += 1
        content: dict[str, Any] = parquet.read_row_group(group).slice(row, 1).to_pylist()[0]
    return content
