import copy
from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from saliency_core.methods.gradient import input_gradient
from saliency_core.networks.classifier import Classifier, load_classifier
from saliency_core.networks.weights import weights_checksum
from tests.support.small_networks import PassCounter, classifier_of, convolutional, linear, normalise, random_images


def naive_gradient(classifier: Classifier, image: NDArray[np.uint8], label: int) -> NDArray[np.float64]:
    """Largest |d a_l / dX| over the channels, by automatic differentiation in float64."""
    point = normalise(classifier, image).requires_grad_(True)
    copy.deepcopy(classifier.network).double()(point)[0, label].backward()
    assert point.grad is not None
    red, green, blue = np.abs(point.grad[0].numpy() / np.reshape(classifier.preprocessing.std, (3, 1, 1)))
    return np.maximum(np.maximum(red, green), blue)


def test_linear_network_by_hand() -> None:
    weights = np.zeros((2, 3, 2, 2))
    weights[1, :, 0, 0] = (1.0, 2.0, -2.2)
    weights[1, :, 1, 1] = (-1.0, 0.5, 0.25)
    classifier = classifier_of(linear(weights), size=2, std=(0.2, 0.25, 0.5))
    found = input_gradient(classifier, random_images(0, 1, 2), np.array([1]))
    # By pixels: (5, 8, 4.4) and (5, 2, 0.5). The largest of the network's own units is another channel's.
    np.testing.assert_allclose(found.raw, [[[8.0, 0.0], [0.0, 5.0]]], rtol=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_gradient_against_float64(seed: int) -> None:
    classifier, images = classifier_of(convolutional(seed)), random_images(seed, 3)
    found = input_gradient(classifier, images, np.array([-1, 2, 5]))
    assert found.raw.dtype == np.float32
    for index, image in enumerate(images):
        with torch.no_grad():
            logits = classifier.network(normalise(classifier, image).float())[0].numpy()
        label = [int(logits.argmax()), 2, 5][index]
        assert found.label[index] == label
        expected = naive_gradient(classifier, image, label)
        np.testing.assert_allclose(found.raw[index], expected, atol=1e-5 * expected.max())
        assert found.probability[index] == pytest.approx(np.exp(logits)[label] / np.exp(logits).sum(), rel=1e-4)
        assert found.logit_before[index] == pytest.approx(logits[label], rel=1e-4)
    np.testing.assert_array_equal(found.logit_after, found.logit_before)
    np.testing.assert_array_equal(found.drift, 0)


def test_batched_equals_unbatched() -> None:
    classifier = load_classifier("squeezenet1_1", "random", num_classes=7, input_size=64)
    images, labels = random_images(3, 3, 64), np.array([-1, 3, 0])
    together = input_gradient(classifier, images, labels).raw
    for index in range(3):
        alone = input_gradient(classifier, images[index : index + 1], labels[index : index + 1]).raw[0]
        np.testing.assert_allclose(together[index], alone, atol=1e-5 * alone.max())


def test_one_forward_and_one_backward_pass_and_nothing_left_behind() -> None:
    counter = PassCounter()
    classifier = classifier_of(nn.Sequential(counter, convolutional(0)))
    checksum = weights_checksum(classifier.network.state_dict())
    counter.forwards = 0
    input_gradient(classifier, random_images(0, 2))
    assert (counter.forwards, counter.backwards) == (1, 1)
    assert weights_checksum(classifier.network.state_dict()) == checksum
    for parameter in classifier.network.parameters():
        assert parameter.grad is None
        assert not parameter.requires_grad


@pytest.mark.parametrize("context", [torch.inference_mode, torch.no_grad])
def test_works_where_gradients_are_switched_off(context: Callable[[], AbstractContextManager[None]]) -> None:
    classifier, images = classifier_of(convolutional(0)), random_images(0, 2)
    expected = input_gradient(classifier, images)
    with context():
        found = input_gradient(classifier, images)
    np.testing.assert_array_equal(found.raw, expected.raw)
    np.testing.assert_array_equal(found.probability, expected.probability)


@pytest.mark.parametrize("labels", [[6, 0], [-2, 0], [0]])
def test_wrong_labels(labels: list[int]) -> None:
    with pytest.raises(ValueError, match="labels"):
        input_gradient(classifier_of(convolutional(0)), random_images(0, 2), np.array(labels))
