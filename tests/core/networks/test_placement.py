"""Precision, and layers that are the same sooner: what of it runs on a CPU."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from saliency_core.errors import ArgumentError
from saliency_core.methods.attribution import Attribution
from saliency_core.methods.clamped_erasure import erase
from saliency_core.methods.gradient import input_gradient
from saliency_core.methods.network_pass import FLOAT16_SCALE
from saliency_core.networks.classifier import Classifier, load_classifier
from saliency_core.networks.cpu_layers import GlobalAverage, InputConvolution
from saliency_core.networks.options import Precision
from saliency_core.networks.placement import compiled_network, place, pool_before_relu
from saliency_core.networks.precision import LowPrecision
from saliency_core.parameters import ErasureParameters
from tests.support.small_networks import classifier_of, convolutional, linear, random_images

CPU = torch.device("cpu")


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_low_precision_gives_nearly_the_same_maps_in_float32(precision: Precision) -> None:
    images = random_images(1, 4, size=64)
    expected = erase(load_classifier("demo.tiny_vgg:TinyVGG", "random", num_classes=7, input_size=64), images)
    low = place(load_classifier("demo.tiny_vgg:TinyVGG", "random", num_classes=7, input_size=64), CPU, precision)
    found = erase(low, images, expected.label)
    assert found.raw.dtype == np.float32
    assert not np.array_equal(found.raw, expected.raw)
    for one, other in zip(found.raw, expected.raw, strict=True):
        assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.95
    np.testing.assert_allclose(found.logit_before, expected.logit_before, rtol=0.05, atol=0.05)


class Faint(nn.Module):
    """A gradient of 1e-8 to each input: float16 has no such number."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = (nn.Parameter(torch.full(shape, 1e-4)) for shape in ((1, 12), (2, 1)))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        values = torch.nn.functional.linear(images.sum(dim=(1, 2)), self.first)
        return torch.nn.functional.linear(values, self.last)


def test_float16_keeps_gradients_that_its_numbers_do_not_reach() -> None:
    assert torch.tensor(1e-8).half() == 0
    images = random_images(0, 1)
    parameters = ErasureParameters(iterations=1)
    expected = erase(classifier_of(Faint()), images, np.array([0]), parameters).raw
    found = erase(place(classifier_of(Faint()), CPU, "float16"), images, np.array([0]), parameters).raw
    assert expected.min() > 0
    np.testing.assert_allclose(found, expected, rtol=0.01)


def short_erasure(classifier: Classifier, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> Attribution:
    return erase(classifier, images, labels, ErasureParameters(epsilon=1e-3, gamma=0.0, iterations=2))


@pytest.mark.parametrize("method", [short_erasure, input_gradient])
def test_float16_halves_its_scale_where_gradients_overflow(method: Callable[..., Attribution]) -> None:
    """A gradient of 100 and more, carried 1024 times larger, is beyond 65504; the network's own numbers are not."""
    weights = 30 * np.random.default_rng(0).standard_normal((2, 3, 12, 12))
    network = linear(weights)
    images = random_images(0, 3)
    expected = method(classifier_of(network), images, np.array([0, 1, 0]))
    found = method(place(classifier_of(network), CPU, "float16"), images, np.array([0, 1, 0]))
    assert np.isfinite(found.raw).all()
    assert torch.finfo(torch.float16).max < 30 * FLOAT16_SCALE * 3
    np.testing.assert_allclose(found.raw, expected.raw, rtol=0.02, atol=0.02 * expected.raw.max())


def test_float32_is_the_reference_to_the_last_digits() -> None:
    images = random_images(2, 3)
    expected = erase(classifier_of(convolutional(1)), images)
    found = erase(place(classifier_of(convolutional(1)), CPU), images)
    np.testing.assert_allclose(found.raw, expected.raw, rtol=1e-4, atol=1e-6 * expected.raw.max())


# --- placing again, and what it leaves alone


def test_placing_again_starts_from_the_network_as_it_was_loaded() -> None:
    classifier, images = classifier_of(convolutional(1)), random_images(2, 3)
    expected = erase(place(classifier, CPU), images)
    low = place(classifier, CPU, "bfloat16")
    again = place(low, CPU, "float32")
    assert (low.precision, again.precision) == ("bfloat16", "float32")
    assert again.device == CPU
    assert not np.array_equal(erase(low, images).raw, expected.raw)
    np.testing.assert_array_equal(erase(again, images).raw, expected.raw)
    wrapped = place(low, CPU, "float16").network
    assert [type(layer) for layer in wrapped.modules()].count(LowPrecision) == 1


def test_placing_changes_nothing_of_its_argument() -> None:
    point = nn.Conv2d(4, 5, 1)
    network = nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.MaxPool2d(2)),
        point,
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )
    classifier = classifier_of(network)
    before = [(name, type(layer)) for name, layer in network.named_modules()]
    strides = {name: value.stride() for name, value in network.state_dict().items()}
    placed = place(classifier, CPU, "bfloat16")
    assert classifier.network is network
    assert [(name, type(layer)) for name, layer in network.named_modules()] == before
    assert {name: value.stride() for name, value in network.state_dict().items()} == strides
    assert point.dilation == (1, 1)
    assert (classifier.precision, classifier.original) == ("float32", None)
    assert placed.original is network
    # The layers for CPUs are in the copy alone, so that a later move to a GPU starts without them.
    assert any(isinstance(layer, InputConvolution) for layer in placed.network.modules())
    elsewhere = place(placed, "meta").network
    assert not any(isinstance(layer, InputConvolution | GlobalAverage) for layer in elsewhere.modules())


def test_numbers_that_need_not_differ_are_shared() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 12 * 12, 4))
    placed = place(classifier_of(network), CPU)
    ours, theirs = (next(of.parameters()).data_ptr() for of in (placed.network, network))
    assert ours == theirs


@pytest.mark.parametrize("device", ["cuda:99", "nowhere"])
def test_devices_that_are_not_there(device: str) -> None:
    with pytest.raises(ArgumentError, match=f"cannot be brought to the device '{device}'"):
        place(classifier_of(convolutional(0)), device)


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


def test_precisions_that_there_are_not() -> None:
    with pytest.raises(ArgumentError, match="precision must be one of float32, tf32"):
        place(classifier_of(convolutional(0)), CPU, "float8")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="tf32"):
        place(classifier_of(convolutional(0)), CPU, "tf32")


@pytest.mark.slow
def test_a_compiled_network_gives_the_same_maps() -> None:
    images = random_images(3, 2)
    classifier = place(classifier_of(convolutional(3)), CPU)
    expected = erase(classifier, images)
    compiled, warning = compiled_network(classifier, 2)
    if warning is not None:
        pytest.skip(f"this machine cannot compile: {warning}")
    np.testing.assert_allclose(erase(compiled, images).raw, expected.raw, rtol=1e-3, atol=1e-5 * expected.raw.max())
