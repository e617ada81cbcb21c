"""Plots of a fine-tuning run: loss and errors over the epochs, and the confusion matrix."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from jobs.reporting.plots import Plot

_TRAIN, _VALIDATION = "#0072b2", "#d55e00"  # Okabe and Ito's blue and vermilion
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
    return _curves(history, best_epoch, ink, "cross entropy", [("loss", "", "solid", 1)])


def _error(history: Sequence[dict[str, Any]], best_epoch: int, ink: str) -> Figure:
    kinds = [("top1_error", " top-1", "solid", 100), ("top5_error", " top-5", (0, (5, 1.5)), 100)]
    return _curves(history, best_epoch, ink, "error, %", kinds)


def _curves(
    history: Sequence[dict[str, Any]],
    best_epoch: int,
    ink: str,
    unit: str,
    kinds: Sequence[tuple[str, str, Any, float]],
) -> Figure:
    figure = Figure((5.4, 4.0), layout="constrained")
    axes = figure.subplots()
    epochs = [row["epoch"] for row in history]
    for part, colour in (("train", _TRAIN), ("validation", _VALIDATION)):
        for column, label, dashes, factor in kinds:
            values = [factor * row[f"{part}_{column}"] for row in history]
            mark = "o" if len(history) < 3 else None
            axes.plot(epochs, values, color=colour, linestyle=dashes, linewidth=1.8, marker=mark, label=part + label)
    axes.axvline(best_epoch, color=ink, alpha=0.3, linewidth=1, label=f"kept: epoch {best_epoch}")
    axes.set(xlabel="epoch", ylabel=unit)
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(loc="outside lower left", frameon=False, ncols=3)
    return figure


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
