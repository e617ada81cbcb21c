"""Whether the network passes are right on this machine's GPU, and how fast: one command, within eight minutes.

``python -m benchmarks.gpu_check [--json FILE] [--weights squeezenet1_1.safetensors] [--parts ...] [--quick]``

Needs the checkout, torch and what `saliency_core` imports; neither Ray nor pyarrow. Parts run one after the other in
processes of their own, each within its own time; one that fails, hangs or is killed does not stop the next. Without a
GPU it is a dry run: ``--quick`` makes every part small. The exit code is 1 if a check failed or a part did not end.
"""

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]

PARTS = {"checks": 120, "erasure": 180, "step": 100, "kernels": 70}
"""Parts in order of worth, with the most seconds that each may take: 470 together."""


def checks(options: argparse.Namespace, until: float) -> Iterator[dict[str, Any]]:
    """Check every form of the passes."""
    from benchmarks.gpu.checks import all_checks

    iterations = 2 if options.quick else 10
    networks = [("squeezenet1_1", options.weights)]
    if not options.quick:
        networks.append(("vgg16", "random"))
    for model, weights in networks:
        for name, check in all_checks(model, weights, iterations).items():
            row: dict[str, Any] = {"model": model, "check": name, "passed": False}
            if time.monotonic() > until:
                yield row | {"message": "not begun: time is up"}
                continue
            try:
                row |= check() | {"passed": True}
            except Exception as error:  # the next check may pass
                row["message"] = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            yield row


def erasure(options: argparse.Namespace, until: float) -> Iterator[dict[str, Any]]:
    """Measure images and FLOP per second of the erasure in its forms."""
    from benchmarks.gpu.erasure import measure

    models = [("vgg16", "random"), ("resnet50", "random"), ("squeezenet1_1", options.weights)]
    models.append(("convnext_tiny", "random"))
    if options.quick:
        models = [("squeezenet1_1", options.weights)]
    yield from measure(models, 2 if options.quick else 10, options.quick, until)


def step(options: argparse.Namespace, until: float) -> Iterator[dict[str, Any]]:
    """Measure the network passes of the job's step: its own batch sizes, memory that runs out, workers that share."""
    import torch

    from benchmarks.gpu import step as parts

    model, weights, rows, shards = (
        ("squeezenet1_1", options.weights, 4, 1) if options.quick else ("vgg16", "random", 96, 4)
    )
    common: dict[str, Any] = {"model": model, "weights": weights, "rows": rows}
    # The paper's passes can be compiled; those of whole objects read the network's layers and cannot.
    forms = [("paper", "bfloat16", False), ("paper", "bfloat16", True), ("default", "bfloat16", False)]
    forms += [("best", "bfloat16", False), ("paper", "float32", False)]
    if options.quick:
        forms = [("fast", "bfloat16", False), ("fast", "float32", False)]
    measured: list[Callable[[], dict[str, Any]]] = [
        partial(parts.form, common | {"preset": preset, "precision": precision, "compile": compile}, shards)
        for preset, precision, compile in forms
    ]
    preset = "fast" if options.quick else "paper"
    sharing = common | {"preset": preset, "precision": "bfloat16", "compile": False}
    measured.append(partial(parts.workers_that_share, 2, sharing, shards))
    if not options.quick:
        measured.append(partial(parts.workers_that_share, 1, sharing, shards))
    if torch.cuda.is_available():
        measured.append(partial(parts.memory_that_runs_out, model, weights, rows))
        measured.append(partial(parts.small_share, model, weights, rows))
    else:
        yield {"skipped": "memory that runs out and shares of a GPU: there is no GPU"}
    for one in measured:
        if time.monotonic() > until:
            yield {"passed": False, "message": "not begun: time is up"}
            return
        try:
            yield one() | {"passed": True}
        except Exception as error:  # the next one may do
            yield {"passed": False, "message": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}


def kernels(options: argparse.Namespace, until: float) -> Iterator[dict[str, Any]]:
    """Name the kernels that take most time, in the job's two forms."""
    from benchmarks.gpu.kernels import measure

    model, weights = ("squeezenet1_1", options.weights) if options.quick else ("vgg16", "random")
    batch, iterations = (2, 1) if options.quick else (64, 10)
    for form in ("as placed",) if options.quick else ("as placed", "compiled"):
        figures, table = measure(model, weights, "bfloat16", form, batch, iterations)
        print(table, flush=True)
        yield figures | {"table": table}


RUN: dict[str, Callable[[argparse.Namespace, float], Iterator[dict[str, Any]]]] = {
    "checks": checks,
    "erasure": erasure,
    "step": step,
    "kernels": kernels,
}


def run_part(options: argparse.Namespace) -> int:
    """Run one part in this process; each row is written as soon as it is there, so that none is lost to a limit."""
    until = time.monotonic() + 0.85 * options.seconds
    failed = False
    with options.rows.open("w") as file:
        for row in RUN[options.part](options, until):
            failed |= row.get("passed") is False
            shown = "  ".join(f"{name} {_shown(value)}" for name, value in row.items() if name != "table")
            print(shown, flush=True)
            print(json.dumps(row), file=file, flush=True)
    return 1 if failed else 0


def hardware() -> dict[str, Any]:
    """Return what the figures were measured on and with."""
    import torch

    gpu = torch.cuda.get_device_properties(0) if torch.cuda.is_available() else None
    return {
        "gpu": gpu.name if gpu else None,
        "gpu_memory": gpu.total_memory if gpu else None,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version() if gpu else None,
        "python": platform.python_version(),
    }


def main() -> int:
    """Run the parts one after the other and say which of them did not end well."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=list(RUN), default=list(RUN))
    parser.add_argument("--weights", default="random", help="of squeezenet1_1, a .safetensors file")
    parser.add_argument("--json", type=Path, help="write everything to this file as well")
    parser.add_argument("--quick", action="store_true", help="small passes: a dry run")
    parser.add_argument("--part", choices=list(RUN), help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        return run_part(options)
    report: dict[str, Any] = {"hardware": hardware(), "parts": {}}
    print(json.dumps(report["hardware"]), flush=True)
    bad = []
    with tempfile.TemporaryDirectory() as folder:
        for part in options.parts:
            rows = Path(folder) / f"{part}.jsonl"
            command = [sys.executable, "-m", "benchmarks.gpu_check", "--part", part, "--rows", str(rows)]
            command += ["--seconds", str(PARTS[part]), "--weights", options.weights]
            command += ["--quick"] if options.quick else []
            print(f"\n== {part} ==", flush=True)
            started = time.monotonic()
            try:
                code: int | str = subprocess.run(command, cwd=ROOT, timeout=PARTS[part]).returncode
            except subprocess.TimeoutExpired:
                code = f"stopped after {PARTS[part]} s"
            if code:
                bad.append(part)
            found = [json.loads(line) for line in rows.read_text().splitlines()] if rows.exists() else []
            report["parts"][part] = {"exit": code, "seconds": time.monotonic() - started, "rows": found}
            if options.json:
                options.json.write_text(json.dumps(report, indent=2) + "\n")
    print(f"\nnot well: {', '.join(bad)}" if bad else "\nall parts ended well")
    return 1 if bad else 0


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(main())
