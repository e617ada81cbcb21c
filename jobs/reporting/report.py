"""The whole report: the page and its plots, written side by side."""

from collections.abc import Sequence

from jobs.reporting.gallery import make_gallery
from jobs.reporting.page import render, warnings
from jobs.reporting.plots import make_plots
from jobs.reporting.rows import index_rows
from jobs.reporting.runs import Run
from jobs.reporting.scores import evaluate
from jobs.storage import files as storage

PAGE = "report.html"
PLOTS = "plots"


def write_report(
    runs: Sequence[Run],
    output: str,
    images: int = 4,
    *,
    structure_scores: bool = False,
    ray_address: str | None = None,
) -> list[str]:
    """Write the report and return its warnings: what a reader must know before comparing the scores.

    Parameters
    ----------
    runs : sequence of Run
        The gallery is chosen by the first one's last stage.
    output : str
        Where report.html and the folder plots go: a folder or prefix.
    images : int
        Images in the gallery of each kind: best, median, worst.
    structure_scores : bool
        Whether to compute S-measure and weighted F-beta too.
    ray_address : str, optional
        A Ray cluster to spread the scoring over; None: this process does it.
    """
    found = evaluate(runs, structure_scores=structure_scores, ray_address=ray_address)
    indexes = [index_rows(run) for run in runs]
    plots = make_plots(found)
    gallery = make_gallery(found, indexes, images)
    for plot in (plot for kind in plots.values() for plot in kind):
        for name, content in plot.files().items():
            storage.write_bytes(storage.join(output, PLOTS, name), content)
    page = render(found, indexes, plots, gallery)
    storage.write_bytes(storage.join(output, PAGE), page.encode("utf-8", "replace"))
    return warnings(found, indexes)
