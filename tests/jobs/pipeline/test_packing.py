"""What travels for whole objects comes out as it went in."""

import numpy as np

from jobs.pipeline.packing import packed_depths, packed_sizes, unpacked_depths, unpacked_sizes
from saliency_core.methods.clamped_erasure import erase
from saliency_core.networks.classifier import load_classifier
from saliency_core.parameters import ErasureParameters, ObjectParameters, SaliencyParameters, ViewParameters
from saliency_core.refining.stages import describe_superpixels
from tests.support.small_networks import random_images


def test_superpixels_of_several_sizes_travel() -> None:
    parameters = SaliencyParameters(objects=ObjectParameters(object_segments=(30, 100, 60)))
    superpixels = describe_superpixels(random_images(0, 1, 64)[0], parameters)
    labels, colours = packed_sizes(superpixels)
    assert len(labels) == 2 * 2 * 64 * 64  # those of the 100 travel anyway
    found = unpacked_sizes(labels, colours, superpixels.labels)
    assert len(found) == 3
    for one, other in zip(found, superpixels.sizes, strict=True):
        np.testing.assert_array_equal(one.labels, other.labels)
        np.testing.assert_array_equal(one.lab, other.lab)
    assert unpacked_sizes(None, None, superpixels.labels) == ()
    off = SaliencyParameters(objects=ObjectParameters(objects=False))
    assert describe_superpixels(random_images(0, 1, 64)[0], off).sizes == ()


def test_what_the_layers_say_travels() -> None:
    classifier = load_classifier("squeezenet1_1", "random", num_classes=5, input_size=64)
    found = erase(classifier, random_images(1, 1, 64), None, ErasureParameters(iterations=1), ViewParameters()).image(0)
    layers, features = unpacked_depths(packed_depths(found))
    for one, other in zip(layers, found.evidence, strict=True):
        np.testing.assert_array_equal(one, other)
    for part, wanted in zip(features, found.features, strict=True):
        np.testing.assert_array_equal(part.codes, wanted.codes)
        np.testing.assert_array_equal(part.scale, wanted.scale)
    assert unpacked_depths(None) == ([], [])
