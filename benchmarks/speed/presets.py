"""Images per second of whole jobs: several presets, or several checkouts of the project, in turn.

``python -m benchmarks.speed.presets --images FOLDER --weights FILE [--presets paper fast default best] [--rounds 2]
[--checkouts FOLDER ...]``

A preset of "-" gives no ``--preset`` at all, for checkouts that have none. What else the machine does touches all,
since every round runs each once; the figure is what the job's own record says: from its first shard to its last.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.speed.command_start import environment
from benchmarks.speed.timing import hardware


def job(checkout: Path, arguments: list[str], output: Path) -> dict[str, float]:
    """Run a job to its end; return its images per second and the seconds on the clock, start and end included."""
    command = [sys.executable, "-m", "jobs.saliency", *arguments, "--output", str(output)]
    started = time.perf_counter()
    done = subprocess.run(command, cwd=checkout, env=environment(checkout), capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - started
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}: {done.stdout}{done.stderr}")
    record: dict[str, Any] = json.loads((output / "_run.json").read_text())
    return {
        "images_per_second": round(record["images_per_second"], 2),
        "whole_seconds": round(seconds, 1),
    }


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--model", default="squeezenet1_1")
    parser.add_argument("--weights", required=True, help="a file, or: random")
    parser.add_argument("--limit", type=int, default=200)
    parser.add_argument("--presets", nargs="+", default=["paper", "fast", "default", "best"])
    parser.add_argument("--checkouts", type=Path, nargs="+", default=[Path(__file__).parents[2]])
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    weights = options.weights if options.weights == "random" else Path(options.weights).resolve()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / "images"
        images.mkdir()
        for path in sorted(options.images.iterdir())[: options.limit]:
            shutil.copy(path, images)
        for index in range(options.rounds):
            for number, checkout in enumerate(options.checkouts):
                for preset in options.presets:
                    arguments = ["--images", str(images), "--model", options.model, "--weights", str(weights)]
                    arguments += ["--preset", preset] if preset != "-" else []
                    output = Path(folder) / f"run-{index}-{number}-{preset}"
                    found = job(checkout.resolve(), arguments, output)
                    rows.append({"checkout": str(checkout), "preset": preset, **found})
                    print(rows[-1], file=sys.stderr, flush=True)
    print(json.dumps({"hardware": hardware(), "limit": options.limit, "runs": rows}, indent=2))


if __name__ == "__main__":
    main()
