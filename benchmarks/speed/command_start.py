"""How soon commands answer, and how soon a job has its first result.

``python -m benchmarks.speed.command_start [--checkouts FOLDER FOLDER] [--rounds 3] [--model NAME] [--weights FILE]``

Commands that answer without work are measured by what they used of a processor (their own processes', user and
system), which a busy machine does not change as much as the time on the clock. A job is measured on the clock: until
its plan is printed and until its first file of results is there, with one image a file, so that little but the start
is in it. With several checkouts of the project the same is done with each in turn, round after round; figures are the
least of all rounds, and for jobs all of them.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from benchmarks.speed.resume_overhead import end, number_of_shards
from benchmarks.speed.timing import hardware
from demo.drawing import write_data_set

COMMANDS: dict[str, tuple[int, list[str]]] = {
    "help": (0, ["jobs.saliency", "--help"]),
    "help of fine-tuning": (0, ["jobs.finetune", "--help"]),
    "error in an option": (2, ["jobs.saliency", "--images", "{images}", "--output", "{work}/none", "--epsilon", "-1"]),
    "images that are not there": (2, ["jobs.saliency", "--images", "{work}/missing", "--output", "{work}/none"]),
    "unknown network": (2, ["jobs.saliency", "--images", "{images}", "--output", "{work}/none", "--model", "vgg15"]),
    "dry run without a network": (0, [
        "jobs.saliency", "--images", "{images}", "--output", "{work}/none", "--method", "region-contrast", "--dry-run",
    ]),
    "dry run with a network": (0, [
        "jobs.saliency", "--images", "{images}", "--output", "{work}/none", "--model", "{model}",
        "--weights", "{weights}", "--dry-run",
    ]),
    "status": (0, ["jobs.status", "--run", "{run}"]),
}  # fmt: skip
"""Exit code and arguments."""


def environment(checkout: Path) -> dict[str, str]:
    """Return this process's environment, with the packages of a checkout first."""
    return {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"} | {"PYTHONPATH": str(checkout)}


def answer(checkout: Path, code: int, command: list[str]) -> float:
    """Return the processor seconds of a command that ends with an exit code."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    # In the checkout: "-m" looks where it is started before it looks where PYTHONPATH points.
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=checkout,
        env=environment(checkout),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != code:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}: {done.stdout}{done.stderr}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def start(checkout: Path, arguments: list[str], output: Path, *, finish: bool = False) -> dict[str, float]:
    """Start a job; return the seconds to its plan and its first result, and the driver's processor seconds by then."""
    shutil.rmtree(output, ignore_errors=True)
    log = output.with_suffix(".log")
    command = [sys.executable, "-m", "jobs.saliency", *arguments, "--output", str(output), "--rows-per-file", "1"]
    started = time.perf_counter()
    found: dict[str, float] = {}
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, cwd=checkout, env=environment(checkout), stdout=file, stderr=file, start_new_session=True
        )
    driver = psutil.Process(process.pid)
    while process.poll() is None:
        time.sleep(0.05)
        if "plan" not in found and b"output " in log.read_bytes():
            found["plan"] = time.perf_counter() - started
        if "first_result" not in found and number_of_shards(output):
            found["first_result"] = time.perf_counter() - started
            times = driver.cpu_times()
            found["driver_processor"] = times.user + times.system
            if not finish:
                end(driver)
    if process.wait() != 0 and (finish or "first_result" not in found):
        raise SystemExit(f"the job failed: {log.read_text()}")
    return {name: round(value, 2) for name, value in found.items()}


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkouts", type=Path, nargs="+", default=[Path(__file__).parents[2]])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", default="squeezenet1_1")
    parser.add_argument("--weights", default="random")
    parser.add_argument("--only", choices=["commands", "jobs"], help="measure one of the two alone")
    options = parser.parse_args()
    report: dict[str, Any] = {"hardware": hardware()}
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        write_data_set(work / "drawn", 8, seed=0)
        images = work / "drawn" / "images"
        network = ["--images", str(images), "--model", options.model, "--weights", options.weights]
        if options.only != "jobs":
            plain = ["--images", str(images), "--method", "center-gaussian"]
            for number, checkout in enumerate(options.checkouts):
                start(checkout, plain, work / f"run-{number}", finish=True)
        words = {"images": images, "work": work, "model": options.model, "weights": options.weights}
        seconds: dict[str, dict[str, float]] = {str(checkout): {} for checkout in options.checkouts}
        starts: dict[str, list[dict[str, float]]] = {str(checkout): [] for checkout in options.checkouts}
        for _ in range(options.rounds):
            for number, checkout in enumerate(options.checkouts):
                own = seconds[str(checkout)]
                for name, (code, command) in {} if options.only == "jobs" else COMMANDS.items():
                    filled = [word.format(**words, run=work / f"run-{number}") for word in command]
                    own[name] = round(min(own.get(name, float("inf")), answer(checkout, code, filled)), 2)
                if options.only != "commands":
                    starts[str(checkout)].append(start(checkout, network, work / "job"))
                    print(checkout, starts[str(checkout)][-1], file=sys.stderr, flush=True)
        report |= {"processor_seconds": seconds, "seconds_to": starts}
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
