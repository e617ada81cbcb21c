"""Precision, compiling, batch sizes and memory that runs out: what of it runs on a CPU."""

import platform
import subprocess
import sys
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import nn

from jobs.pipeline.network import NetworkStep
from jobs.pipeline.prepare import PREPARED
from saliency_core.methods.attribution import Attribution
from saliency_core.methods.clamped_erasure import erase
from saliency_core.methods.registry import METHODS, NetworkMethod
from saliency_core.networks import placement as execution
from saliency_core.networks.classifier import Classifier, load_classifier
from saliency_core.networks.options import Precision
from saliency_core.networks.placement import (
    compiled_network,
    images_on_a_cpu,
    images_that_fit,
    place,
    pool_before_relu,
    reuse_freed_memory,
)
from saliency_core.parameters import ErasureParameters, SaliencyParameters
from tests.support.small_networks import classifier_of, convolutional, random_images

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
CPU = torch.device("cpu")
PARAMETERS = SaliencyParameters(ErasureParameters(iterations=3))


def erasure() -> NetworkMethod:
    method = METHODS["clamped-erasure"]
    assert isinstance(method, NetworkMethod)
    return method


def noting(sizes: list[int]) -> NetworkMethod:
    """Return the erasure, which notes how many images each of its passes has."""
    good = erasure()

    def attribute(classifier: Classifier, images: Any, *rest: Any) -> Attribution:
        sizes.append(len(images))
        return good.attribute(classifier, images, *rest)

    return NetworkMethod("noting", attribute)


def prepared_rows(images: np.ndarray) -> pa.Table:
    rows = [
        {"image_id": index, "image_uri": str(index), "status": "ok", "wanted_label": -1, "input": image.tobytes()}
        for index, image in enumerate(images)
    ]
    return pa.Table.from_pylist(rows, schema=PREPARED)


def raw_maps(rows: pa.Table, size: int = 12) -> np.ndarray:
    assert set(rows["status"].to_pylist()) == {"ok"}
    return np.stack([np.frombuffer(raw, np.float32).reshape(size, size) for raw in rows["raw"].to_pylist()])


def test_a_batch_in_which_every_image_failed_is_passed_over() -> None:
    images = random_images(2, 6)
    rows = prepared_rows(images).to_pylist()
    for row in rows[:4]:
        row |= {"status": "decode_error", "error": "no image", "input": None}
    step = NetworkStep(classifier_of(convolutional(0)), erasure(), PARAMETERS, batch_size=2)
    done = step(pa.Table.from_pylist(rows, schema=PREPARED))
    assert done["status"].to_pylist() == ["decode_error"] * 4 + ["ok"] * 2
    assert done["raw"].null_count == 4


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_low_precision_gives_nearly_the_same_maps_in_float32(precision: Precision) -> None:
    images = random_images(1, 4, size=64)
    expected = erase(load_classifier("tiny_vgg", "random", num_classes=7, input_size=64), images)
    low = place(load_classifier("tiny_vgg", "random", num_classes=7, input_size=64), CPU, precision)
    found = erase(low, images, expected.label)
    assert found.raw.dtype == np.float32
    assert not np.array_equal(found.raw, expected.raw)
    for one, other in zip(found.raw, expected.raw, strict=True):
        assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.95
    np.testing.assert_allclose(found.logit_before, expected.logit_before, rtol=0.05, atol=0.05)


def test_float16_keeps_gradients_that_its_numbers_do_not_reach() -> None:
    class Faint(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.full((2, 12), 2e-5))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.linear(images.mean(dim=(1, 2)) * 1e-2, self.weight)

    images = random_images(0, 1)
    parameters = ErasureParameters(iterations=1)
    expected = erase(classifier_of(Faint()), images, np.array([0]), parameters).raw
    found = erase(place(classifier_of(Faint()), CPU, "float16"), images, np.array([0]), parameters).raw
    assert expected.min() > 0
    np.testing.assert_allclose(found, expected, rtol=0.01)


def test_float32_is_the_reference_to_the_last_digits_and_takes_no_shortcuts() -> None:
    images = random_images(2, 3)
    expected = erase(classifier_of(convolutional(1)), images)
    found = erase(place(classifier_of(convolutional(1)), CPU), images)
    np.testing.assert_allclose(found.raw, expected.raw, rtol=1e-4, atol=1e-6 * expected.raw.max())
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32


@pytest.mark.parametrize("pool", [nn.MaxPool2d(2), nn.MaxPool2d(3, 2, ceil_mode=True), nn.MaxPool2d(3, 2, padding=1)])
def test_pooling_before_relu_changes_no_bit(pool: nn.MaxPool2d) -> None:
    torch.manual_seed(0)
    first = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), pool)
    network = nn.Sequential(first, nn.Conv2d(8, 4, 3), nn.ReLU())
    images = torch.randn(2, 3, 24, 21)
    images[0, :, :12] = -5.0  # whole windows without a positive number, and ties
    images.requires_grad_(True)
    expected = network(images)
    (expected_gradient,) = torch.autograd.grad(expected.square().sum(), images)
    pool_before_relu(network)
    assert [type(layer) for layer in first] == [nn.Conv2d, nn.MaxPool2d, nn.ReLU]
    found = network(images)
    (gradient,) = torch.autograd.grad(found.square().sum(), images)
    assert torch.equal(found, expected)
    assert torch.equal(gradient, expected_gradient)
    assert (gradient != 0).any()


def test_tf32_needs_a_gpu() -> None:
    with pytest.raises(ValueError, match="tf32"):
        place(classifier_of(convolutional(0)), CPU, "tf32")


def test_a_compiler_that_fails_leaves_the_network_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    def compile(*_: object, **__: object) -> object:
        raise RuntimeError("no compiler\nhere")

    monkeypatch.setattr(torch, "compile", compile)
    step = NetworkStep(classifier_of(convolutional(0)), erasure(), PARAMETERS, batch_size=2, compile=True)
    assert step.warnings == ["torch.compile failed, the network runs uncompiled: RuntimeError: no compiler here"]
    assert set(step(prepared_rows(random_images(0, 3)))["status"].to_pylist()) == {"ok"}


def test_compiled_batches_are_filled_to_one_size(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    monkeypatch.setattr(torch, "compile", lambda network, **_: network)
    images = random_images(0, 5)
    step = NetworkStep(classifier_of(convolutional(0)), noting(sizes), PARAMETERS, batch_size=4, compile=True)
    found = raw_maps(step(prepared_rows(images)))
    assert sizes == [4, 4]
    assert not step.warnings
    expected = NetworkStep(classifier_of(convolutional(0)), erasure(), PARAMETERS, batch_size=4)(prepared_rows(images))
    np.testing.assert_allclose(found, raw_maps(expected), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(("most", "compile", "sizes"), [(64, True, [10]), (8, True, [5, 5]), (4, False, [4, 4, 2])])
def test_a_shard_is_done_in_passes_of_one_size(
    most: int, compile: bool, sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    monkeypatch.setattr(torch, "compile", lambda network, **_: network)
    classifier = classifier_of(convolutional(0))
    step = NetworkStep(classifier, noting(seen), PARAMETERS, batch_size=most, compile=compile, rows_per_shard=10)
    assert set(step(prepared_rows(random_images(0, 10)))["status"].to_pylist()) == {"ok"}
    assert seen == sizes


@pytest.mark.slow
def test_a_compiled_network_gives_the_same_maps() -> None:
    images = random_images(3, 2)
    classifier = place(classifier_of(convolutional(3)), CPU)
    expected = erase(classifier, images)
    compiled, warning = compiled_network(classifier, 2)
    if warning is not None:
        pytest.skip(f"this machine cannot compile: {warning}")
    np.testing.assert_allclose(erase(compiled, images).raw, expected.raw, rtol=1e-3, atol=1e-5 * expected.raw.max())


def test_a_batch_that_does_not_fit_is_split_and_the_next_ones_are_smaller() -> None:
    sizes = []
    good = erasure()

    def attribute(classifier: Classifier, images: Any, *rest: Any) -> Attribution:
        sizes.append(len(images))
        if len(images) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return good.attribute(classifier, images, *rest)

    images = random_images(4, 16)
    step = NetworkStep(classifier_of(convolutional(0)), NetworkMethod("small", attribute), PARAMETERS, batch_size=10)
    found = raw_maps(step(prepared_rows(images)))
    assert sizes == [10, 5, 3, 2, 5, 3, 2, 3, 3]
    assert step.batch_size == 3
    assert "memory ran out" in step.warnings[-1]
    expected = NetworkStep(classifier_of(convolutional(0)), good, PARAMETERS)(prepared_rows(images))
    np.testing.assert_allclose(found, raw_maps(expected), rtol=1e-4, atol=1e-7)


def test_an_image_that_never_fits_fails_alone() -> None:
    good = erasure()

    def attribute(classifier: Classifier, images: Any, *rest: Any) -> Attribution:
        if (images == 7).all(axis=(1, 2, 3)).any():
            raise torch.OutOfMemoryError("CUDA out of memory")
        return good.attribute(classifier, images, *rest)

    images = random_images(4, 4)
    images[2] = 7
    step = NetworkStep(classifier_of(convolutional(0)), NetworkMethod("small", attribute), PARAMETERS)
    rows = step(prepared_rows(images))
    assert rows["status"].to_pylist() == ["ok", "ok", "method_error", "ok"]
    assert "OutOfMemoryError" in rows["error"].to_pylist()[2]


@pytest.mark.parametrize(
    ("free", "of_two", "of_four", "expected"),
    [
        (10_000_000, 1, 1, execution.MOST_IMAGES),
        (100_000, 2_000, 4_000, 80),
        (100_000, 12_000, 14_000, 64),
        (1_000, 2_000, 4_000, 1),
        (5_000, 2_000, 4_000, 4),
    ],
)
def test_batch_size_from_free_memory(free: int, of_two: int, of_four: int, expected: int) -> None:
    assert images_that_fit(free, of_two, of_four) == expected


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16", "float16"])
@pytest.mark.parametrize("compile", [False, True])
def test_on_a_gpu_the_maps_are_those_of_the_cpu(precision: Precision, compile: bool) -> None:
    images = random_images(5, 6, size=64)
    expected = erase(load_classifier("tiny_vgg", "random", num_classes=7, input_size=64), images)
    classifier = load_classifier("tiny_vgg", "random", num_classes=7, input_size=64)
    step = NetworkStep(classifier, erasure(), SaliencyParameters(), 4, precision, compile)
    found = raw_maps(step(prepared_rows(images)), 64)
    assert not step.warnings
    for one, other in zip(found, expected.raw, strict=True):
        assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > (0.999 if precision in ("float32", "tf32") else 0.9)


@pytest.mark.gpu
@needs_gpu
def test_on_a_gpu_the_batch_size_fits_its_memory() -> None:
    classifier = load_classifier("tiny_vgg", "random", num_classes=7, input_size=64)
    whole = NetworkStep(classifier, erasure(), SaliencyParameters()).batch_size
    assert 8 <= whole <= execution.MOST_IMAGES
    assert NetworkStep(classifier, erasure(), SaliencyParameters(), gpu_share=1e-3).batch_size < whole


@pytest.mark.parametrize(("name", "images"), [("squeezenet1_1", 16), ("vgg16", 8), ("tiny_vgg", 16)])
def test_a_cpu_takes_fewer_images_of_a_network_that_keeps_much(name: str, images: int) -> None:
    classifier = place(load_classifier(name, "random"), torch.device("cpu"))
    assert images_on_a_cpu(classifier) == images


def test_freed_memory_is_kept_where_glibc_is() -> None:
    """In a process of its own: the setting is the process's for good."""
    code = """
import resource, sys
import numpy as np
from saliency_core.networks.placement import reuse_freed_memory
if sys.argv[1] == "reuse":
    reuse_freed_memory()
np.ones(2**24)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
np.ones(2**24)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""

    def pages(mode: str) -> int:
        return int(
            subprocess.run([sys.executable, "-c", code, mode], capture_output=True, text=True, check=True).stdout
        )

    if platform.libc_ver()[0] != "glibc":
        reuse_freed_memory()  # does nothing, and does no harm
        return
    assert pages("reuse") < 10 < pages("leave")
