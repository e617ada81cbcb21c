from pathlib import Path

import pytest
import torch

from saliency_core.errors import ClassifierError
from saliency_core.networks.classifier import load_classifier
from saliency_core.networks.heads import classifier_with_classes, head_tensors
from saliency_core.networks.metadata import classifier_metadata
from saliency_core.networks.preprocessing import Preprocessing
from saliency_core.networks.weights import Weights, read_weights, to_safetensors

NAMES = ("heron", "stork", "crane")


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("vgg16", {"classifier.6.weight", "classifier.6.bias"}),
        ("squeezenet1_1", {"classifier.1.weight", "classifier.1.bias"}),
        ("resnet18", {"fc.weight", "fc.bias"}),
        ("convnext_tiny", {"classifier.2.weight", "classifier.2.bias"}),
        ("vit_b_16", {"heads.head.weight", "heads.head.bias"}),
        ("regnet_y_400mf", {"fc.weight", "fc.bias"}),
        ("googlenet", {"fc.weight", "fc.bias"}),
        ("demo.tiny_vgg:TinyVGG", {"classifier.weight", "classifier.bias"}),
    ],
)
def test_the_last_layer_is_found(name: str, head: set[str]) -> None:
    assert head_tensors(name) == head


def test_all_layers_but_the_last_come_from_the_weights() -> None:
    start = load_classifier("squeezenet1_1", "random", num_classes=7)
    weights = Weights(start.network.state_dict(), {"mean": "[0.1, 0.2, 0.3]"})
    made = classifier_with_classes("squeezenet1_1", weights, class_names=NAMES, input_size=64)
    tensors = made.network.state_dict()
    head = head_tensors("squeezenet1_1")
    assert all(torch.equal(value, tensors[key]) for key, value in weights.tensors.items() if key not in head)
    assert tensors["classifier.1.weight"].shape[0] == 3
    assert made.class_names == NAMES
    assert made.preprocessing == Preprocessing(64, (0.1, 0.2, 0.3))
    assert made.network.training
    assert all(parameter.requires_grad for parameter in made.network.parameters())


def test_the_seed_decides_the_new_layer_and_nothing_else_does() -> None:
    def first(seed: int) -> torch.Tensor:
        made = classifier_with_classes("demo.tiny_vgg:TinyVGG", "random", class_names=NAMES, seed=seed)
        return made.network.state_dict()["classifier.weight"]

    before = torch.random.get_rng_state()
    assert torch.equal(first(1), first(1))
    assert not torch.equal(first(1), first(2))
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_last_layer_that_knows_the_classes_is_kept_class_by_class() -> None:
    start = load_classifier("demo.tiny_vgg:TinyVGG", "random", class_names=["stork", "gull", "crane", "heron"])
    metadata = classifier_metadata("demo.tiny_vgg:TinyVGG", start.class_names, start.preprocessing)
    made = classifier_with_classes(
        "demo.tiny_vgg:TinyVGG", Weights(start.network.state_dict(), metadata), class_names=NAMES
    )
    images = torch.rand(2, 3, 96, 96)
    with torch.no_grad():
        assert torch.allclose(made.network.eval()(images), start.network(images)[:, [3, 0, 2]], atol=1e-6)


def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    made = classifier_with_classes("demo.tiny_vgg:TinyVGG", "random", class_names=("é", "b"), input_size=48)
    metadata = classifier_metadata(
        "demo.tiny_vgg:TinyVGG", made.class_names, Preprocessing(48, (0.1, 0.2, 0.3), (0.5, 0.6, 0.7))
    )
    file = tmp_path / "model.safetensors"
    file.write_bytes(to_safetensors(made.network.state_dict(), metadata))
    loaded = load_classifier("demo.tiny_vgg:TinyVGG", file)
    assert loaded.class_names == ("é", "b")
    assert loaded.preprocessing == Preprocessing(48, (0.1, 0.2, 0.3), (0.5, 0.6, 0.7))
    assert loaded.weights_sha256 == made.weights_sha256
    assert read_weights(file).metadata["architecture"] == "demo.tiny_vgg:TinyVGG"


def test_one_class_is_refused() -> None:
    with pytest.raises(ClassifierError, match="at least 2 classes"):
        classifier_with_classes("demo.tiny_vgg:TinyVGG", "random", class_names=["heron"])
