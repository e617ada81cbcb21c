"""How fast it is, and how fast it could be: all parts by one command, as tables and as JSON.

``python -m benchmarks [--parts a b c d e f] [--images FOLDER] [--model NAME] [--weights FILE] [--json FILE]``

a, the erasure alone against matrix products; b, each CPU stage; c, the job against plain loops; d, peers; e, scaling
with stand-ins; f, a GPU's idle time, with a stand-in. Without photographs it draws some, without weights they are
random: speed does not depend on either by much. On a machine with a GPU:
``python -m benchmarks --parts a --model vgg16 --batch 64 --compile``.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.speed import cpu_stages, erasure_alone, peers, scaling, shared_gpu, whole_job
from benchmarks.speed.timing import hardware
from demo.drawing import write_data_set
from saliency_core import load_classifier
from saliency_core.networks.options import Precision
from saliency_core.networks.placement import place

PRECISIONS: list[Precision] = ["float32", "tf32", "bfloat16", "float16"]
PARTS = {
    "a": "the erasure alone",
    "b": "CPU stages, one core",
    "c": "the whole job",
    "d": "peers",
    "e": "scaling, stand-in steps",
    "f": "workers that share a GPU, stand-in",
}


def show(console: Console, title: str, rows: list[dict[str, Any]]) -> None:
    """Print rows as a table."""
    table = Table(title=title)
    names = list(dict.fromkeys(name for row in rows for name in row))
    for name in names:
        table.add_column(name.replace("_", " "), justify="right")
    for row in rows:
        values = (row.get(name) for name in names)
        table.add_row(*(f"{value:.4g}" if isinstance(value, float) else str(value or "") for value in values))
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--images", type=Path, help="folder of JPEG photographs")
    parser.add_argument("--limit", type=int, default=20, help="photographs to take (a, b, d; of c the slow loop)")
    parser.add_argument("--model", default="squeezenet1_1")
    parser.add_argument("--weights", default="random")
    parser.add_argument("--iterations", type=int, default=10)
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=["float32", "tf32", "bfloat16"])
    parser.add_argument("--batch", type=int, default=16, help="images per pass in part a")
    parser.add_argument("--compile", action="store_true", help="part a with torch.compile as well")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4], help="sleeping workers in part e")
    parser.add_argument("--counts", type=int, nargs="+", default=[100, 1000, 10_000], help="images in part e")
    parser.add_argument("--sleep", type=float, default=5.0, help="milliseconds an image of the sleeping network")
    parser.add_argument(
        "--share-of-bytes", type=float, default=1.0, help="what steps of part e pass on, in parts of a shard's bytes"
    )
    parser.add_argument(
        "--gpu-milliseconds", type=float, nargs="+", default=[1.5, 4.5], help="an image of the GPU in part f"
    )
    parser.add_argument("--json", type=Path, help="write everything to this file as well")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    console = Console(width=160)
    settings = {name: str(value) for name, value in vars(options).items()}
    report: dict[str, Any] = {"hardware": hardware(), "settings": settings}
    console.print_json(data=report)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.images is None:
            write_data_set(folder / "scenes", options.limit, 0)
            options.images = folder / "scenes" / "images"
        paths = sorted(path for path in options.images.iterdir() if path.is_file())
        step = max(len(paths) // options.limit, 1)
        files = [path.read_bytes() for path in paths[::step][: options.limit]]
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        for part in options.parts:
            if part == "a":
                rows = erasure_alone.measure(
                    options.model,
                    options.weights,
                    options.precisions,
                    options.batch,
                    options.iterations,
                    options.compile,
                    options.rounds,
                )
            elif part == "b":
                rows = cpu_stages.measure(files, options.rounds)
            elif part == "c":
                rows = whole_job.measure(
                    str(options.images),
                    options.model,
                    options.weights,
                    options.iterations,
                    [one for one in options.precisions if one != "tf32" or device.type == "cuda"],
                    folder,
                    files,
                    options.rounds,
                )
            elif part == "d":
                rows = peers.measure(
                    place(load_classifier(options.model, options.weights), device), files, options.rounds
                )
            elif part == "e":
                rows = scaling.measure(options.workers, options.counts, options.sleep, options.share_of_bytes)
            else:
                rows = shared_gpu.measure([1, 2, 3], options.gpu_milliseconds, options.rounds)
            report[part] = rows
            show(console, f"{part}: {PARTS[part]}", rows)
            if options.json:
                options.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
