"""Part a: the erasure alone, its FLOP/s against those of matrix products on the same device in the same precision."""

import time
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.speed.timing import in_turn
from jobs.pipeline.freed_memory import reuse_freed_memory
from saliency_core.methods.attribution import Attribution
from saliency_core.methods.clamped_erasure import erase
from saliency_core.methods.network_pass import normalised, pixels_of_images
from saliency_core.networks.classifier import Classifier, load_classifier
from saliency_core.networks.options import Precision
from saliency_core.networks.placement import compiled_network, place
from saliency_core.parameters import ErasureParameters

PAPER_SECONDS = 0.45
"""An image, VGG-16 on a Titan X."""


def measure(
    model: str, weights: str, precisions: list[Precision], batch: int, iterations: int, compiled: bool, rounds: int
) -> list[dict[str, Any]]:
    """Return a row a precision, with and without torch.compile."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cpu":
        reuse_freed_memory()  # as the job's network workers do
    parameters = ErasureParameters(iterations=iterations)
    is_the_papers = model == "vgg16" and iterations == 10
    rows = []
    reference: Attribution | None = None
    for precision in precisions:
        if precision == "tf32" and device.type == "cpu":
            continue
        for is_compiled in (False, True) if compiled else (False,):
            classifier = place(load_classifier(model, weights), device, precision)
            warning = None
            if is_compiled:
                classifier, warning = compiled_network(classifier, batch)
            size = classifier.preprocessing.input_size
            images = np.random.default_rng(0).integers(0, 256, (batch, size, size, 3), dtype=np.uint8)
            found = erase(classifier, images, None if reference is None else reference.label, parameters)
            reference = reference or found
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats()
            functions = {
                "erasure": _synchronised(lambda c=classifier, x=images: erase(c, x, parameters=parameters)),
                "product": _synchronised(_product(device, precision)),
            }
            # One thread's own time on a CPU; a GPU is waited for.
            clock = time.process_time if device.type == "cpu" and torch.get_num_threads() == 1 else time.perf_counter
            best = in_turn(functions, rounds, clock)
            operations = iterations * _operations_of_a_step(load_classifier(model, weights), batch)
            rate, product_rate = operations / best["erasure"], _product_operations(device) / best["product"]
            rows.append(
                {
                    "precision": precision,
                    "compiled": is_compiled and warning is None,
                    "warning": warning,
                    "batch": batch,
                    "images_per_second": batch / best["erasure"],
                    "teraflops": rate / 1e12,
                    "of_matrix_products": rate / product_rate,
                    "times_the_paper": PAPER_SECONDS * batch / best["erasure"] if is_the_papers else None,
                    "correlation_with_float32": _correlation(found, reference),
                    "gigabytes": torch.cuda.max_memory_allocated() / 1e9 if device.type == "cuda" else None,
                }
            )
    return rows


def _synchronised(function: Any) -> Any:
    def run() -> None:
        function()
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    return run


def _side(device: torch.device) -> int:
    return 8192 if device.type == "cuda" else 1024


def _product_operations(device: torch.device) -> float:
    return 2.0 * _side(device) ** 3


def _product(device: torch.device, precision: Precision) -> Any:
    kind = {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(precision, torch.float32)
    first = torch.randn(_side(device), _side(device), device=device, dtype=kind)
    return lambda: first @ first


def _operations_of_a_step(classifier: Classifier, batch: int) -> float:
    """Count the floating-point operations of one forward and backward pass, the input's gradient alone."""
    size = classifier.preprocessing.input_size
    with FlopCounterMode(display=False) as counter:
        images = normalised(
            classifier, pixels_of_images(classifier, np.zeros((1, size, size, 3), np.uint8))
        ).requires_grad_(True)
        classifier.network(images).sum().backward()  # the counter does not know autograd.grad
    return float(counter.get_total_flops()) * batch


def _correlation(found: Attribution, reference: Attribution) -> float:
    pairs = zip(found.raw, reference.raw, strict=True)
    return float(np.mean([np.corrcoef(one.ravel(), other.ravel())[0, 1] for one, other in pairs]))
