"""Plots of training: figures of the epochs as curves."""

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

_TRAIN, _VALIDATION = "#0072b2", "#d55e00"  # Okabe and Ito's blue and vermilion


def epoch_curves(
    history: Sequence[dict[str, Any]],
    best_epoch: int,
    ink: str,
    unit: str,
    kinds: Sequence[tuple[str, str, Any, float]],
) -> Figure:
    """Draw figures of training and validation over the epochs.

    Parameters
    ----------
    history : sequence of dict
        A row for every epoch.
    best_epoch : int
        The one whose network was kept.
    ink : str
        Colour of the mark of that epoch.
    unit : str
        What the figures are.
    kinds : sequence of (column, label, dashes, factor)
        Columns of the rows without the name of the part in front.
    """
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
