"""Plots of a run: loss and wrong answers over the epochs of both stages."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from matplotlib.figure import Figure

from jobs.reporting.plots import Plot
from jobs.training.plots import epoch_curves


def make_plots(history: Sequence[dict[str, Any]], best_epochs: Mapping[str, int]) -> list[Plot]:
    """Make the plots of a run.

    Parameters
    ----------
    history : sequence of dict
        A row for every epoch of each stage.
    best_epochs : mapping of str to int
        By stage.
    """
    plots = []
    for stage, best_epoch in best_epochs.items():
        rows = [row for row in history if row["stage"] == stage]
        plots += [
            Plot(f"loss-{stage}", f"Loss, {stage} windows", partial(_loss, rows, best_epoch)),
            Plot(f"error-{stage}", f"Wrong answers, {stage} windows", partial(_error, rows, best_epoch)),
        ]
    return plots


def _loss(history: Sequence[dict[str, Any]], best_epoch: int, ink: str) -> Figure:
    return epoch_curves(history, best_epoch, ink, "cross entropy", [("loss", "", "solid", 1)])


def _error(history: Sequence[dict[str, Any]], best_epoch: int, ink: str) -> Figure:
    return epoch_curves(history, best_epoch, ink, "wrong windows, %", [("error", "", "solid", 100)])
