"""Precision, and layers that are the same sooner: what of it runs on a CPU."""

import numpy as np
import pytest
import torch
from torch import nn

from saliency_core.methods.clamped_erasure import erase
from saliency_core.networks.classifier import load_classifier
from saliency_core.networks.options import Precision
from saliency_core.networks.placement import compiled_network, place, pool_before_relu
from saliency_core.parameters import ErasureParameters
from tests.support.small_networks import classifier_of, convolutional, random_images

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


@pytest.mark.slow
def test_a_compiled_network_gives_the_same_maps() -> None:
    images = random_images(3, 2)
    classifier = place(classifier_of(convolutional(3)), CPU)
    expected = erase(classifier, images)
    compiled, warning = compiled_network(classifier, 2)
    if warning is not None:
        pytest.skip(f"this machine cannot compile: {warning}")
    np.testing.assert_allclose(erase(compiled, images).raw, expected.raw, rtol=1e-3, atol=1e-5 * expected.raw.max())
