"""Several views of one image: sizes, mirror images, several erased classes."""

import dataclasses

import numpy as np
import pytest

from saliency_core.errors import ArgumentError
from saliency_core.methods.clamped_erasure import erase
from saliency_core.methods.views import views_of
from saliency_core.networks.classifier import load_classifier
from saliency_core.parameters import ErasureParameters, ViewParameters
from tests.support.small_networks import classifier_of, convolutional, linear, random_images

STEPS = ErasureParameters(epsilon=1.0, iterations=2)


def test_a_view_in_the_mirror_adds_the_mirrored_map() -> None:
    classifier, images = classifier_of(convolutional(0)), random_images(0, 2)
    plain = erase(classifier, images, None, STEPS)
    other = erase(classifier, np.ascontiguousarray(images[:, :, ::-1]), plain.label, STEPS)
    both = erase(classifier, images, None, STEPS, ViewParameters(mirror=True))
    np.testing.assert_allclose(both.raw, (plain.raw + other.raw[:, :, ::-1]) / 2, rtol=1e-4, atol=1e-7)
    for name in ("label", "probability", "logit_before", "logit_after", "drift"):
        np.testing.assert_array_equal(getattr(both, name), getattr(plain, name))


def test_sizes_are_those_that_the_network_takes() -> None:
    convolutions = load_classifier("squeezenet1_1", "random")
    views = ViewParameters(sizes=(1.0, 0.86, 0.7), mirror=True)
    assert [size for size, _ in views_of(convolutions, views)] == [224, 224, 192, 192, 160, 160]
    assert [mirrored for _, mirrored in views_of(convolutions, views)] == [False, True] * 3
    fixed = classifier_of(linear(np.ones((2, 3, 64, 64))), size=64)
    assert views_of(fixed, views) == [(64, False), (64, True)]
    images = random_images(1, 1, 224)
    found = erase(convolutions, images, None, ErasureParameters(iterations=1), dataclasses.replace(views, depths=True))
    assert found.raw.shape == (1, 224, 224)
    assert [layer.shape for layer in found.evidence] == [(1, 55, 55), (1, 27, 27), (1, 13, 13)]


def test_the_mean_of_several_logits_is_erased_where_no_class_is_given() -> None:
    classifier, images = classifier_of(convolutional(1)), random_images(2, 1)
    one_step = ErasureParameters(epsilon=1.0, gamma=0.0, iterations=1, erased_classes=3)
    all_classes = dataclasses.replace(one_step, erased_classes=50)
    given = np.array([2])
    np.testing.assert_array_equal(
        erase(classifier, images, given, one_step).raw,
        erase(classifier, images, given, dataclasses.replace(one_step, erased_classes=1)).raw,
    )
    found = erase(classifier, images, None, one_step)
    assert found.label == erase(classifier, images, None, dataclasses.replace(one_step, erased_classes=1)).label
    assert np.abs(found.raw - erase(classifier, images, None, all_classes).raw).max() > 0
    assert (found.raw >= 0).all()


@pytest.mark.parametrize("sizes", [(), (0.0,), (-1.0, 1.0), (3.0,)])
def test_sizes_must_make_sense(sizes: tuple[float, ...]) -> None:
    with pytest.raises(ArgumentError, match="sizes"):
        ViewParameters(sizes=sizes)


def test_evidence_has_its_maximum_at_one_and_zeros_stay_zeros() -> None:
    """However small it is."""
    classifier, images = classifier_of(convolutional(0)), random_images(0, 2)
    views = ViewParameters(mirror=True)
    small = erase(classifier, images, None, dataclasses.replace(STEPS, epsilon=1e-6), views)
    large = erase(classifier, images, None, dataclasses.replace(STEPS, epsilon=1e-3), views)
    assert small.evidence
    for one, other in zip(small.evidence, large.evidence, strict=True):
        assert 0.5 < float(one.max()) <= 1.0
        np.testing.assert_allclose(one.astype(float), other.astype(float), atol=0.02)
