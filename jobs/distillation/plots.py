"""Plots of a distillation run."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from matplotlib.figure import Figure

from jobs.reporting.plots import Plot
from jobs.training.plots import epoch_curves


def make_plots(history: Sequence[dict[str, Any]], best_epoch: int) -> list[Plot]:
    """Make the plots of a run: loss and difference over the epochs of the last round.

    Parameters
    ----------
    history : sequence of dict
        A row for every epoch of every round.
    best_epoch : int
        Of the last round.
    """
    last = [row for row in history if row["round"] == history[-1]["round"]]
    return [
        Plot("loss", "Loss", partial(_loss, last, best_epoch)),
        Plot("difference", "Mean absolute difference from the target", partial(_difference, last, best_epoch)),
    ]


def _loss(history: Sequence[dict[str, Any]], best_epoch: int, ink: str) -> Figure:
    return epoch_curves(history, best_epoch, ink, "binary cross entropy", [("loss", "", "solid", 1)])


def _difference(history: Sequence[dict[str, Any]], best_epoch: int, ink: str) -> Figure:
    return epoch_curves(history, best_epoch, ink, "mean absolute difference", [("difference", "", "solid", 1)])
