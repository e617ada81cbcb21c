"""A student against its teacher on halves of a data set that it was not taught with.

``python -m benchmarks.studies.student --root ECSSD --weights FILE --work FOLDER [--seeds 0 1] [--samples 60 125 250]
[--other VOC]``

For each half: the saliency job over it, the distillation job from that run, the student over the other half, all below
FOLDER; what is finished already is kept, so that a study can be cut off and goes on. Prints the scores as a table in
Markdown; ``--other`` names a folder in Pascal VOC's layout on which the students run as well. ``--speed`` measures the
two networks' passes in turn, on one thread, instead.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.speed.timing import hardware, in_turn
from jobs.distillation.module import Distilling, DistilTask, Lessons
from jobs.distillation.settings import DistilSettings
from saliency_core import load_classifier, place
from saliency_core.methods.clamped_erasure import erase
from saliency_core.methods.student import new_head, student_map
from saliency_core.networks.classifier import Classifier
from saliency_core.networks.saliency_head import load_student, student_weights
from saliency_core.parameters import ErasureParameters, SaliencyParameters

IMAGES_A_PASS = 16


def halves(root: Path, work: Path) -> list[Path]:
    """Write the names of every other image as two lists."""
    files = sorted((root / "images").glob("*.jpg"))
    lists = []
    for half in (0, 1):
        path = work / f"half-{half}.txt"
        path.write_text("".join(f"{file}\n" for file in files[half::2]))
        lists.append(path)
    return lists


def run(name: str, *options: str) -> None:
    """Run a job, unless it has finished."""
    output = Path(options[options.index("--output") + 1])
    if not (output / "_SUCCESS").exists():
        print(f"{output} ...", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", f"jobs.{name}", *options], check=True, stdout=sys.stderr)


def scores(output: Path) -> dict[str, float]:
    """Return A of every stage of a finished run."""
    found = json.loads((output / "_run.json").read_text())["scores"]
    return {stage: figures["f_beta_of_mean_curve"] for stage, figures in found.items()}


def row(what: str, found: Sequence[dict[str, float]], stages: Sequence[str]) -> str:
    """Return a line of the table: the mean of each stage, and every run's own."""
    cells = []
    for stage in stages:
        values = [one[stage] for one in found if stage in one]
        spread = ", ".join(f"{value:.3f}" for value in values)
        cells.append(f"{np.mean(values):.3f} ({spread})" if values else "")
    return f"| {what} | " + " | ".join(cells) + " |"


def study(options: argparse.Namespace, of_the_distillation: Sequence[str]) -> None:
    work: Path = options.work
    work.mkdir(parents=True, exist_ok=True)
    network = ["--model", options.model, "--weights", str(options.weights), "--slots", str(options.slots)]
    masks = ["--masks", str(options.root / "ground_truth_mask")]
    lists = halves(options.root, work)
    teachers = [work / f"teacher-{half}" for half in (0, 1)]
    chosen = [half for half in (0, 1) if half in options.halves]
    for half in (0, 1):
        run("saliency", "--images", str(lists[half]), *masks, *network, "--output", str(teachers[half]))
    print("| taught with | student | student, objects | the same, preset best | teacher, objects | teacher, refined |")
    print("|---|---|---|---|---|---|")
    stages = ("student", "objects", "best", "teacher objects", "teacher refined")
    for sample in options.samples:
        found, elsewhere = [], []
        for seed in options.seeds:
            for half in chosen:
                model = work / f"model-{half}-{sample}-{seed}"
                sampled = ["--sample", str(sample), "--seed", str(seed), "--slots", str(options.slots)]
                run("distil", "--run", str(teachers[half]), *sampled, *of_the_distillation, "--output", str(model))
                seen = ["--method", "student", "--model-from", str(model), "--slots", str(options.slots)]
                output = work / f"student-{half}-{sample}-{seed}"
                new = ["--images", str(lists[1 - half]), *masks, *seen]
                run("saliency", *new, "--output", str(output))
                run("saliency", *new, "--preset", "best", "--output", f"{output}-best")
                best = {"best": scores(Path(f"{output}-best"))["objects"]}
                teacher = {f"teacher {stage}": value for stage, value in scores(teachers[1 - half]).items()}
                found.append(scores(output) | best | teacher)
                if options.other:
                    other = ["--dataset", "voc", "--root", str(options.other), "--split", "val"]
                    output = work / f"other-{half}-{sample}-{seed}"
                    run("saliency", *other, *seen, "--output", str(output))
                    run("saliency", *other, *network, "--output", str(work / "other-teacher"))
                    teacher = {f"teacher {stage}": value for stage, value in scores(work / "other-teacher").items()}
                    elsewhere.append(scores(output) | teacher)
        print(row(f"{sample} images", found, stages), flush=True)
        if elsewhere:
            print(row(f"{sample} images, on {options.other.name}", elsewhere, stages), flush=True)


def teaching_step(classifier: Classifier, images: NDArray[np.uint8], heads: int) -> Callable[[], None]:
    """Return a step of teaching with a batch: forward, and backward through the heads."""
    settings = DistilSettings(run="", output="")
    task = DistilTask(
        settings=settings, preprocessing=classifier.preprocessing, steps_per_epoch=1, heads=heads, round=1
    )
    head = new_head(classifier)
    count = len(images)
    targets = np.zeros((count, head.grid, head.grid), np.uint8)
    lessons = Lessons(targets, np.ones(count, np.float32), np.arange(count) % heads)
    module = Distilling(place(classifier, "cpu"), head, {"train": lessons}, task)
    batch = {
        "image": torch.from_numpy(images),
        "index": torch.arange(count),
        "counts": torch.ones(count, dtype=torch.bool),
    }
    return lambda: module.training_step(batch, 0).backward()


def speed(options: argparse.Namespace) -> None:
    """Measure the teacher's and the student's pass, and a step of teaching, in turn: this process's own time."""
    torch.set_num_threads(1)
    classifier = load_classifier(options.model, options.weights)
    student = load_student(options.model, student_weights(classifier, new_head(classifier)))
    size = classifier.preprocessing.input_size
    images = np.random.default_rng(0).integers(0, 256, (IMAGES_A_PASS, size, size, 3), dtype=np.uint8)
    parameters = SaliencyParameters()
    placed = place(classifier, "cpu", options.precision)
    taught = place(student, "cpu", options.precision)
    teacher_name = f"teacher, {parameters.erasure.iterations} steps"
    ten = ErasureParameters(iterations=10)
    found = in_turn(
        {
            teacher_name: lambda: erase(placed, images, None, parameters.erasure, parameters.views),
            "teacher, 10 steps": lambda: erase(placed, images, None, ten, parameters.views),
            "student": lambda: student_map(taught, images),
            "teaching one head": teaching_step(classifier, images, 1),
            "teaching two heads": teaching_step(classifier, images, 2),
        },
        rounds=options.rounds,
        clock=time.process_time,
    )
    print(json.dumps(hardware()["processor"]), options.precision)
    for name, seconds in found.items():
        each = seconds / IMAGES_A_PASS
        print(f"{name:20s} {1000 * each:7.1f} ms an image, {seconds / found['student']:.1f} times the student's")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, help="ECSSD, or another data set in its layout")
    parser.add_argument("--model", default="squeezenet1_1")
    parser.add_argument("--weights", required=True, type=Path)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--halves", nargs="+", type=int, default=[0, 1], help="halves to teach with")
    parser.add_argument("--samples", nargs="+", type=int, default=[250])
    parser.add_argument("--other", type=Path)
    parser.add_argument("--slots", type=int, default=4)
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--rounds", type=int, default=5, help="of --speed")
    options, of_the_distillation = parser.parse_known_args()
    if options.speed:
        speed(options)
    else:
        study(options, of_the_distillation)


if __name__ == "__main__":
    main()
