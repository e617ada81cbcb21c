"""Numbers that are not finite, labels that are none, and the tensor forms of the methods."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from saliency_core.errors import ArgumentError, NotFiniteError
from saliency_core.methods.attribution import Attribution
from saliency_core.methods.clamped_erasure import erase, erase_tensor
from saliency_core.methods.gradient import input_gradient, input_gradient_tensor
from saliency_core.methods.network_pass import TensorAttribution
from saliency_core.networks.classifier import Classifier
from saliency_core.networks.placement import place
from saliency_core.parameters import ErasureParameters, ViewParameters
from tests.support.small_networks import classifier_of, convolutional, linear, random_images

FORMS = [(erase, erase_tensor), (input_gradient, input_gradient_tensor)]
NUMBERS = ("raw", "label", "probability", "logit_before", "logit_after", "drift")
Form = Callable[..., Attribution]
TensorForm = Callable[..., TensorAttribution]


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return classifier_of(convolutional(2))


def as_pixels(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255


# --- numbers that are not finite


def test_a_step_too_long_is_an_error_of_its_image() -> None:
    classifier = classifier_of(nn.Sequential(convolutional(0), nn.Softplus()))
    found = erase(classifier, random_images(0, 2), None, ErasureParameters(epsilon=1e30, gamma=1.0))
    for index in range(2):
        with pytest.raises(NotFiniteError, match="take a smaller epsilon or gamma"):
            found.image(index)


class Poisonous(nn.Module):
    """No numbers instead of logits whose first is below a threshold."""

    def __init__(self, threshold: float) -> None:
        super().__init__()
        self.threshold = threshold

    def forward(self, logits: torch.Tensor) -> torch.Tensor:
        return torch.where(logits[:, :1] > self.threshold, logits, torch.nan)


@pytest.mark.parametrize("method", [erase, input_gradient])
def test_logits_that_are_no_numbers_are_an_error_of_their_image_alone(method: Form) -> None:
    inner = classifier_of(convolutional(3))
    images = random_images(1, 8)
    with torch.no_grad():
        pixels = torch.from_numpy(np.stack([_normalised(inner, image) for image in images]))
        first = inner.network(pixels)[:, 0].numpy()
    sound = first > np.median(first)
    poisonous = classifier_of(nn.Sequential(inner.network, Poisonous(float(np.median(first)))))
    found = method(poisonous, images, np.ones(8, np.int64))
    expected = method(inner, images, np.ones(8, np.int64))
    for index in range(8):
        if sound[index]:
            one = found.image(index)
            assert one.label == 1
            assert one.probability == pytest.approx(float(expected.probability[index]), rel=1e-5)
            np.testing.assert_allclose(one.raw, expected.raw[index], rtol=1e-3, atol=1e-5)
        else:
            with pytest.raises(NotFiniteError, match="logits are not finite for this image: check its weights"):
                found.image(index)


def _normalised(classifier: Classifier, image: np.ndarray) -> np.ndarray:
    mean, std = np.array(classifier.preprocessing.mean), np.array(classifier.preprocessing.std)
    return ((image / 255 - mean) / std).transpose(2, 0, 1).astype(np.float32)


def test_activations_beyond_float16_are_an_error_and_no_endless_loop() -> None:
    network = linear(np.full((2, 3, 12, 12), 6e4))
    found = erase(place(classifier_of(network), "cpu", "float16"), random_images(0, 1), np.array([0]))
    with pytest.raises(NotFiniteError, match="precision of a wider range"):
        found.image(0)
    assert np.isfinite(erase(classifier_of(network), random_images(0, 1), np.array([0])).image(0).raw).all()


def test_float16_retries_concern_the_image_that_overflowed_alone() -> None:
    """One image's gradient is a thousand times the other's: that of the other is as if it were alone."""

    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = convolutional(1)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            steep = (images.amax(dim=(1, 2, 3)) < 0)[:, None]
            return torch.where(steep, 300.0, 1.0) * self.inner(images.float()).float()

    images = random_images(0, 2)
    images[1] = 3
    classifier = place(classifier_of(Gated()), "cpu", "float16")
    labels = np.array([0, 0])
    together = input_gradient(classifier, images, labels)
    alone = input_gradient(classifier, images[:1], labels[:1])
    assert np.isfinite(together.raw).all()
    assert together.raw[1].max() > 100 * together.raw[0].max()
    np.testing.assert_array_equal(together.raw[0], alone.raw[0])


# --- tensors


@pytest.mark.parametrize(("form", "tensor_form"), FORMS)
def test_the_tensor_form_says_the_same(classifier: Classifier, form: Form, tensor_form: TensorForm) -> None:
    images = random_images(4, 3)
    labels = np.array([-1, 2, 5])
    views = ViewParameters(mirror=True, depths=True)
    expected = form(classifier, images, labels, views=views)
    tensors = tensor_form(classifier, as_pixels(images), torch.from_numpy(labels), views=views)
    found = tensors.arrays()
    for name in NUMBERS:
        assert isinstance(getattr(tensors, name), torch.Tensor)
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-5, atol=1e-6, err_msg=name)
    assert len(found.evidence) == len(expected.evidence) > 0
    assert len(found.features) == len(expected.features) > 0
    for layer, other in zip(found.evidence, expected.evidence, strict=True):
        np.testing.assert_allclose(layer, other, rtol=1e-3, atol=1e-3)
    one = found.image(1)
    np.testing.assert_array_equal(one.evidence[0], found.evidence[0][1])
    np.testing.assert_array_equal(one.features[0].codes, found.features[0].codes[1])


@pytest.mark.parametrize(("form", "tensor_form"), FORMS)
def test_gradients_of_the_caller_are_left_alone(classifier: Classifier, form: Form, tensor_form: TensorForm) -> None:
    factor = torch.tensor(0.5, requires_grad=True)
    pixels = as_pixels(random_images(4, 2)) * factor
    kept = pixels.detach().clone()
    found = tensor_form(classifier, pixels)
    assert not any(getattr(found, name).requires_grad for name in NUMBERS)
    assert torch.equal(pixels.detach(), kept)
    assert factor.grad is None
    pixels.sum().backward()  # the caller's own graph is whole
    assert factor.grad is not None
    with torch.inference_mode():
        inside = tensor_form(classifier, kept)
    torch.testing.assert_close(inside.raw, found.raw)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_pixels_of_other_float_types(classifier: Classifier, kind: torch.dtype) -> None:
    pixels = (as_pixels(random_images(4, 1)) * 64).round() / 64
    expected = erase_tensor(classifier, pixels)
    found = erase_tensor(classifier, pixels.to(kind))
    assert found.raw.dtype == torch.float32
    torch.testing.assert_close(found.raw, expected.raw)


@pytest.mark.parametrize(
    ("pixels", "sentence"),
    [
        (torch.zeros(1, 3, 12, 12, dtype=torch.uint8), r"float tensor \(B, 3, 12, 12\), not torch.uint8"),
        (torch.zeros(3, 12, 12), "float tensor"),
        (torch.zeros(1, 12, 12, 3), "float tensor"),
        (torch.zeros(1, 3, 13, 13), "float tensor"),
        (torch.full((1, 3, 12, 12), 200.0), r"must lie in 0\.\.1: divide 8-bit values by 255"),
        (torch.full((1, 3, 12, 12), 1.01), r"must lie in 0\.\.1"),
        (torch.full((1, 3, 12, 12), -0.01), r"must lie in 0\.\.1"),
        (torch.full((1, 3, 12, 12), -0.5), "do not normalise"),
        (torch.full((1, 3, 12, 12), torch.nan), r"must lie in 0\.\.1"),
    ],
)
def test_pixels_that_are_none(classifier: Classifier, pixels: torch.Tensor, sentence: str) -> None:
    for form in (erase_tensor, input_gradient_tensor):
        with pytest.raises(ArgumentError, match=sentence):
            form(classifier, pixels)


@pytest.mark.parametrize("labels", [np.array([1.0]), np.array([True]), torch.tensor([1.5])])
def test_labels_that_are_no_whole_numbers(classifier: Classifier, labels: Any) -> None:
    with pytest.raises(ArgumentError, match="labels must be whole numbers, not torch"):
        erase(classifier, random_images(0, 1), labels)


def test_an_empty_batch(classifier: Classifier) -> None:
    assert erase_tensor(classifier, torch.zeros(0, 3, 12, 12)).raw.shape == (0, 12, 12)
    assert erase(classifier, np.zeros((0, 12, 12, 3), np.uint8)).raw.shape == (0, 12, 12)
