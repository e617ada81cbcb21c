import copy
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import nn

from saliency_core.imaging.decoding import decode_image
from saliency_core.imaging.resizing import squash
from saliency_core.methods.attribution import NO_LABEL, Attribution
from saliency_core.methods.clamped_erasure import erase
from saliency_core.methods.network_pass import normalised, pixels_of_images
from saliency_core.networks.classifier import Classifier, load_classifier
from saliency_core.networks.weights import weights_checksum
from saliency_core.parameters import ErasureParameters
from tests.support.small_networks import (
    STD,
    PassCounter,
    classifier_of,
    convolutional,
    linear,
    naive_erasure,
    normalise,
    random_images,
)


def relative_error(found: NDArray[np.floating], expected: NDArray[np.floating]) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def assert_same(found: Attribution, expected: Attribution, rtol: float = 0.0) -> None:
    for name in ("raw", "label", "probability", "logit_before", "logit_after", "drift"):
        one, other = getattr(found, name), getattr(expected, name)
        # The drift is a difference of logits, and keeps their absolute error.
        scale = np.abs(expected.logit_before if name == "drift" else other).max()
        np.testing.assert_allclose(one, other, rtol=rtol, atol=rtol * scale, err_msg=name)


def part(attribution: Attribution, chosen: slice) -> Attribution:
    return attribution[chosen]


# --- the values


def test_one_step_on_a_linear_network_by_hand() -> None:
    weights = np.zeros((2, 3, 2, 2))
    weights[1, :, 0, 0] = (1.0, 2.0, -4.0)  # R, G, B
    weights[1, :, 1, 1] = (-1.0, 0.5, 3.0)
    classifier = classifier_of(linear(weights), size=2, std=(0.1, 0.2, 0.6))
    images = random_images(0, 1, size=2)
    raw = erase(classifier, images, np.array([1]), ErasureParameters(epsilon=0.5, iterations=1)).raw
    expected = np.array([[0.5 * (1.0 * 0.1 + 2.0 * 0.2) / 3, 0.0], [0.0, 0.5 * (0.5 * 0.2 + 3.0 * 0.6) / 3]])
    np.testing.assert_allclose(raw[0], expected, rtol=1e-6)


def test_two_steps_on_a_linear_network_by_hand() -> None:
    # One pixel, R only; a_0 = 2 r, a_1 = 3 r. Label 0: the first gradient is 2, r falls by 0.1 * 2 = 0.2, so
    # a_1 - o_1 = -0.6 and the second gradient is 2 + 2 * gamma * (-0.6) * 3 = 2 - 3.6 * 0.25 = 1.1.
    weights = np.zeros((2, 3, 1, 1))
    weights[:, 0, 0, 0] = (2.0, 3.0)
    classifier = classifier_of(linear(weights), size=1, std=(1.0, 1.0, 1.0), mean=(0.0, 0.0, 0.0))
    parameters = ErasureParameters(epsilon=0.1, gamma=0.25, iterations=2)
    found = erase(classifier, np.full((1, 1, 1, 3), 51, np.uint8), np.array([0]), parameters)
    assert found.raw[0, 0, 0] == pytest.approx((0.1 * 2 + 0.1 * 1.1) / 3, rel=1e-6)
    assert found.logit_before[0] == pytest.approx(2 * 0.2, rel=1e-6)
    assert found.logit_after[0] == pytest.approx(2 * (0.2 - 0.2), abs=1e-6)
    assert found.drift[0] == pytest.approx(0.6, rel=1e-6)


def test_channels_are_averaged_in_common_pixel_units() -> None:
    # Equal gradients of the normalised channels are unequal changes of the pixels: std counts, not 1.
    classifier = classifier_of(linear(np.ones((1, 3, 4, 4))), size=4, std=(0.1, 0.2, 0.6))
    raw = erase(classifier, random_images(1, 1, 4), parameters=ErasureParameters(epsilon=1.0, iterations=1)).raw
    np.testing.assert_allclose(raw, 0.3, rtol=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_one_step_is_the_rectified_gradient_of_the_logit(seed: int) -> None:
    classifier = classifier_of(convolutional(seed))
    image = random_images(seed, 1)
    found = erase(classifier, image, parameters=ErasureParameters(epsilon=0.3, gamma=5.0, iterations=1))
    point = normalise(classifier, image[0]).requires_grad_(True)
    logits = copy.deepcopy(classifier.network).double()(point)[0]
    logits.max().backward()
    assert point.grad is not None
    gradient = point.grad[0].numpy()
    assert (gradient < 0).any()
    expected = sum(0.3 * np.maximum(gradient[c], 0) * STD[c] for c in range(3)) / 3
    assert relative_error(found.raw[0], expected) < 1e-5


@pytest.mark.parametrize("gamma", [0.0, 0.05])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("activation", [nn.ReLU, nn.Softplus])
def test_many_steps_equal_the_gradient_descent_on_the_cost(
    activation: type[nn.Module], seed: int, gamma: float
) -> None:
    classifier = classifier_of(convolutional(seed, activation=activation))
    images = random_images(seed + 10, 3)
    labels = np.array([NO_LABEL, 2, 5])
    parameters = ErasureParameters(epsilon=0.05, gamma=gamma, iterations=6)
    found = erase(classifier, images, labels, parameters)
    for index, image in enumerate(images):
        expected = naive_erasure(classifier, image, int(labels[index]), epsilon=0.05, gamma=gamma, iterations=6)
        assert relative_error(found.raw[index], expected.raw) < 1e-4
        assert found.label[index] == expected.label
        before, after = expected.logits_before, expected.logits_after
        assert found.logit_before[index] == pytest.approx(before[expected.label], rel=1e-4, abs=1e-5)
        assert found.logit_after[index] == pytest.approx(after[expected.label], rel=1e-4, abs=1e-4)
        others = np.arange(6) != expected.label
        drift = np.sqrt(np.mean((after - before)[others] ** 2))
        assert found.drift[index] == pytest.approx(drift, rel=1e-3)
        softmax = np.exp(before) / np.exp(before).sum()
        assert found.probability[index] == pytest.approx(softmax[expected.label], rel=1e-4)


def test_the_clamping_term_is_zero_in_the_first_step_and_counts_later() -> None:
    classifier, images = classifier_of(convolutional(0)), random_images(0, 2)

    def raw(gamma: float, iterations: int) -> NDArray[np.float32]:
        return erase(classifier, images, parameters=ErasureParameters(0.1, gamma, iterations)).raw

    np.testing.assert_array_equal(raw(0.0, 1), raw(10.0, 1))
    assert relative_error(raw(0.05, 3), raw(0.0, 3)) > 0.01


def test_small_saliency_keeps_its_digits() -> None:
    # Steps of 1e-9 vanish in X itself, whose values are near 1.
    classifier, images = classifier_of(convolutional(0)), random_images(0, 1)
    large = erase(classifier, images, parameters=ErasureParameters(epsilon=1e-2, iterations=1)).raw
    small = erase(classifier, images, parameters=ErasureParameters(epsilon=1e-9, iterations=1)).raw
    np.testing.assert_allclose(small, large * 1e-7, rtol=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_clamping_lowers_the_drift_and_the_logit_falls(seed: int) -> None:
    classifier, images = classifier_of(convolutional(seed, classes=10)), random_images(seed, 4)
    free = erase(classifier, images, parameters=ErasureParameters(epsilon=0.01, gamma=0.0, iterations=10))
    clamped = erase(classifier, images, parameters=ErasureParameters(epsilon=0.01, gamma=0.1, iterations=10))
    assert (clamped.drift < free.drift).all()
    assert (clamped.logit_after < clamped.logit_before).all()
    assert (free.logit_after < free.logit_before).all()


@pytest.mark.parametrize("value", [0, 255])
def test_pixels_are_not_clipped(value: int) -> None:
    # Pooling without a maximum: on an image of one colour all its values tie.
    classifier = classifier_of(convolutional(2, pooling=nn.AvgPool2d))
    images = np.full((1, 12, 12, 3), value, np.uint8)
    found = erase(classifier, images, parameters=ErasureParameters(epsilon=0.1, gamma=0.01, iterations=4))
    expected = naive_erasure(classifier, images[0], epsilon=0.1, gamma=0.01, iterations=4)
    assert expected.raw.max() > 1e-3
    assert relative_error(found.raw[0], expected.raw) < 1e-4


@settings(max_examples=40, deadline=None)
@given(
    network_seed=st.integers(0, 10**6),
    image_seed=st.integers(0, 10**6),
    count=st.integers(1, 3),
    epsilon=st.floats(1e-6, 0.3),
    gamma=st.floats(0, 0.05),
    iterations=st.integers(1, 4),
    label=st.integers(-1, 5),
)
def test_saliency_is_never_negative(
    network_seed: int, image_seed: int, count: int, epsilon: float, gamma: float, iterations: int, label: int
) -> None:
    classifier = classifier_of(convolutional(network_seed))
    images = random_images(image_seed, count)
    found = erase(classifier, images, np.full(count, label), ErasureParameters(epsilon, gamma, iterations))
    assert found.raw.shape == (count, 12, 12)
    assert (found.raw >= 0).all()
    assert ((found.probability > 0) & (found.probability <= 1)).all()
    assert (found.drift >= 0).all()


# --- batches


@pytest.mark.parametrize("name", ["demo.tiny_vgg:TinyVGG", "squeezenet1_1"])
def test_batched_equals_unbatched(name: str) -> None:
    classifier = load_classifier(name, "random", num_classes=7, input_size=64)
    images = random_images(3, 4, size=64)
    labels = np.array([-1, 3, 0, -1])
    parameters = ErasureParameters(epsilon=100.0, gamma=0.1, iterations=3)
    together = erase(classifier, images, labels, parameters)
    for index in range(4):
        one = slice(index, index + 1)
        assert_same(part(together, one), erase(classifier, images[one], labels[one], parameters), rtol=1e-4)


def test_images_of_a_batch_do_not_influence_each_other() -> None:
    classifier, images = classifier_of(convolutional(1)), random_images(4, 3)
    parameters = ErasureParameters(epsilon=0.1, gamma=0.05, iterations=5)
    other = images.copy()
    other[0], other[2] = 255 - images[0], 0
    first, second = erase(classifier, images, None, parameters), erase(classifier, other, None, parameters)
    assert_same(part(first, slice(1, 2)), part(second, slice(1, 2)), rtol=1e-6)
    assert relative_error(first.raw[0], second.raw[0]) > 0.1


def test_types_and_shapes() -> None:
    found = erase(classifier_of(convolutional(0)), random_images(0, 2))
    assert found.raw.shape == (2, 12, 12)
    assert found.raw.dtype == np.float32
    assert found.label.dtype == np.int64
    for values in (found.probability, found.logit_before, found.logit_after, found.drift):
        assert values.shape == (2,)
        assert values.dtype == np.float32


def test_read_only_and_strided_images() -> None:
    classifier, images = classifier_of(convolutional(0)), random_images(0, 2)
    expected = erase(classifier, images)
    frozen = images.copy()
    frozen.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # torch warns of read-only memory, which it could write to
        assert_same(erase(classifier, frozen), expected)
    bgr = np.ascontiguousarray(images[..., ::-1])
    assert_same(erase(classifier, bgr[..., ::-1]), expected)
    np.testing.assert_array_equal(frozen, images)


def test_normalised_input_by_the_definition() -> None:
    classifier, images = classifier_of(convolutional(0)), random_images(5, 2)
    found = normalised(classifier, pixels_of_images(classifier, images))
    assert found.dtype == torch.float32
    for index, image in enumerate(images):
        np.testing.assert_allclose(found[index].numpy(), normalise(classifier, image)[0].numpy(), atol=1e-6)


# --- labels


def test_given_labels_and_recognised_ones() -> None:
    classifier, images = classifier_of(convolutional(3)), random_images(6, 3)
    recognised = erase(classifier, images)
    with torch.no_grad():
        logits = [classifier.network(normalise(classifier, image).float())[0] for image in images]
    assert recognised.label.tolist() == [int(values.argmax()) for values in logits]
    assert_same(erase(classifier, images, np.full(3, NO_LABEL)), recognised)
    other = (int(recognised.label[1]) + 1) % 6
    mixed = erase(classifier, images, np.array([-1, other, -1]))
    assert mixed.label.tolist() == [recognised.label[0], other, recognised.label[2]]
    assert relative_error(mixed.raw[1], recognised.raw[1]) > 0.01
    assert mixed.logit_before[1] == pytest.approx(float(logits[1][other]), rel=1e-5)


@pytest.mark.parametrize("labels", [[6], [-2], [100], [0, 1], []])
def test_wrong_labels(labels: list[int]) -> None:
    with pytest.raises(ValueError, match="labels"):
        erase(classifier_of(convolutional(0)), random_images(0, 1), np.array(labels, np.int64))


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((12, 12, 3), np.uint8),
        np.zeros((1, 3, 12, 12), np.uint8),
        np.zeros((1, 12, 12, 4), np.uint8),
        np.zeros((1, 12, 12, 3), np.float32),
    ],
)
def test_wrong_images(images: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match="uint8"):
        erase(classifier_of(convolutional(0)), images)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epsilon", 0.0),
        ("epsilon", -1.0),
        ("epsilon", np.nan),
        ("epsilon", np.inf),
        ("gamma", -1e-9),
        ("gamma", np.nan),
        ("gamma", np.inf),
        ("iterations", 0),
    ],
)
def test_wrong_parameters(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        ErasureParameters(**{name: value})  # type: ignore[arg-type]


# --- passes and side effects


@pytest.mark.parametrize("iterations", [1, 4])
@pytest.mark.parametrize("count", [1, 3])
def test_as_many_forward_and_backward_passes_as_iterations(count: int, iterations: int) -> None:
    counter = PassCounter()
    classifier = classifier_of(nn.Sequential(counter, convolutional(0)))
    counter.forwards = 0
    erase(classifier, random_images(0, count), parameters=ErasureParameters(iterations=iterations))
    assert (counter.forwards, counter.backwards) == (iterations, iterations)


def test_nothing_is_left_behind_in_the_network() -> None:
    classifier = load_classifier("demo.tiny_vgg:TinyVGG", "random", num_classes=4, input_size=64)
    network = classifier.network
    checksum = weights_checksum(network.state_dict())
    erase(classifier, random_images(0, 2, size=64), parameters=ErasureParameters(iterations=2))
    assert weights_checksum(network.state_dict()) == checksum
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert all(parameter.grad is None for parameter in network.parameters())
    for module in network.modules():
        assert not module.training
        hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
        assert not any(hooks)


@pytest.mark.parametrize("name", ["alexnet", "squeezenet1_1"])
def test_dropout_is_off_in_what_is_loaded(name: str) -> None:
    """Both networks drop half of their features while they are trained."""
    classifier, images = load_classifier(name, "random", num_classes=4, input_size=64), random_images(0, 2, size=64)
    assert any(isinstance(module, nn.Dropout) for module in classifier.network.modules())
    assert_same(erase(classifier, images), erase(classifier, images))
    classifier.network.train()  # so that it would be seen if it were on
    found, again = erase(classifier, images), erase(classifier, images)
    assert not np.array_equal(found.logit_before, again.logit_before)


@pytest.mark.parametrize("context", [torch.inference_mode, torch.no_grad])
def test_works_where_gradients_are_switched_off(context: Callable[[], AbstractContextManager[None]]) -> None:
    classifier, images = classifier_of(convolutional(0)), random_images(0, 2)
    expected = erase(classifier, images)
    with context():
        found = erase(classifier, images)
        assert not torch.is_grad_enabled()
    assert_same(found, expected)
    assert torch.is_grad_enabled()


# --- a real network


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["0023", "0049"])
def test_erasure_on_a_photograph(real_data: Path, name: str) -> None:
    classifier: Classifier = load_classifier("squeezenet1_1", real_data / "weights/squeezenet1_1.safetensors")
    pixels = decode_image((real_data / f"ecssd/images/{name}.jpg").read_bytes()).pixels
    images = squash(pixels, 224)[None]
    found = erase(classifier, images, parameters=ErasureParameters(epsilon=0.1, gamma=1e-3, iterations=3))
    expected = naive_erasure(classifier, images[0], epsilon=0.1, gamma=1e-3, iterations=3)
    assert found.label[0] == expected.label
    assert found.logit_after[0] < found.logit_before[0] - 1
    # ReLUs and max-pools switch at slightly different places in float32.
    error = np.sqrt(((found.raw[0] - expected.raw) ** 2).sum() / (expected.raw**2).sum())
    assert error < 0.02
    free = erase(classifier, images, parameters=ErasureParameters(epsilon=0.1, gamma=0.0, iterations=3))
    assert found.drift[0] < free.drift[0]
