"""Plots of a fine-tuning run: loss and errors over the epochs, and the confusion matrix."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from jobs.reporting.plots import Plot
from jobs.training.plots import epoch_curves

_MOST_NAMED = 60


def make_plots(
    history: Sequence[dict[str, Any]], best_epoch: int, confusion: NDArray[np.int64], class_names: Sequence[str]
) -> list[Plot]:
    """Make the plots of a run.

    Parameters
    ----------
    history : sequence of dict
        A row for every epoch.
    best_epoch : int
        The one whose network was kept.
    confusion : int array (N, N)
        Images by class (row) and answer (column).
    class_names : sequence of str
    """
    return [
        Plot("loss", "Loss", partial(_loss, history, best_epoch)),
        Plot("error", "Top-1 and top-5 error", partial(_error, history, best_epoch)),
        Plot("confusion", "Confusion matrix", partial(_confusion, confusion, class_names)),
    ]


def _loss(history: Sequence[dict[str, Any]], best_epoch: int, ink: str) -> Figure:
    return epoch_curves(history, best_epoch, ink, "cross entropy", [("loss", "", "solid", 1)])


def _error(history: Sequence[dict[str, Any]], best_epoch: int, ink: str) -> Figure:
    kinds = [("top1_error", " top-1", "solid", 100), ("top5_error", " top-5", (0, (5, 1.5)), 100)]
    return epoch_curves(history, best_epoch, ink, "error, %", kinds)


def _confusion(confusion: NDArray[np.int64], class_names: Sequence[str], ink: str) -> Figure:
    count = len(class_names)
    side = 2.2 + 0.3 * min(count, _MOST_NAMED)
    figure = Figure((side, side), layout="constrained")
    axes = figure.subplots()
    totals = confusion.sum(axis=1, keepdims=True)
    shares = np.divide(confusion, totals, out=np.zeros(confusion.shape), where=totals > 0)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if count <= _MOST_NAMED:
        axes.set_xticks(range(count), class_names, rotation=90)
        axes.set_yticks(range(count), class_names)
    if count <= _MOST_NAMED // 2:
        for row, column in np.argwhere(confusion):
            white = shares[row, column] > 0.5
            axes.text(
                *(column, row, str(confusion[row, column])),
                ha="center",
                va="center",
                color="#ffffff" if white else "#1b1f24",
                size=8,
            )
    axes.set(xlabel="answer", ylabel="class")
    return figure
