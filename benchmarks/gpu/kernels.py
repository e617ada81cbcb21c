"""Where the time of the erasure goes on the device: the kernels that take most of it, and how long it is busy."""

from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu.erasure import in_form
from benchmarks.gpu.measuring import random_pixels, seconds_of, synchronise
from saliency_core.methods.clamped_erasure import erase
from saliency_core.networks.classifier import load_classifier
from saliency_core.networks.options import Precision
from saliency_core.parameters import ErasureParameters


def measure(
    model: str, weights: str, precision: Precision, form: str, batch: int, iterations: int
) -> tuple[dict[str, Any], str]:
    """Profile one erasure of a batch.

    Returns
    -------
    figures : dict
        Milliseconds an image, and the share of the time in which the GPU is busy (one stream: no overlap).
    table : str
        The twenty kernels or operators that take most of it.
    """
    classifier, warning = in_form(load_classifier(model, weights), precision, form, batch)
    images = random_pixels(batch, classifier.preprocessing.input_size)
    parameters = ErasureParameters(iterations=iterations)

    def run() -> None:
        erase(classifier, images, parameters=parameters)

    seconds = seconds_of(run, repeats=3)
    on_gpu = torch.cuda.is_available()
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]) as profiler:
        run()
        synchronise()
    averages = profiler.key_averages()
    order = "self_device_time_total" if on_gpu else "self_cpu_time_total"
    busy = sum(one.self_device_time_total for one in averages if one.device_type.name == "CUDA") / 1e6
    figures: dict[str, Any] = {
        "model": model,
        "precision": precision,
        "form": form,
        "batch": batch,
        "milliseconds_an_image": 1000 * seconds / batch,
        "gpu_busy": min(busy / seconds, 1.0) if on_gpu else None,
        "warning": warning,
    }
    return figures, averages.table(sort_by=order, row_limit=20, max_name_column_width=70)
