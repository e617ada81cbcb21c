"""Part c: the job against the plain loop of its own steps, and against the straightforward loop.

Each loop has a process of its own and all cores of the machine, as the job has.
"""

import json
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from benchmarks.speed.job_overhead import job, plain_loop
from benchmarks.speed.peers import straightforward
from jobs.settings import SaliencySettings
from saliency_core import SaliencyParameters, load_classifier
from saliency_core.networks.options import Precision
from saliency_core.parameters import ErasureParameters


def _plain_loop(settings: SaliencySettings) -> float:
    torch.set_num_threads(os.cpu_count() or 1)
    return plain_loop(settings)


def _straightforward_loop(settings: SaliencySettings, files: list[bytes], frozen: bool) -> float:
    """Return images per second; the first three images are a warm-up."""
    torch.set_num_threads(os.cpu_count() or 1)
    classifier = load_classifier(settings.model, settings.weights)
    classifier.network.requires_grad_(not frozen)
    parameters = SaliencyParameters(erasure=settings.erasure)
    for data in files[:3]:
        straightforward(classifier, data, parameters)
    started = time.perf_counter()
    for data in files:
        straightforward(classifier, data, parameters)
    return len(files) / (time.perf_counter() - started)


def measure(
    images: str,
    model: str,
    weights: str,
    iterations: int,
    precisions: list[Precision],
    folder: Path,
    files: list[bytes],
    rounds: int,
) -> list[dict[str, Any]]:
    """Return a row a round and precision; the job, the plain loop and the straightforward loops take turns.

    The straightforward loop computes in float32; it runs as torchvision's networks come, which computes a gradient for
    every parameter, and with its parameters frozen.
    """
    rows = []
    erasure = ErasureParameters(iterations=iterations)
    settings = SaliencySettings(images=images, output="", model=model, weights=weights, erasure=erasure)
    for index in range(rounds):
        with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as process:
            simple = process.submit(_straightforward_loop, settings, files, False).result()
            frozen = process.submit(_straightforward_loop, settings, files, True).result()
            for precision in precisions:
                one = replace(settings, precision=precision)
                loop = process.submit(
                    _plain_loop, replace(one, output=str(folder / f"loop-{precision}-{index}"))
                ).result()
                found = job(replace(one, output=str(folder / f"job-{precision}-{index}")))
                speed = found["images_per_second"]
                rows.append(
                    {
                        "precision": precision,
                        "job_images_per_second": speed,
                        "plain_loop": loop,
                        "job_of_plain_loop": speed / loop,
                        "straightforward": simple,
                        "job_of_straightforward": speed / simple,
                        "straightforward_frozen": frozen,
                        "job_of_frozen": speed / frozen,
                        "start_seconds": found["start_seconds"],
                        "network_busy": found["network_busy"],
                    }
                )
                print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    return rows
