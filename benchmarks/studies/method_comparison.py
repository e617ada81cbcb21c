"""One data set through every method: the table of docs/comparison.md, in Markdown.

``python -m benchmarks.studies.method_comparison --work FOLDER --dataset ecssd --root ECSSD --model NAME
--weights FILE``

Runs the job once a method, below FOLDER, then ``jobs.evaluate --structure-scores`` over all of them. Runs that are
there already are kept. Options that this command does not know are handed to every run of the job.
"""

import argparse
import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from jobs.reporting.tables import FIGURES
from jobs.run.schema import TIMED
from saliency_core.methods.registry import METHODS, STUDENT

SHOWN = ("f_beta_of_mean_curve", "f_beta_max_of_mean", "f_beta_mean_of_max", "mae", "s_measure", "e_measure_max")
CUT_OUT = ("segmentation_f_beta", "segmentation_iou")


def markdown(rows: list[dict[str, Any]]) -> str:
    """Return rows of scores.parquet as a Markdown table, with the seconds of work an image."""
    figures = [*SHOWN, *(name for name in CUT_OUT if any(row[name] is not None for row in rows))]
    head = ["method", "stage", *(FIGURES[name] for name in figures), "s/image"]
    lines = ["| " + " | ".join(head) + " |", "|---|---|" + "---:|" * (len(figures) + 1)]
    for row in rows:
        scores = ["" if row[name] is None else f"{row[name]:.3f}" for name in figures]
        # The cut-out has a column of its own, and its seconds are no part of the map's.
        seconds = sum(row[f"seconds_{part}"] for part in TIMED if part != "segmentation")
        lines.append("| " + " | ".join([row["method"], row["stage"], *scores, f"{seconds:.3f}"]) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", required=True, type=Path)
    parser.add_argument("--methods", nargs="+", default=[name for name in METHODS if name != STUDENT])
    options, of_the_job = parser.parse_known_args()
    runs = [options.work / method for method in options.methods]
    for method, run in zip(options.methods, runs, strict=True):
        if not (run / "_SUCCESS").exists():
            job = [sys.executable, "-m", "jobs.saliency", "--method", method, "--output", str(run), *of_the_job]
            subprocess.run(job, check=True, stdout=sys.stderr)
    scores = options.work / "scores"
    evaluate = ["--runs", *map(str, runs), "--output", str(scores), "--structure-scores"]
    subprocess.run([sys.executable, "-m", "jobs.evaluate", *evaluate], check=True, stdout=sys.stderr)
    versions = ", ".join(f"{name} {version(name)}" for name in ("ray", "torch", "scikit-image"))
    print(f"{os.cpu_count()} cores, {platform.machine()}; {versions}; {' '.join(of_the_job)}\n")
    print(markdown(pq.read_table(scores / "scores.parquet").to_pylist()))


if __name__ == "__main__":
    main()
