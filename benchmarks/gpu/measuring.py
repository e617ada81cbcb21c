"""Clocks, ceilings and agreement: what the parts of the check measure with."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

from saliency_core.methods.network_pass import normalised, pixels_of_images
from saliency_core.networks.classifier import Classifier
from saliency_core.networks.options import Precision

DTYPES: dict[Precision, torch.dtype] = {
    "float32": torch.float32,
    "tf32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


def the_device() -> torch.device:
    """Return the GPU, or the CPU where there is none (a dry run)."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def synchronise() -> None:
    """Wait until the GPU has done all that was asked of it."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def seconds_of(function: Callable[[], Any], repeats: int, warm_ups: int = 1) -> float:
    """Return the median time of a call, the GPU waited for before the clock is read."""
    for _ in range(warm_ups):
        function()
    synchronise()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        function()
        synchronise()
        times.append(time.perf_counter() - started)
    return median(times)


@contextmanager
def tensor_float32(allowed: bool) -> Iterator[None]:
    """Allow or forbid TF32 in matrix products and convolutions for a while."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def product_rate(precision: Precision, side: int) -> float:
    """Measure FLOP/s of a product of two random square matrices: the ceiling of all arithmetic."""
    first, second = (torch.randn(side, side, device=the_device()).to(DTYPES[precision]) for _ in range(2))
    with tensor_float32(precision == "tf32"):
        return 2.0 * side**3 / seconds_of(lambda: first @ second, repeats=10, warm_ups=3)


def copy_rate(megabytes: int) -> float:
    """Measure bytes per second, read and written, of a copy within the device: the ceiling of all traffic."""
    source = torch.randn(megabytes * 2**18, device=the_device())
    target = torch.empty_like(source)
    return 2.0 * source.nbytes / seconds_of(lambda: target.copy_(source), repeats=10, warm_ups=3)


def operations_of_a_step(classifier: Classifier) -> float:
    """Count the floating-point operations of one forward pass of an image and the backward pass to its pixels.

    Parameters
    ----------
    classifier : Classifier
        On a CPU, and not yet placed: the counter knows torch's own layers alone.
    """
    size = classifier.preprocessing.input_size
    with FlopCounterMode(display=False) as counter:
        images = normalised(
            classifier, pixels_of_images(classifier, np.zeros((1, size, size, 3), np.uint8))
        ).requires_grad_(True)
        classifier.network(images).sum().backward()  # the counter does not know autograd.grad
    return float(counter.get_total_flops())


def random_pixels(count: int, size: int, seed: int = 0) -> NDArray[np.uint8]:
    """Draw random images, uint8 (count, size, size, 3): smooth as photographs are, with a sensor's noise.

    Without the noise many inputs of a pooling window would be equal, and rounding would choose among them.
    """
    generator = np.random.default_rng(seed)
    small = generator.random((count, 3, 8, 8), dtype=np.float32)
    large = torch.nn.functional.interpolate(torch.from_numpy(small), size=(size, size), mode="bicubic")
    noise = torch.from_numpy(generator.normal(0, 0.05, large.shape).astype(np.float32))
    return ((large + noise).clamp(0, 1) * 255).byte().permute(0, 2, 3, 1).contiguous().numpy()


def relative_error(found: NDArray[np.floating], expected: NDArray[np.floating]) -> float:
    """Return ``|found - expected| / |expected|`` in the Euclidean norm; NaN where anything is not finite."""
    difference = np.linalg.norm(found.astype(np.float64) - expected.astype(np.float64))
    return float(difference / np.linalg.norm(expected.astype(np.float64)))


def correlations(found: NDArray[np.floating], expected: NDArray[np.floating]) -> list[float]:
    """Return the correlation of each of B maps with its counterpart."""
    pairs = zip(found, expected, strict=True)
    return [float(np.corrcoef(one.ravel(), other.ravel())[0, 1]) for one, other in pairs]
