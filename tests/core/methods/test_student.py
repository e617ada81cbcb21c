"""A student's map against the layers read by hand, in every form in which a network runs."""

import numpy as np
import pytest
import torch

from saliency_core import load_classifier, place, saliency
from saliency_core.errors import ArgumentError
from saliency_core.imaging.resizing import resize_map, squash
from saliency_core.methods.student import new_head, student_map, student_map_tensor
from saliency_core.networks.classifier import Classifier
from saliency_core.networks.saliency_head import Student, load_student, student_weights
from saliency_core.parameters import ViewParameters

SIDE = 96


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return load_classifier("squeezenet1_1", "random", num_classes=5, input_size=SIDE)


@pytest.fixture
def student(classifier: Classifier) -> Student:
    head = new_head(classifier, seed=3)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.mul_(3)  # a map with some contrast
    return load_student("squeezenet1_1", student_weights(classifier, head))


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE, 3), dtype=np.uint8)


def test_the_map_is_the_heads_of_the_layers_before_each_halving(student: Student, images: np.ndarray) -> None:
    mean, std = (np.array(values) for values in (student.preprocessing.mean, student.preprocessing.std))
    values = torch.from_numpy(((images / 255 - mean) / std).astype(np.float32)).permute(0, 3, 1, 2)
    layers = []
    network = student.network
    with torch.no_grad():
        for index, layer in enumerate(network.features):  # type: ignore[arg-type]
            if index in (5, 8):  # the later max-poolings
                layers.append(values)
            values = layer(values)
        layers.append(values)
        logits = network.classifier(values).flatten(1)  # type: ignore[operator]
        map_ = student.head(layers).sigmoid()
        raw = torch.nn.functional.interpolate(map_[:, None], size=(SIDE, SIDE), mode="bilinear")[:, 0]
    found = student_map(student, images)
    np.testing.assert_allclose(found.raw, raw.numpy(), atol=1e-5)
    assert found.raw.std() > 0.01
    assert found.label.tolist() == logits.argmax(1).tolist()
    np.testing.assert_allclose(found.logit_before, logits.amax(1).numpy(), rtol=1e-4)
    assert np.array_equal(found.logit_before, found.logit_after)
    assert not found.drift.any()
    assert found.evidence == ()
    assert [part.codes.shape[1] for part in found.features] == [layers[1].shape[2], layers[2].shape[2]]


def test_the_map_is_the_same_wherever_and_in_whatever_company(student: Student, images: np.ndarray) -> None:
    expected = student_map(student, images).raw
    alone = np.concatenate([student_map(student, images[index : index + 1]).raw for index in range(3)])
    np.testing.assert_allclose(alone, expected, atol=1e-5)
    np.testing.assert_allclose(student_map(place(student, "cpu"), images).raw, expected, atol=1e-5)


def test_in_bfloat16_the_map_is_nearly_the_same(student: Student, images: np.ndarray) -> None:
    expected = student_map(student, images).raw
    found = student_map(place(student, "cpu", "bfloat16"), images).raw
    assert found.dtype == np.float32
    assert 0 < np.abs(found - expected).max() < 0.1 * (expected.max() - expected.min())


def test_views_are_averaged(student: Student, images: np.ndarray) -> None:
    mirrored = np.ascontiguousarray(images[:, :, ::-1])
    both = (student_map(student, images).raw + student_map(student, mirrored).raw[:, :, ::-1]) / 2
    found = student_map(student, images, views=ViewParameters(mirror=True))
    np.testing.assert_allclose(found.raw, both, atol=1e-5)


def test_tensors_give_what_arrays_give(student: Student, images: np.ndarray) -> None:
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
    found = student_map_tensor(student, pixels)
    np.testing.assert_allclose(found.raw.numpy(), student_map(student, images).raw, atol=1e-6)


def test_given_labels_are_written_down(student: Student, images: np.ndarray) -> None:
    found = student_map(student, images, np.array([2, -1, 4]))
    assert found.label[[0, 2]].tolist() == [2, 4]
    np.testing.assert_array_equal(found.raw, student_map(student, images).raw)


def test_a_network_without_a_head_is_refused(classifier: Classifier, images: np.ndarray) -> None:
    with pytest.raises(ArgumentError, match="taught to give maps"):
        student_map(classifier, images)


def test_the_call_for_notebooks_gives_the_map_and_the_graph_behind_it(student: Student) -> None:
    image = np.random.default_rng(2).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    result = saliency(image, student, method="student")
    assert list(result.maps) == ["student", "objects"]
    raw = student_map(student, squash(image, SIDE)[None]).raw[0]
    np.testing.assert_allclose(result.maps["student"], resize_map(raw, 60, 80), atol=1e-6)
    assert 0 <= result.maps["objects"].min() < result.maps["objects"].max() <= 1
