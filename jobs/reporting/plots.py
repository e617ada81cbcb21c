"""Plots of a report: drawn once for the page, in the page's own ink, and once as SVG and PNG files for a paper."""

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from typing import Any
from xml.etree import ElementTree

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jobs.reporting.tables import Evaluated
from jobs.run.schema import TIMED
from saliency_core.scoring.histograms import BETA_SQUARED, f_beta

# Okabe and Ito's colours without the yellow: colour-blind readers can tell them apart, on white and on black.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c8c8c")
_PART_COLOURS = ("#bbbbbb", "#88ccee", "#44aa99", "#cc6677", "#ddcc77", "#aa4499", "#999933", "#117733")
_DASHES: tuple[Any, ...] = ("solid", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)))
# No plot uses this colour otherwise; on the page it becomes that of the text around the plot.
_PAGE_INK = "#010203"
_PAPER_INK = "#000000"
_LONGEST_NAME = 34
_WIDTH = 5.4
_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"


@dataclass(frozen=True)
class Plot:
    """A plot.

    Parameters
    ----------
    name : str
        Stem of its files.
    title : str
        What it shows.
    draw : callable
        ``ink -> Figure``: draws it with axes and text in a colour.
    """

    name: str
    title: str
    draw: Callable[[str], Figure]

    def inline_svg(self) -> str:
        """Return an SVG element for the page: text stays text, and takes the page's colour."""
        with _style(_PAGE_INK, svg_text="none"):
            tree = ElementTree.fromstring(_save(self.draw(_PAGE_INK), "svg", transparent=True))
        for parent in list(tree.iter()):
            for child in list(parent):
                if child.tag in (f"{{{_SVG}}}metadata", f"{{{_SVG}}}style"):  # styles would hold for the whole page
                    parent.remove(child)
        for element in tree.iter():
            for key, value in element.attrib.items():
                if key == "id":
                    element.set(key, f"{self.name}-{value}")
                elif key == f"{{{_XLINK}}}href":
                    element.set(key, f"#{self.name}-{value.removeprefix('#')}")
                else:
                    value = value.replace("url(#", f"url(#{self.name}-")
                    element.set(key, value.replace(_PAGE_INK, "currentColor"))
        del tree.attrib["width"], tree.attrib["height"]
        tree.attrib |= {"role": "img", "aria-label": self.title}
        ElementTree.register_namespace("", _SVG)
        ElementTree.register_namespace("xlink", _XLINK)
        return ElementTree.tostring(tree, encoding="unicode")

    def files(self) -> dict[str, bytes]:
        """Return the plot as files for a paper, black on white: SVG with text as outlines, and PNG of 300 dpi."""
        with _style(_PAPER_INK, svg_text="path"):
            figure = self.draw(_PAPER_INK)
            return {f"{self.name}.{kind}": _save(figure, kind, transparent=False) for kind in ("svg", "png")}


def make_plots(runs: Sequence[Evaluated]) -> dict[str, list[Plot]]:
    """Make all plots of a report.

    Returns
    -------
    dict
        ``curves``: precision and recall of the last stage of every run; ``stages``: one plot a run, of all its stages;
        ``scores``: F-beta of all runs and stages; ``seconds``: work an image. The first three are empty where no image
        has a score, and ``stages`` where no run has more than one stage.
    """
    scored = [(run, colour) for run, colour in _coloured(runs) if run.figures(run.run.stages[-1]).images]
    several_stages = [(run, colour) for run, colour in scored if len(run.run.stages) > 1]
    plots: dict[str, list[Plot]] = {"curves": [], "stages": [], "scores": []}
    if scored:
        plots["curves"] = [Plot("curves", "Precision and recall", partial(_last_stages, scored))]
        plots["stages"] = [
            Plot(f"stages-{number}", f"Stages of {run.name}", partial(_stages, run, colour))
            for number, (run, colour) in enumerate(several_stages, start=1)
        ]
        plots["scores"] = [Plot("scores", "F-beta", partial(_scores, scored))]
    plots["seconds"] = [Plot("seconds", "Seconds of work per image", partial(_seconds, runs))]
    return plots


def _last_stages(runs: Sequence[tuple[Evaluated, str]], ink: str) -> Figure:
    figure = Figure((_WIDTH, 4.3 + 0.2 * len(runs)), layout="constrained")
    axes = figure.subplots()
    _precision_recall_axes(axes, ink)
    for number, (run, colour) in enumerate(runs):
        dashes = _DASHES[number // len(_COLOURS) % len(_DASHES)]
        _curve(axes, run, run.run.stages[-1], _short(run.name), color=colour, linestyle=dashes, linewidth=2)
    figure.legend(loc="outside lower left", frameon=False)
    return figure


def _stages(run: Evaluated, colour: str, ink: str) -> Figure:
    stages = run.run.stages
    figure = Figure((4.2, 3.6 + 0.2 * len(stages)), layout="constrained")
    axes = figure.subplots()
    _precision_recall_axes(axes, ink)
    axes.set_title(_short(run.name), loc="left")
    for number, stage in enumerate(stages):
        dashes = _DASHES[(len(stages) - 1 - number) % len(_DASHES)]  # the last stage is the solid line
        _curve(axes, run, stage, stage, color=colour, linestyle=dashes, linewidth=1.8)
    figure.legend(loc="outside lower left", frameon=False)
    return figure


def _precision_recall_axes(axes: Axes, ink: str) -> None:
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="recall", ylabel="precision")
    recall = np.linspace(0.001, 1, 500)
    for level in (0.2, 0.4, 0.6, 0.8):
        # Points of equal F-beta, solved for precision.
        divisor = (1 + BETA_SQUARED) * recall - BETA_SQUARED * level
        precision = np.divide(level * recall, divisor, out=np.full_like(recall, np.nan), where=divisor > 0)
        axes.plot(recall, np.where(precision <= 1, precision, np.nan), color=ink, alpha=0.22, linewidth=0.7)
        axes.annotate(
            f"F {level}", (1, precision[-1]), (3, 0), textcoords="offset points", va="center", alpha=0.6, size=8
        )


def _curve(axes: Axes, run: Evaluated, stage: str, name: str, **line: Any) -> None:
    scores = run.sums.summary.scores[stage]
    best = int(np.argmax(f_beta(scores.precision, scores.recall)))
    label = f"{name}, A = {run.figures(stage).f_beta_of_mean_curve:.3f}"
    axes.plot(scores.recall, scores.precision, label=label, **line)
    axes.plot(scores.recall[best], scores.precision[best], "o", markersize=5, color=line["color"], clip_on=False)


def _scores(runs: Sequence[tuple[Evaluated, str]], ink: str) -> Figure:
    rows = sum(len(run.run.stages) + 1 for run, _ in runs)
    figure = Figure((_WIDTH, 0.27 * rows + 1.2), layout="constrained")
    axes = figure.subplots()
    axes.text(1.1, 0, "A", va="center", ha="right", weight="bold")
    ticks: dict[float, str] = {}
    place = 0.0
    labels = {"B": "B, best of the mean", "C": "C, mean of the best", "a": "adaptive threshold"}
    for run, colour in runs:
        axes.text(0.005, place, _short(run.name), va="center", weight="bold")
        for number, stage in enumerate(run.run.stages):
            place += 1
            figures = run.figures(stage)
            ticks[place] = stage
            a = figures.f_beta_of_mean_curve
            faint = 0.45 + 0.55 * (number + 1) / len(run.run.stages)
            axes.barh(place, a, 0.62, color=colour, alpha=faint)
            markers = {"B": ("|", figures.f_beta_max_of_mean), "C": ("D", figures.f_beta_mean_of_max)}
            markers["a"] = ("o", figures.f_beta_adaptive)
            for key, (marker, value) in markers.items():
                fill = ink if key != "a" else "none"
                size = 9 if key == "B" else 4
                label = labels.pop(key, None)
                axes.plot(
                    value, place, marker, color=ink, markerfacecolor=fill, markersize=size, label=label, linestyle=""
                )
            axes.text(1.1, place, f"{a:.3f}", va="center", ha="right")
        place += 1.2
    axes.set(xlim=(0, 1.1), ylim=(place - 0.6, -0.6), xlabel="F-beta (bar: A, best of the mean curve)")
    axes.set_yticks(list(ticks), list(ticks.values()))
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_xticks(np.arange(0, 1.01, 0.2))
    figure.legend(loc="outside lower left", frameon=False, ncols=3, columnspacing=1, handletextpad=0.2)
    return figure


def _seconds(runs: Sequence[Evaluated], ink: str) -> Figure:
    figure = Figure((_WIDTH, 0.62 * len(runs) + 1.5), layout="constrained")
    axes = figure.subplots()
    left = np.zeros(len(runs))
    parts = [part for part in TIMED if any(run.seconds_per_image()[part] for run in runs)]
    for part, colour in zip(parts, cycle(_PART_COLOURS), strict=False):
        widths = np.array([run.seconds_per_image()[part] for run in runs])
        axes.barh(np.arange(len(runs)), widths, 0.4, left, color=colour, label=part)
        left += widths
    for place, (run, total) in enumerate(zip(runs, left, strict=True)):
        axes.text(0, place - 0.3, _short(run.name), va="bottom", weight="bold")
        axes.annotate(f"{total:.3g} s", (total, place), (4, 0), textcoords="offset points", va="center")
    axes.set(
        xlim=(0, max(float(left.max()) * 1.16, 1e-3)), ylim=(len(runs) - 0.5, -0.8), xlabel="seconds of work per image"
    )
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    figure.legend(loc="outside lower left", frameon=False, ncols=3, columnspacing=1, handlelength=1)
    return figure


def _coloured(runs: Sequence[Evaluated]) -> list[tuple[Evaluated, str]]:
    return [(run, _COLOURS[number % len(_COLOURS)]) for number, run in enumerate(runs)]


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"


def _save(figure: Figure, kind: str, *, transparent: bool) -> bytes:
    buffer = io.BytesIO()
    metadata = {"Date": None} if kind == "svg" else None  # equal runs give equal files
    figure.savefig(buffer, format=kind, transparent=transparent, dpi=300, metadata=metadata)
    return buffer.getvalue()


@contextmanager
def _style(ink: str, svg_text: str) -> Iterator[None]:
    ink_keys = ("text.color", "axes.edgecolor", "axes.labelcolor", "axes.titlecolor", "xtick.color", "ytick.color")
    style: Any = dict.fromkeys(ink_keys, ink) | {
        "font.family": "DejaVu Sans",
        "font.size": 10,
        "axes.titlesize": 11,
        "axes.titleweight": "bold",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "svg.fonttype": svg_text,
        "svg.hashsalt": "report",
        "text.parse_math": False,  # a run's name may hold dollar signs
    }
    with matplotlib.rc_context(style):
        yield
