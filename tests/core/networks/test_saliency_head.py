"""The head against the formulas written out naively, and the file of a student."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from saliency_core import load_classifier
from saliency_core.errors import ClassifierError
from saliency_core.networks.saliency_head import SaliencyHead, is_student, load_student, student_weights
from saliency_core.networks.weights import Weights, read_weights, to_safetensors, weights_checksum


def random_layers(seed: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = [(2, 4, 11, 11), (2, 6, 5, 5), (2, 8, 3, 3)]
    return [torch.randn(shape, generator=generator) for shape in shapes]


def test_the_head_is_what_its_description_says() -> None:
    torch.manual_seed(0)
    head = SaliencyHead([4, 6, 8], grid=5, width=12)
    layers = random_layers(1)
    grids = []
    for values in layers:
        lengths = np.sqrt((values.numpy() ** 2).sum(axis=1, keepdims=True))
        units = torch.from_numpy(values.numpy() / lengths).float() * values.shape[1] ** 0.5
        if values.shape[2] > 5:
            grids.append(F.adaptive_avg_pool2d(units, 5))
        else:
            grids.append(F.interpolate(units, size=(5, 5), mode="bilinear", align_corners=False))
    whole = torch.cat(list(head.weights), dim=1)
    found = F.conv2d(torch.cat(grids, dim=1), whole, head.bias)
    convolutions = [layer for layer in head.layers if isinstance(layer, torch.nn.Conv2d)]
    kinds = [(layer.kernel_size[0], layer.groups, layer.dilation[0]) for layer in convolutions]
    assert kinds == [(5, 12, 1), (1, 1, 1), (5, 12, 2), (1, 1, 1), (1, 1, 1)]
    for layer in convolutions:
        reach = (layer.kernel_size[0] - 1) * layer.dilation[0] // 2
        found = F.conv2d(found.relu(), layer.weight, layer.bias, 1, reach, layer.dilation, layer.groups)
    assert torch.allclose(head(layers), found[:, 0], atol=1e-5)
    assert whole.shape == (12, 18, 1, 1)


def test_an_image_part_without_activation_is_no_error() -> None:
    layers = random_layers(2)
    layers[1][:, :, 2, 2] = 0
    assert torch.isfinite(SaliencyHead([4, 6, 8], grid=5)(layers)).all()


def test_a_students_file_brings_network_head_and_preprocessing(tmp_path: pytest.TempPathFactory) -> None:
    classifier = load_classifier("squeezenet1_1", "random", class_names=["cat", "dog"], input_size=96)
    torch.manual_seed(1)
    head = SaliencyHead([4, 6, 8], grid=5, width=12)
    weights = student_weights(classifier, head)
    file = tmp_path / "model.safetensors"  # type: ignore[operator]
    file.write_bytes(to_safetensors(weights.tensors, weights.metadata))
    read = read_weights(file)
    assert is_student(read.metadata)
    assert read.metadata["architecture"] == "squeezenet1_1"
    student = load_student("squeezenet1_1", read)
    assert student.class_names == ("cat", "dog")
    assert student.preprocessing == classifier.preprocessing
    assert student.weights_sha256 == weights_checksum(weights.tensors) != classifier.weights_sha256
    images = torch.rand(1, 3, 96, 96)
    assert torch.equal(student.network(images), classifier.network(images))
    assert torch.equal(student.head(random_layers(3)), head.eval()(random_layers(3)))
    assert not any(parameter.requires_grad for parameter in student.head.parameters())


def test_what_is_no_student_is_refused() -> None:
    classifier = load_classifier("squeezenet1_1", "random", num_classes=2)
    weights = student_weights(classifier, SaliencyHead([4, 6], grid=5))
    with pytest.raises(ClassifierError, match="was not taught to give maps"):
        load_student("squeezenet1_1", Weights(classifier.network.state_dict(), {}))
    short = {key: value for key, value in weights.tensors.items() if key != "head.bias"}
    with pytest.raises(ClassifierError, match="the head of the student cannot be read"):
        load_student("squeezenet1_1", Weights(short, weights.metadata))
    with pytest.raises(ClassifierError, match="the head of the student cannot be read"):
        load_student("squeezenet1_1", Weights(weights.tensors, {**weights.metadata, "saliency_head": "[1]"}))
