"""Part c: the job against the plain loop of its own steps, against the straightforward loop, and its own limits."""

import os
from pathlib import Path
from typing import Any

import torch

from benchmarks.job_overhead import job, plain_loop
from benchmarks.peers import straightforward
from benchmarks.timing import in_turn
from jobs.settings import SaliencySettings
from saliency_core import SaliencyParameters, load_classifier
from saliency_core.parameters import ErasureParameters


def measure(
    images: str, model: str, weights: str, iterations: int, folder: Path, files: list[bytes], rounds: int
) -> list[dict[str, Any]]:
    """Return a row a round; the job, the plain loop and the straightforward loop take turns."""
    torch.set_num_threads(os.cpu_count() or 1)  # the loops have the machine for themselves, as the job has
    rows = []
    classifier = load_classifier(model, weights)
    parameters = SaliencyParameters(erasure=ErasureParameters(iterations=iterations))
    for index in range(rounds):

        def settings(name: str, index: int = index) -> SaliencySettings:
            return SaliencySettings(
                images=images,
                output=str(folder / f"{name}-{index}"),
                model=model,
                weights=weights,
                erasure=ErasureParameters(iterations=iterations),
            )

        loop = plain_loop(settings("loop"))
        found = job(settings("job"))
        seconds = in_turn({"loop": lambda: [straightforward(classifier, data, parameters) for data in files]}, 1)
        rows.append(
            {
                "job_images_per_second": found["images_per_second"],
                "plain_loop": loop,
                "job_of_plain_loop": found["images_per_second"] / loop,
                "straightforward_loop": len(files) / seconds["loop"],
                "job_of_straightforward": found["images_per_second"] * seconds["loop"] / len(files),
                "start_seconds": found["start_seconds"],
                "network_busy": found["network_busy"],
            }
        )
    return rows
