"""One data set through every method: the table of docs/comparison.md, in Markdown.

``python -m benchmarks.studies.method_comparison --work FOLDER --dataset ecssd --root ECSSD --model NAME
--weights FILE [--multi-context MODEL]``

Runs the job once a method, below FOLDER, then ``jobs.evaluate --structure-scores`` over all of them. Runs that are
there already are kept. Options that this command does not know are handed to every run of the job. ``--multi-context``
names what `jobs.train_multi_context` left.

``--seconds PHOTOGRAPHS`` measures the paper's Table 2 instead: seconds an image of region contrast, gradient,
multi-context and the method itself (ten steps, refined), one after the other on the same photographs, on one thread.
Multi-context saliency has new heads then, unless there is a model: they cost the same but for how often the second
network is asked.
"""

import argparse
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch

from benchmarks.speed.multi_context import untaught
from benchmarks.speed.timing import hardware, in_turn
from jobs.planning.networks import read_fine_tuned
from jobs.reporting.tables import FIGURES
from jobs.run.schema import TIMED
from saliency_core import load_classifier, place, saliency
from saliency_core._given_images import pixels_of
from saliency_core.methods.registry import METHODS, MULTI_CONTEXT, TAUGHT
from saliency_core.methods.window_network import load_multi_context
from saliency_core.networks.own_code import is_own_code
from saliency_core.parameters import preset

SHOWN = ("f_beta_of_mean_curve", "f_beta_max_of_mean", "f_beta_mean_of_max", "mae", "s_measure", "e_measure_max")
PAPER = {"region-contrast": 1.92, "gradient": 0.22, MULTI_CONTEXT: 4.38, "clamped-erasure": 0.45}
"""Seconds an image in the paper's Table 2, on a Titan X with VGG-16."""
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


def table_2(folder: Path, limit: int, model: str, weights: str, pair: str | None, rounds: int) -> None:
    """Print the seconds an image of four methods, this process's own time, and their ratios."""
    torch.set_num_threads(1)
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    images = [pixels_of(path) for path in paths[:: max(len(paths) // limit, 1)][:limit]]
    classifier = place(load_classifier(model, weights), "cpu")
    if pair is None:
        windows = untaught(model, weights)
    else:
        found = read_fine_tuned(pair)
        windows = load_multi_context(found.architecture, found.weights)
    published = preset("paper")
    networks = {
        "region-contrast": None,
        "gradient": classifier,
        MULTI_CONTEXT: place(windows, "cpu"),
        "clamped-erasure": classifier,
    }

    def of(method: str) -> Callable[[], None]:
        def run() -> None:
            for image in images:
                saliency(image, networks[method], method=method, parameters=published)

        return run

    seconds = in_turn({method: of(method) for method in networks}, rounds, time.process_time)
    own = seconds["clamped-erasure"]
    print(f"{hardware()['processor']}, one thread, {model}, {len(images)} photographs\n")
    print("| method | s/image | of the method's | in the paper |\n|---|---:|---:|---:|")
    for method, spent in seconds.items():
        published_ratio = PAPER[method] / PAPER["clamped-erasure"]
        print(f"| {method} | {spent / len(images):.3f} | {spent / own:.2f} | {published_ratio:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--methods", nargs="+", default=[name for name in METHODS if name not in TAUGHT])
    parser.add_argument("--multi-context", help="a model that jobs.train_multi_context left")
    parser.add_argument("--seconds", type=Path, help="folder of photographs")
    parser.add_argument("--limit", type=int, default=4, help="photographs of --seconds")
    parser.add_argument("--rounds", type=int, default=2, help="of --seconds")
    options, of_the_job = parser.parse_known_args()
    if options.seconds is not None:
        of_network = argparse.ArgumentParser()
        of_network.add_argument("--model", default="squeezenet1_1")
        of_network.add_argument("--weights", default="random")
        network = of_network.parse_args(of_the_job)
        table_2(options.seconds, options.limit, network.model, network.weights, options.multi_context, options.rounds)
        return
    if options.work is None:
        parser.error("--work names the folder of the runs")
    if options.multi_context:
        options.methods.append(MULTI_CONTEXT)
    runs = [options.work / method for method in options.methods]
    for method, run in zip(options.methods, runs, strict=True):
        if not (run / "_SUCCESS").exists():
            of_method = _without_network(of_the_job) if method == MULTI_CONTEXT else of_the_job
            of_method += ["--model-from", options.multi_context] if method == MULTI_CONTEXT else []
            job = [sys.executable, "-m", "jobs.saliency", "--method", method, "--output", str(run), *of_method]
            subprocess.run(job, check=True, stdout=sys.stderr)
    scores = options.work / "scores"
    evaluate = ["--runs", *map(str, runs), "--output", str(scores), "--structure-scores"]
    subprocess.run([sys.executable, "-m", "jobs.evaluate", *evaluate], check=True, stdout=sys.stderr)
    versions = ", ".join(f"{name} {version(name)}" for name in ("ray", "torch", "scikit-image"))
    print(f"{os.cpu_count()} cores, {platform.machine()}; {versions}; {' '.join(of_the_job)}\n")
    print(markdown(pq.read_table(scores / "scores.parquet").to_pylist()))


def _without_network(options: list[str]) -> list[str]:
    """Leave a network's name and weights out: the model brings its own; code of one's own has to be named again."""
    kept = list(options)
    for name in ("--model", "--weights"):
        if name in kept:
            place_of = kept.index(name)
            if not is_own_code(kept[place_of + 1]):
                del kept[place_of : place_of + 2]
    return kept


if __name__ == "__main__":
    main()
