"""The erasure alone: images and FLOP per second by network, precision, form and batch size, best bets first."""

import dataclasses
import itertools
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import nn

from benchmarks.gpu.measuring import (
    copy_rate,
    operations_of_a_step,
    product_rate,
    random_pixels,
    seconds_of,
    tensor_float32,
    the_device,
)
from saliency_core.methods.clamped_erasure import erase
from saliency_core.networks.classifier import Classifier, load_classifier
from saliency_core.networks.options import Precision
from saliency_core.networks.placement import compiled_network, place
from saliency_core.parameters import ErasureParameters

PAPER_SECONDS = 0.45
"""An image of VGG-16 at T = 10 on a Titan X."""

VARIANTS = ("contiguous", "cudnn benchmark", "compile default", "compile max-autotune-no-cudagraphs")
"""Other ways to run the same network, beside the two forms that the job has (as placed, and compiled)."""


class Contiguous(nn.Module):
    """A network whose images come channel by channel, not pixel by pixel."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.to(memory_format=torch.contiguous_format)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits of normalised images (B, 3, S, S)."""
        logits: torch.Tensor = self.network(images.contiguous())
        return logits


def forms(models: list[tuple[str, str]], quick: bool) -> Iterator[tuple[str, str, Precision, str, int]]:
    """Yield what to measure, in order of worth: model, weights, precision, form, images a pass."""
    batches = (2,) if quick else (64, 128, 32, 256)
    paper, *others = models
    precisions: list[Precision] = ["bfloat16", "float32", "tf32", "float16"]
    if not torch.cuda.is_available():
        precisions = ["float32", "bfloat16"]
    for form, precision in itertools.product(("as placed", "compiled"), precisions[:2]):
        yield *paper, precision, form, batches[0]
    for variant in VARIANTS if not quick else VARIANTS[:2]:
        yield *paper, "bfloat16", variant, batches[0]
    for batch in batches[1:]:
        yield *paper, "bfloat16", "as placed", batch
    for model in others:
        for form in ("as placed", "compiled"):
            yield *model, "bfloat16", form, batches[0]
        yield *model, "float32", "as placed", batches[0]
    for precision in precisions[2:]:
        yield *paper, precision, "as placed", batches[0]
    for batch in batches[1:]:
        yield *paper, "bfloat16", "compiled", batch


def in_form(classifier: Classifier, precision: Precision, form: str, batch: int) -> tuple[Classifier, str | None]:
    """Bring a classifier to the device in one of the forms; the second value says why a form could not be had."""
    torch.backends.cudnn.benchmark = form == "cudnn benchmark"
    placed = place(classifier, the_device(), precision)
    if form == "compiled":
        return compiled_network(placed, batch)
    if form == "contiguous":
        return dataclasses.replace(placed, network=Contiguous(placed.network)), None
    if form.startswith("compile "):
        network: Any = torch.compile(placed.network, mode=form.removeprefix("compile "), dynamic=False)
        return dataclasses.replace(placed, network=network), None
    return placed, None


def measure(models: list[tuple[str, str]], iterations: int, quick: bool, until: float) -> Iterator[dict[str, Any]]:
    """Yield a row for each form until the time is up.

    Parameters
    ----------
    models : list of (name, weights)
        The paper's network first.
    iterations : int
    quick : bool
        A dry run: few and small passes.
    until : float
        `time.monotonic` at which nothing more is begun.
    """
    side = 512 if quick else 8192
    ceilings = {precision: product_rate(precision, side) for precision in ("float32", "bfloat16")}
    traffic = copy_rate(8 if quick else 1024)
    yield {"form": "ceilings", "bytes_per_second": traffic} | {f"{name}_flops": r for name, r in ceilings.items()}
    loaded: dict[str, tuple[Classifier, float]] = {}
    parameters = ErasureParameters(iterations=iterations)
    for name, weights, precision, form, batch in forms(models, quick):
        if time.monotonic() > until:
            yield {"form": "time is up", "model": name}
            return
        row: dict[str, Any] = {"model": name, "precision": precision, "form": form, "batch": batch}
        try:
            if name not in loaded:
                loaded[name] = (load_classifier(name, weights), operations_of_a_step(load_classifier(name, weights)))
            classifier, operations = loaded[name]
            placed, warning = in_form(classifier, precision, form, batch)
            images = random_pixels(batch, classifier.preprocessing.input_size)
            if torch.cuda.is_available():
                torch.cuda.reset_peak_memory_stats()
            with tensor_float32(precision == "tf32"):
                seconds = seconds_of(
                    partial(erase, placed, images, parameters=parameters),
                    repeats=1 if quick else 5,
                )
            if precision not in ceilings:
                ceilings[precision] = product_rate(precision, side)
            rate = operations * iterations * batch / seconds
            row |= {
                "images_per_second": batch / seconds,
                "teraflops": rate / 1e12,
                "of_products": rate / ceilings[precision],
                "gigabytes": torch.cuda.max_memory_allocated() / 1e9 if torch.cuda.is_available() else None,
                "warning": warning,
            }
            if (name, iterations) == ("vgg16", 10):
                row["times_the_paper"] = PAPER_SECONDS * batch / seconds
        except Exception as error:  # a form that fails says so, and the next one is measured
            row["warning"] = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        yield row
