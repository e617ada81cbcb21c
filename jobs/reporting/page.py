"""The report as one self-contained HTML page."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from jobs.reporting.gallery import Group, shared_ids
from jobs.reporting.plots import Plot
from jobs.reporting.rows import RowIndex
from jobs.reporting.tables import FIGURES, Evaluated, scores_table
from jobs.run.schema import STATUSES
from jobs.storage import files as storage

_LOWER_IS_BETTER = ("mae",)


def render(
    runs: Sequence[Evaluated],
    indexes: Sequence[RowIndex],
    plots: dict[str, list[Plot]],
    gallery: Sequence[Group],
) -> str:
    """Render the page.

    Parameters
    ----------
    runs : sequence of Evaluated
    indexes : sequence of RowIndex
        Of these runs.
    plots : dict
        As `jobs.reporting.plots.make_plots` returns them.
    gallery : sequence of Group

    Returns
    -------
    str
        HTML that loads nothing and runs no script. Every text in it that comes from data is escaped.
    """
    environment = Environment(
        loader=PackageLoader("jobs.reporting", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    statuses = [status for status in STATUSES if any(run.sums.summary.counts[status] for run in runs)]
    page: str = environment.get_template("report.html.jinja").render(
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        version=version("clamped-erasure-saliency"),
        runs=[_run(run, statuses) for run in runs],
        statuses=statuses,
        shared=len(shared_ids(indexes)),
        warnings=warnings(runs, indexes),
        # Matplotlib has escaped the texts of its SVG.
        plots={kind: [(plot, Markup(plot.inline_svg())) for plot in made] for kind, made in plots.items()},
        scores=_scores(runs),
        gallery=gallery,
    )
    return page


def warnings(runs: Sequence[Evaluated], indexes: Sequence[RowIndex]) -> list[str]:
    """Say what a reader must know before comparing the scores."""
    found = [
        f"{run.name} has not finished: its scores are over the {run.rows} rows that are there."
        for run in runs
        if not run.run.finished
    ]
    held = [len(index.image_ids) for index in indexes]
    scored = [index.scored_ids for index in indexes]
    shared = len(shared_ids(indexes))
    if any(count != shared for count in held):
        each = ", ".join(f"{run.name} holds {count}" for run, count in zip(runs, held, strict=True))
        found.append(
            f"The runs do not hold the same images: {shared} are in all of them, but {each}. Scores are over each "
            "run's own images, so they cannot be compared directly."
        )
    elif any(not np.array_equal(np.sort(ids), np.sort(scored[0])) for ids in scored):
        each = ", ".join(f"{run.name} has {len(ids)}" for run, ids in zip(runs, scored, strict=True))
        found.append(
            f"Not the same images have scores in every run ({each}). Scores are over each run's own images, so they "
            "cannot be compared directly."
        )
    if len(runs) > 1 and not shared:
        found.append(f"No image is in all runs, so the gallery shows {runs[0].name} alone.")
    for run in runs:
        lost = max(sums.without_mask for sums in run.sums.structure.values())
        if lost:
            found.append(
                f"{run.name}: S and weighted F lack {lost} images, whose masks cannot be fetched or have changed."
            )
    return found


def _run(run: Evaluated, statuses: Sequence[str]) -> dict[str, Any]:
    record, settings = run.run.record, run.run.settings
    network = "none" if record["weights_sha256"] is None else f"{settings['model']}, {record['weights_sha256'][:12]}"
    return {
        "name": run.name,
        "method": run.run.method,
        "network": network,
        "rows": run.rows,
        "counts": [run.sums.summary.counts[status] for status in statuses],
        "seconds": sum(run.seconds_per_image().values()),
        "images_per_second": record.get("images_per_second"),
        "started": record["started"],
        "uri": storage.redacted(run.run.uri),
        "settings": json.dumps(settings, indent=2, ensure_ascii=False),
    }


def _scores(runs: Sequence[Evaluated]) -> dict[str, Any]:
    """Return the table of scores, with the best of every column marked."""
    rows = scores_table(runs).to_pylist()
    shown = {name: short for name, short in FIGURES.items() if any(row[name] is not None for row in rows)}
    best = {
        name: (min if name in _LOWER_IS_BETTER else max)(row[name] for row in rows if row[name] is not None)
        for name in shown
    }

    def stage(row: dict[str, Any]) -> dict[str, Any]:
        texts = {name: "" if row[name] is None else f"{row[name]:.4f}" for name in shown}
        figures = [{"text": texts[name], "best": row[name] == best[name]} for name in shown]
        return {name: row[name] for name in ("stage", "images", "empty_masks")} | {"figures": figures}

    by_run = [[stage(row) for row in rows if row["name"] == run.name] for run in runs]
    return {
        "columns": list(shown.values()),
        "runs": [{"name": run.name, "stages": stages} for run, stages in zip(runs, by_run, strict=True)],
    }
