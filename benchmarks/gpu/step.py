"""The passes as the job makes them: batches from free memory, memory that runs out, workers that share a GPU."""

import json
import subprocess
import sys
import time
from typing import Any

import torch

from benchmarks.gpu.measuring import random_pixels, synchronise, the_device
from jobs.pipeline.passes import NetworkPasses
from saliency_core.methods.attribution import NO_LABEL
from saliency_core.methods.registry import METHODS, NetworkMethod
from saliency_core.networks.classifier import load_classifier
from saliency_core.networks.options import Precision
from saliency_core.parameters import preset as parameters_of


def passes(
    model: str,
    weights: str,
    preset: str,
    precision: Precision,
    compile: bool,
    rows: int,
    gpu_share: float = 1.0,
) -> NetworkPasses:
    """Make the passes of the job's network step, with the batch size left to them."""
    method = METHODS["clamped-erasure"]
    assert isinstance(method, NetworkMethod)
    return NetworkPasses(
        load_classifier(model, weights),
        method,
        parameters_of(preset),
        precision=precision,
        compile=compile,
        rows_per_shard=rows,
        gpu_share=gpu_share,
    )


def throughput(made: NetworkPasses, rows: int, shards: int) -> dict[str, Any]:
    """Take shards of `rows` images through passes; pixels in, maps out, as the job hands them over."""
    images = list(random_pixels(rows, made.classifier.preprocessing.input_size))
    labels = torch.full((rows,), NO_LABEL).numpy()
    made(images, labels)
    synchronise()
    started = time.perf_counter()
    network = 0.0
    for _ in range(shards):
        outcomes = made(images, labels)
        assert not any(isinstance(outcome, Exception) for outcome, _ in outcomes), "an image failed"
        network += sum(seconds for _, seconds in outcomes)
    seconds = time.perf_counter() - started
    return {
        "images_per_second": rows * shards / seconds,
        "batch": made.batch_size,
        "in_passes": network / seconds,
        "warnings": "; ".join(made.warnings) or None,
    }


def form(arguments: dict[str, Any], shards: int) -> dict[str, Any]:
    """Measure one form of the passes."""
    made = passes(**arguments)
    about = {name: arguments[name] for name in ("model", "preset", "precision", "compile")}
    return about | throughput(made, arguments["rows"], shards)


def memory_that_runs_out(model: str, weights: str, rows: int) -> dict[str, Any]:
    """Give the process less memory than a pass needs: it must go on with smaller ones and lose no image."""
    assert torch.cuda.is_available(), "there is no GPU whose memory could run out"
    made = passes(model, weights, "fast", "float32", False, rows)
    whole = torch.cuda.get_device_properties(0).total_memory
    before = made.batch_size
    room = torch.cuda.memory_allocated() + 0.3 * _bytes_of_a_pass(made, rows)
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(min(room / whole, 1.0))
    try:
        figures = throughput(made, rows, 1)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert made.batch_size < before, f"memory did not run out: {before} images a pass went through"
    return figures | {"form": "memory runs out", "batch_before": before}


def small_share(model: str, weights: str, rows: int) -> dict[str, Any]:
    """See that a worker with a thousandth of the GPU chooses smaller passes than one that has it all."""
    sizes = [passes(model, weights, "fast", "float32", False, rows, share).batch_size for share in (1.0, 1e-3)]
    assert sizes[1] < sizes[0], f"{sizes[1]} images a pass with a thousandth of the GPU, {sizes[0]} with all"
    return {"form": "a thousandth of the GPU", "batch_before": sizes[0], "batch": sizes[1]}


def workers_that_share(count: int, arguments: dict[str, Any], shards: int) -> dict[str, Any]:
    """Run several workers on the one GPU at the same time, each in a process of its own."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.gpu.step",
        json.dumps(arguments | {"gpu_share": 1 / count}),
        str(shards),
    ]
    workers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(count)
    ]
    try:
        for worker in workers:  # all have warmed up before any is timed
            assert worker.stdout is not None
            assert worker.stdout.readline().strip() == "ready", "a worker did not start"
        started = time.perf_counter()
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write("\n")
            worker.stdin.flush()
        outputs = [worker.communicate()[0] for worker in workers]
        seconds = time.perf_counter() - started
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    images = sum(json.loads(output)["images"] for output in outputs)
    return {"form": f"{count} workers", "images_per_second": images / seconds}


def _bytes_of_a_pass(made: NetworkPasses, rows: int) -> int:
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    throughput(made, rows, 1)
    return torch.cuda.max_memory_allocated() - before


def _worker() -> None:
    arguments, shards = json.loads(sys.argv[1]), int(sys.argv[2])
    made, rows = passes(**arguments), arguments["rows"]
    throughput(made, rows, 1)
    print("ready", flush=True)
    sys.stdin.readline()
    throughput(made, rows, shards)
    print(json.dumps({"images": rows * (shards + 1), "device": str(the_device())}), flush=True)


if __name__ == "__main__":
    _worker()
