"""Networks that a caller brings."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from saliency_core import Classifier, place, saliency
from saliency_core.errors import ClassifierError
from saliency_core.methods.clamped_erasure import erase
from saliency_core.methods.gradient import input_gradient
from saliency_core.parameters import ErasureParameters
from tests.support.small_networks import MEAN, STD, convolutional, naive_erasure, random_images


def test_a_module_of_ones_own_gives_the_maps_of_the_formula() -> None:
    module = convolutional(0)
    classifier = Classifier.from_module(module, MEAN, STD, 12, class_names=list("abcdef"))
    images = random_images(0, 1)
    found = erase(classifier, images, None, ErasureParameters(epsilon=0.1, gamma=0.01, iterations=3)).image(0)
    expected = naive_erasure(classifier, images[0], epsilon=0.1, gamma=0.01, iterations=3)
    assert found.label == expected.label
    np.testing.assert_allclose(found.raw, expected.raw, rtol=1e-3, atol=1e-5)
    assert classifier.class_names[2] == "c"
    assert (classifier.name, classifier.weights_source) == ("Sequential", "module")


def test_dropout_is_off_and_the_callers_module_stays_as_it_was() -> None:
    module = convolutional(0)
    setattr(module[1], "inplace", True)  # noqa: B010 -- typed as a submodule by torch
    assert module.training
    module(torch.zeros(2, 3, 12, 12)).sum().backward()
    gradients = [parameter.grad.clone() for parameter in module.parameters() if parameter.grad is not None]
    assert gradients
    classifier = Classifier.from_module(module, MEAN, STD, 12)
    images = random_images(0, 2)
    for method in (erase, input_gradient):
        np.testing.assert_array_equal(method(classifier, images).raw, method(classifier, images).raw)
    assert module.training
    assert module[7].training  # its dropout
    assert module[1].inplace
    assert all(parameter.requires_grad for parameter in module.parameters())
    for parameter, gradient in zip(module.parameters(), gradients, strict=True):
        assert parameter.grad is not None
        assert torch.equal(parameter.grad, gradient)
    before = input_gradient(classifier, images).raw
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    np.testing.assert_array_equal(input_gradient(classifier, images).raw, before)


def test_it_can_be_placed_and_asked_for_maps() -> None:
    classifier = place(Classifier.from_module(convolutional(1), MEAN, STD, 12), "cpu", "bfloat16")
    image = random_images(3, 1, 40)[0]
    assert saliency(image, classifier).maps["refined"].shape == (40, 40)


class Returning(nn.Module):
    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value

    def forward(self, images: torch.Tensor) -> Any:
        return self.value


@pytest.mark.parametrize(
    ("module", "given", "sentence"),
    [
        ("resnet", {}, "made of a torch module, not of str"),
        (Returning(SimpleNamespace(logits=1)), {}, "must return one tensor of logits .* not SimpleNamespace"),
        (Returning(torch.zeros(1, 2, 3, 3)), {}, r"not a tensor of shape \(1, 2, 3, 3\)"),
        (nn.Linear(4, 2), {}, "does not take an input of 12 x 12 pixels"),
        (convolutional(0), {"class_names": ["a"]}, "1 class names for 6 classes"),
        (convolutional(0), {"mean": 0.5}, "mean must be three numbers, one a channel"),
        (convolutional(0), {"std": (0.5, 0.5)}, "std must be three numbers"),
        (convolutional(0), {"std": (0.5, 0.0, 0.5)}, "std above 0"),
        (convolutional(0), {"mean": (0.5, np.nan, 0.5)}, "must be finite"),
        (convolutional(0), {"input_size": 12.5}, "input size must be a whole number"),
    ],
)
def test_what_is_no_classifier(module: Any, given: dict[str, Any], sentence: str) -> None:
    arguments: dict[str, Any] = {"mean": MEAN, "std": STD, "input_size": 12} | given
    with pytest.raises(ClassifierError, match=sentence):
        Classifier.from_module(module, **arguments)
