"""The layers that take torch's place on a CPU: the same values, the same gradients."""

import numpy as np
import pytest
import torch
from torch import nn

from saliency_core.methods.clamped_erasure import erase
from saliency_core.networks.classifier import load_classifier
from saliency_core.networks.cpu_layers import GlobalAverage, InputConvolution, with_cpu_layers
from saliency_core.networks.placement import place
from saliency_core.parameters import ErasureParameters


def outcome(layer: nn.Module, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a layer's output, and the input's gradient of a sum of it with random weights."""
    images = images.clone().requires_grad_(True)
    found = layer(images)
    weights = torch.randn(found.shape, generator=torch.Generator().manual_seed(1), dtype=found.dtype)
    (gradient,) = torch.autograd.grad(found, images, weights)
    return found.detach(), gradient


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "size", "bias"),
    [
        (3, 2, 0, (24, 31), True),  # SqueezeNet 1.1
        (7, 2, 3, (32, 27), False),  # ResNet
        (11, 4, 2, (63, 64), True),  # AlexNet
        (4, 4, 0, (16, 18), True),  # ConvNeXt: the kernel is as large as the stride, two columns are left over
        (2, 3, 1, (13, 14), False),  # pixels between the kernels that no output sees
        ((5, 2), (3, 1), (1, 0), (21, 10), True),
    ],
)
def test_the_input_gradient_by_phase_is_that_of_torch(
    kernel: int, stride: int, padding: int, size: tuple[int, int], bias: bool, memory_format: torch.memory_format
) -> None:
    torch.manual_seed(0)
    expected_layer = nn.Conv2d(3, 8, kernel, stride, padding, bias=bias).double().requires_grad_(False)
    layer = InputConvolution.of(expected_layer)
    images = torch.randn(2, 3, *size, dtype=torch.float64).to(memory_format=memory_format)
    for found, expected in zip(outcome(layer, images), outcome(expected_layer, images), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_the_mean_of_all_pixels_and_its_gradient_are_those_of_torch() -> None:
    torch.manual_seed(0)
    values = torch.randn(3, 5, 7, 4).to(memory_format=torch.channels_last)
    for found, expected in zip(outcome(GlobalAverage(), values), outcome(nn.AdaptiveAvgPool2d(1), values), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("stride", "padding", "groups"), [(1, 0, 1), (2, 0, 1), (1, 1, 3)])
def test_convolutions_of_one_pixel_stay_what_they_are(stride: int, padding: int, groups: int) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(6, 9, 1, stride, padding, groups=groups).requires_grad_(False)
    images = torch.randn(2, 6, 9, 8)
    expected = outcome(layer, images)
    with_cpu_layers(nn.Sequential(layer))
    for one, other in zip(outcome(layer, images), expected, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch is built without oneDNN")
def test_convolutions_of_one_pixel_stay_in_onednn() -> None:
    layer = nn.Conv2d(64, 32, 1).requires_grad_(False)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        before = operations(layer)
        with_cpu_layers(nn.Sequential(layer))
        after = operations(layer)
    finally:
        torch.set_num_threads(threads)
    slow, fast = "aten::_slow_conv2d_forward", "aten::mkldnn_convolution"
    assert slow in before  # where torch has mended this, the layer needs no help any longer
    assert fast not in before
    assert fast in after
    assert slow not in after


def operations(layer: nn.Module) -> set[str]:
    """The names of torch's operations in a forward and a backward pass of two images."""
    images = torch.randn(2, 64, 20, 20).to(memory_format=torch.channels_last).requires_grad_(True)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        torch.autograd.grad(layer(images).sum(), images)
    return {str(event.key) for event in profile.key_averages()}


def test_only_layers_that_are_meant_are_replaced_and_parameters_stay() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2),
        nn.Sequential(nn.Conv2d(4, 4, 3, stride=2), nn.AdaptiveAvgPool2d((1, 1))),
        nn.AdaptiveAvgPool2d(2),
        nn.Conv2d(3, 4, 3),
        nn.Conv2d(3, 3, 3, stride=2, groups=3),
        nn.Conv2d(3, 4, 3, stride=2, dilation=2),
        nn.Conv2d(3, 4, 3, stride=2, padding=1, padding_mode="reflect"),
    )
    before = network.state_dict()
    with_cpu_layers(network.requires_grad_(False))
    kinds = [type(layer) for layer in network.modules()]
    assert [kind for kind in kinds if kind in (InputConvolution, GlobalAverage)] == [InputConvolution, GlobalAverage]
    assert type(network[0]) is InputConvolution
    after = network.state_dict()
    assert list(after) == list(before)
    assert all(after[name].data_ptr() == before[name].data_ptr() for name in before)


@pytest.mark.parametrize("name", ["squeezenet1_1", "resnet18", "efficientnet_b0"])
def test_a_whole_network_gives_the_same_maps(name: str) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    parameters = ErasureParameters(iterations=2)
    expected = erase(load_classifier(name, "random", num_classes=5, input_size=64), images, None, parameters)
    classifier = place(load_classifier(name, "random", num_classes=5, input_size=64), torch.device("cpu"))
    kinds = {type(layer) for layer in classifier.network.modules()}
    assert {InputConvolution, GlobalAverage} <= kinds
    found = erase(classifier, images, expected.label, parameters)
    np.testing.assert_allclose(found.logit_before, expected.logit_before, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.raw, expected.raw, rtol=1e-3, atol=1e-4 * expected.raw.max())
