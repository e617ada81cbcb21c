"""Correctness on a GPU: each check is a function that returns its figures and raises AssertionError where they are bad.

The tests that need a GPU (``pytest -m gpu``) call the same functions.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from benchmarks.gpu.measuring import correlations, random_pixels, relative_error, the_device
from saliency_core.methods.clamped_erasure import erase
from saliency_core.methods.gradient import input_gradient
from saliency_core.networks.classifier import load_classifier
from saliency_core.networks.options import Precision
from saliency_core.networks.placement import compiled_network, place
from saliency_core.parameters import ErasureParameters

LARGEST_ERROR = 1e-3
"""Of float32 maps of one step, relative, in the Euclidean norm.

More steps are held by correlation: where two inputs of a ReLU or of a pooling window are all but equal, rounding
decides which way the gradient goes, and later steps start from there. On one CPU, batches of six photographs and the
same ones alone differ by up to 4e-3 after ten steps, and by 5e-7 after one.
"""

FEWEST_CORRELATED = {"float32": 0.999, "tf32": 0.99, "bfloat16": 0.9, "float16": 0.95}
"""Median correlation of raw maps with float32's that a form must reach."""

IMAGES = 6
ONE_STEP = ErasureParameters(iterations=1)


def maps_are_those_of_the_cpu(model: str, weights: str) -> dict[str, Any]:
    """Compare float32 maps of one step of the erasure, and of the gradient, with the CPU's."""
    images = random_pixels(IMAGES, load_classifier(model, weights).preprocessing.input_size)
    cpu, gpu = (place(load_classifier(model, weights), device) for device in ("cpu", the_device()))
    expected, found = (erase(one, images, parameters=ONE_STEP) for one in (cpu, gpu))
    figures = {"erasure": max(map(relative_error, found.raw, expected.raw))}
    assert (found.label == expected.label).all(), "another class is recognised"
    expected, found = (input_gradient(one, images, found.label) for one in (cpu, gpu))
    figures["gradient"] = max(map(relative_error, found.raw, expected.raw))
    assert all(error < LARGEST_ERROR for error in figures.values()), figures
    return figures


def a_batch_is_its_images(model: str, weights: str) -> dict[str, Any]:
    """Compare the maps of a batch with those of its images one by one."""
    classifier = place(load_classifier(model, weights), the_device())
    images = random_pixels(IMAGES, classifier.preprocessing.input_size, seed=1)
    together = erase(classifier, images, parameters=ONE_STEP).raw
    alone = np.concatenate([erase(classifier, images[i : i + 1], parameters=ONE_STEP).raw for i in range(IMAGES)])
    figures = {"erasure": max(map(relative_error, together, alone))}
    assert figures["erasure"] < LARGEST_ERROR, figures
    return figures


def float32_is_no_tf32(model: str, weights: str) -> dict[str, Any]:
    """See that float32 stays float32 after TF32 was used, and that the process's own choice is left as it was."""
    images = random_pixels(IMAGES, load_classifier(model, weights).preprocessing.input_size, seed=2)
    expected = erase(place(load_classifier(model, weights), "cpu"), images, parameters=ONE_STEP)
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    errors: dict[str, float] = {}
    precisions: tuple[Precision, ...] = ("tf32", "float32")
    for precision in precisions if torch.cuda.is_available() else precisions[1:]:
        found = erase(place(load_classifier(model, weights), the_device(), precision), images, expected.label, ONE_STEP)
        errors[precision] = max(map(relative_error, found.raw, expected.raw))
    after = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    assert errors["float32"] < LARGEST_ERROR, errors
    assert after == before, f"the process's TF32 settings changed from {before} to {after}"
    return errors


def a_form_agrees_with_float32(
    model: str, weights: str, iterations: int, precision: Precision, compiled: bool
) -> dict[str, Any]:
    """Compare the maps of a form with float32's on the CPU; compiled on a GPU means recorded as CUDA graphs."""
    parameters = ErasureParameters(iterations=iterations)
    images = random_pixels(IMAGES, load_classifier(model, weights).preprocessing.input_size, seed=3)
    expected = erase(place(load_classifier(model, weights), "cpu"), images, parameters=parameters)
    classifier, warning = place(load_classifier(model, weights), the_device(), precision), None
    if compiled:
        classifier, warning = compiled_network(classifier, IMAGES)
    assert warning is None, warning
    for _ in range(2):  # a recorded graph must give the same the second time
        found = erase(classifier, images, expected.label, parameters)
        agreement = correlations(found.raw, expected.raw)
        figures = {"median": float(np.median(agreement)), "lowest": min(agreement)}
        assert figures["median"] >= FEWEST_CORRELATED[precision], figures
    return figures


def all_checks(model: str, weights: str, iterations: int) -> dict[str, Callable[[], dict[str, Any]]]:
    """Return every check of a network by name, in order of worth."""
    precisions: list[Precision] = ["float32", "bfloat16", "float16", "tf32"]
    if not torch.cuda.is_available():
        precisions = ["float32", "bfloat16"]
    checks: dict[str, Callable[[], dict[str, Any]]] = {
        "one step against the CPU": partial(maps_are_those_of_the_cpu, model, weights),
        "batch against single": partial(a_batch_is_its_images, model, weights),
        "TF32 off": partial(float32_is_no_tf32, model, weights),
    }
    for compiled in (False, True):
        for precision in precisions:
            name = f"{precision}{', compiled' if compiled else ''}"
            checks[name] = partial(a_form_agrees_with_float32, model, weights, iterations, precision, compiled)
    return checks
