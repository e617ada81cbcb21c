import hashlib
import io
import json
import pickle
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
import torchvision
from torch import nn

from demo.tiny_vgg import TinyVGG
from saliency_core.errors import ClassifierError
from saliency_core.imaging.decoding import decode_image
from saliency_core.imaging.resizing import squash
from saliency_core.methods.clamped_erasure import erase
from saliency_core.methods.network_pass import normalised, pixels_of_images
from saliency_core.networks.architectures import build_network, check_network_name, zoo_of
from saliency_core.networks.classifier import Classifier, load_classifier
from saliency_core.networks.preprocessing import Preprocessing
from saliency_core.networks.torchvision_names import available_networks
from saliency_core.networks.weights import Weights, read_weights, weights_checksum
from saliency_core.parameters import ErasureParameters
from tests.support.small_networks import naive_erasure, random_images

TINY_VGG = "demo.tiny_vgg:TinyVGG"
ONE_STEP = ErasureParameters(epsilon=1.0, iterations=1)

# One small member of every family of torchvision, with an input size that keeps its test short.
FAMILIES = {
    "alexnet": 64,
    "convnext_tiny": 64,
    "densenet121": 64,
    "efficientnet_b0": 64,
    "googlenet": 64,
    "inception_v3": 80,
    "mnasnet0_5": 64,
    "mobilenet_v2": 64,
    "mobilenet_v3_small": 64,
    "regnet_y_400mf": 64,
    "resnet18": 64,
    "resnext50_32x4d": 64,
    "shufflenet_v2_x0_5": 64,
    "squeezenet1_0": 64,
    "squeezenet1_1": 64,
    "swin_t": 64,
    "swin_v2_t": 64,
    TINY_VGG: 64,
}


def new_network(name: str, num_classes: int, seed: int = 1) -> nn.Module:
    """A network in its plain form, no parameter zero, statistics as after training."""
    options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if name == TINY_VGG:
            network: nn.Module = TinyVGG(num_classes)
        else:
            network = torchvision.models.get_model(name, weights=None, num_classes=num_classes, **options)
        for parameter in network.parameters():
            if not parameter.any():
                nn.init.normal_(parameter, std=0.05)
        network.eval()
        normalisations = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
        for module in normalisations:
            module.train().momentum = 1.0
        if normalisations:
            with torch.no_grad():
                network(torch.randn(8, 3, FAMILIES[name], FAMILIES[name]))
    return network.eval()


@pytest.fixture(scope="module")
def squeezenet() -> nn.Module:
    return new_network("squeezenet1_1", num_classes=3)


def logits_of(network: nn.Module, size: int = 64) -> torch.Tensor:
    with torch.no_grad():
        return network(torch.linspace(-2, 2, 3 * size * size).view(1, 3, size, size))


def assert_loads(path: Path, network: nn.Module, name: str = "squeezenet1_1") -> Classifier:
    classifier = load_classifier(name, path, input_size=64)
    torch.testing.assert_close(logits_of(classifier.network), logits_of(network))
    assert classifier.weights_sha256 == weights_checksum(network.state_dict())
    assert classifier.weights_source == "file"
    return classifier


# --- weights from files


def test_safetensors_with_metadata(squeezenet: nn.Module, tmp_path: Path) -> None:
    metadata = {
        "class_names": json.dumps(["cat", "dog", "cow"]),
        "input_size": "64",
        "mean": "[0.1, 0.2, 0.3]",
        "std": "[0.4, 0.5, 0.6]",
    }
    path = tmp_path / "net.safetensors"
    safetensors.torch.save_file(squeezenet.state_dict(), path, metadata)
    assert read_weights(path).metadata == metadata
    classifier = load_classifier("squeezenet1_1", path)
    assert classifier.class_names == ("cat", "dog", "cow")
    assert classifier.preprocessing == Preprocessing(64, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    given = load_classifier("squeezenet1_1", path, class_names=["a", "b", "c"], input_size=96)
    assert given.class_names == ("a", "b", "c")
    assert given.preprocessing == Preprocessing(96, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))


@pytest.mark.parametrize(
    "metadata",
    [
        {"mean": "5"},
        {"mean": "[0.1, 0.2]"},
        {"mean": '["a", "b", "c"]'},
        {"std": "[0.1, 0.2, 0]"},
        {"std": "nonsense"},
        {"input_size": "big"},
        {"class_names": "cat, dog, cow"},
        {"class_names": "3"},
        {"class_names": '["cat", "dog"]'},
        {"input_size": "0"},
    ],
)
def test_wrong_metadata(squeezenet: nn.Module, metadata: dict[str, str]) -> None:
    with pytest.raises(ClassifierError):
        load_classifier("squeezenet1_1", Weights(squeezenet.state_dict(), metadata))


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_state_dicts_of_torch_save(squeezenet: nn.Module, tmp_path: Path, prefix: str, wrapper: str | None) -> None:
    tensors = OrderedDict((prefix + key, value) for key, value in squeezenet.state_dict().items())
    path = tmp_path / "net.pth"
    torch.save(tensors if wrapper is None else {"epoch": 3, wrapper: tensors}, path)
    classifier = assert_loads(path, squeezenet)
    assert classifier.class_names == ("class 0", "class 1", "class 2")


def test_half_precision_weights(squeezenet: nn.Module, tmp_path: Path) -> None:
    halves = {key: value.half() for key, value in squeezenet.state_dict().items()}
    safetensors.torch.save_file(halves, tmp_path / "net.safetensors")
    classifier = load_classifier("squeezenet1_1", tmp_path / "net.safetensors", input_size=64)
    for key, value in classifier.network.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, halves[key].float())
    assert erase(classifier, random_images(0, 1, 64), parameters=ONE_STEP).raw.max() > 0


class Malice:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self.path, "code has run")


@pytest.mark.parametrize("form", ["torch", "torch-legacy", "pickle"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_code_in_a_pickle_never_runs(tmp_path: Path, form: str, suffix: str) -> None:
    marker, path = tmp_path / "marker", tmp_path / f"net{suffix}"
    content = {"features.0.weight": torch.zeros(1), "evil": Malice(marker)}
    if form == "pickle":
        path.write_bytes(pickle.dumps({"evil": Malice(marker)}, protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "torch")
    with pytest.raises(ClassifierError, match=r"net\..* cannot be read"):
        load_classifier("squeezenet1_1", path)
    assert not marker.exists()
    # The trap works: an unguarded load springs it.
    if form == "pickle":
        pickle.loads(path.read_bytes())
    else:
        torch.load(io.BytesIO(path.read_bytes()), weights_only=False)
    assert marker.exists()


@pytest.mark.parametrize(
    "content",
    [
        nn.Linear(2, 2),
        {},
        [torch.zeros(2)],
        torch.zeros(2),
        {"epoch": 3, "lr": 0.1},
        {0: torch.zeros(2)},
        {"state_dict": {"a": [1, 2]}},
        {"state_dict": {}},
    ],
    ids=["module", "empty", "list", "tensor", "numbers", "unnamed", "lists", "empty-inside"],
)
def test_files_without_a_state_dict(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "net.pth")
    with pytest.raises(ClassifierError, match=r"net\.pth"):
        read_weights(tmp_path / "net.pth")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("damage", ["missing", "folder", "empty", "garbage", "truncated"])
def test_unreadable_files(squeezenet: nn.Module, tmp_path: Path, suffix: str, damage: str) -> None:
    path = tmp_path / f"net{suffix}"
    if damage == "folder":
        path.mkdir()
    elif damage == "truncated":
        if suffix == ".pth":
            torch.save(squeezenet.state_dict(), path)
        else:
            safetensors.torch.save_file(squeezenet.state_dict(), path)
        path.write_bytes(path.read_bytes()[:-1000])
    elif damage != "missing":
        path.write_bytes(b"" if damage == "empty" else b"\xff" * 5000)
    with pytest.raises(ClassifierError, match="net"):
        read_weights(path)


# --- weights that do not fit


def test_weights_of_another_network(squeezenet: nn.Module) -> None:
    weights = Weights(squeezenet.state_dict(), {})
    with pytest.raises(ClassifierError, match=r"not those of resnet18.*missing"):
        load_classifier("resnet18", weights)
    with pytest.raises(ClassifierError, match=r"not those of squeezenet1_0"):
        load_classifier("squeezenet1_0", weights)
    # All names agree here: the shapes alone differ.
    with pytest.raises(ClassifierError, match=r"not those of shufflenet_v2_x1_0: .* has the shape"):
        load_classifier("shufflenet_v2_x1_0", Weights(new_network("shufflenet_v2_x0_5", 4).state_dict(), {}))


def test_weights_with_a_wrong_shape(squeezenet: nn.Module) -> None:
    tensors = dict(squeezenet.state_dict())
    tensors["features.0.weight"] = torch.zeros(64, 1, 3, 3)  # a greyscale network
    with pytest.raises(ClassifierError, match=r"features\.0\.weight has the shape \(64, 1, 3, 3\)"):
        load_classifier("squeezenet1_1", Weights(tensors, {}))
    tensors = dict(squeezenet.state_dict())
    tensors["classifier.1.bias"] = torch.zeros(4)  # but weights of three classes
    with pytest.raises(ClassifierError, match="classifier"):
        load_classifier("squeezenet1_1", Weights(tensors, {}))
    tensors["classifier.1.bias"] = torch.tensor(1.0)
    with pytest.raises(ClassifierError, match="classifier"):
        load_classifier("squeezenet1_1", Weights(tensors, {}))


def test_quantised_weights(squeezenet: nn.Module) -> None:
    tensors = dict(squeezenet.state_dict())
    tensors["classifier.1.weight"] = (tensors["classifier.1.weight"] * 100).to(torch.int8)
    with pytest.raises(ClassifierError, match=r"classifier\.1\.weight is torch\.int8, expected torch\.float32"):
        load_classifier("squeezenet1_1", Weights(tensors, {}))


def test_missing_and_unknown_tensors_are_counted(squeezenet: nn.Module) -> None:
    tensors = dict(squeezenet.state_dict())
    del tensors["classifier.1.bias"]
    tensors["classifier.2.bias"] = torch.zeros(3)
    with pytest.raises(ClassifierError, match=r"classifier\.1\.bias is missing \(1 tensors missing, 1 unknown\)"):
        load_classifier("squeezenet1_1", Weights(tensors, {}))


def test_wrong_number_of_classes(squeezenet: nn.Module) -> None:
    weights = Weights(squeezenet.state_dict(), {})
    assert len(load_classifier("squeezenet1_1", weights, num_classes=3).class_names) == 3
    with pytest.raises(ClassifierError, match="3 classes, but 4"):
        load_classifier("squeezenet1_1", weights, num_classes=4)
    with pytest.raises(ClassifierError, match="3 classes, but 2"):
        load_classifier("squeezenet1_1", weights, class_names=["cat", "dog"])
    with pytest.raises(ClassifierError, match="2 class names for 3 classes"):
        load_classifier("squeezenet1_1", weights, num_classes=3, class_names=["cat", "dog"])
    with pytest.raises(ClassifierError, match="at least 1 class"):
        load_classifier("squeezenet1_1", "random", num_classes=0)


def test_a_thousand_classes_have_the_names_of_imagenet() -> None:
    names = load_classifier("squeezenet1_1", "random", input_size=64).class_names
    assert len(names) == 1000
    assert (names[0], names[1], names[260], names[999]) == ("tench", "goldfish", "chow", "toilet tissue")


@pytest.mark.parametrize(
    ("name", "nearest"), [("vgg_16", "vgg16"), ("squeezenet", "squeezenet1_1"), ("ResNet50", "resnet50")]
)
def test_unknown_names_give_suggestions(name: str, nearest: str) -> None:
    with pytest.raises(ClassifierError, match=f"no classification network named '{name}'.*{nearest}"):
        check_network_name(name)
    with pytest.raises(ClassifierError, match="did you mean"):
        load_classifier(name, "random")


def test_names_near_to_nothing_and_networks_for_other_tasks() -> None:
    with pytest.raises(ClassifierError, match="torchvision's model list"):
        check_network_name("zzzzzz")
    for other in ("fcn_resnet50", "fasterrcnn_resnet50_fpn", "raft_large", "quantized_resnet18", "r3d_18"):
        assert other not in available_networks()


def test_input_size_that_the_network_does_not_take() -> None:
    with pytest.raises(ClassifierError, match="squeezenet1_1 does not take an input of 8 x 8 pixels"):
        load_classifier("squeezenet1_1", "random", input_size=8)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_no_numbers(squeezenet: nn.Module, value: float) -> None:
    tensors = {name: tensor.clone() for name, tensor in squeezenet.state_dict().items()}
    tensors["features.3.squeeze.bias"][2] = value
    with pytest.raises(ClassifierError, match=r"infinite numbers or none \(in features.3.squeeze.bias\)"):
        load_classifier("squeezenet1_1", Weights(tensors, {}), input_size=64)


# --- what a classifier is


def test_classifier_is_frozen_and_has_no_in_place_operations() -> None:
    for name in ("squeezenet1_1", "mobilenet_v3_small", TINY_VGG):
        network = load_classifier(name, "random", num_classes=3, input_size=64).network
        for module in network.modules():
            assert not module.training
            assert not getattr(module, "inplace", False)
        assert not any(parameter.requires_grad for parameter in network.parameters())


def test_random_weights_are_always_the_same_and_leave_the_generator_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = load_classifier("squeezenet1_1", "random", num_classes=3, input_size=64)
    assert torch.equal(torch.rand(3), expected)
    second = load_classifier("squeezenet1_1", "random", num_classes=3, input_size=64)
    assert first.weights_sha256 == second.weights_sha256
    assert first.weights_source == "random"


def test_loading_inside_inference_mode() -> None:
    with torch.inference_mode():
        classifier = load_classifier(TINY_VGG, "random", num_classes=3, input_size=64)
    assert erase(classifier, random_images(0, 1, 64), parameters=ONE_STEP).raw.max() > 0


def test_preprocessing_follows_the_network() -> None:
    assert load_classifier("squeezenet1_1", "random", num_classes=2).preprocessing == Preprocessing(
        224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    )
    inception = load_classifier("inception_v3", "random", num_classes=2)
    assert inception.preprocessing.input_size == 299


def test_before_relu_scores(squeezenet: nn.Module) -> None:
    weights = Weights(squeezenet.state_dict(), {})
    plain = load_classifier("squeezenet1_1", weights, input_size=64)
    free = load_classifier("squeezenet1_1", weights, input_size=64, scores="before-relu")
    pixels = torch.linspace(-2, 2, 3 * 64 * 64).view(1, 3, 64, 64)
    with torch.no_grad():
        convolution = squeezenet.classifier[1]  # type: ignore[index]
        score_maps = convolution(squeezenet.features(pixels))  # type: ignore[operator]
    assert (score_maps < 0).any()
    torch.testing.assert_close(logits_of(free.network), score_maps.mean(dim=(2, 3)))
    torch.testing.assert_close(logits_of(plain.network), score_maps.relu().mean(dim=(2, 3)))


@pytest.mark.parametrize("name", ["resnet18", "alexnet", TINY_VGG])
def test_before_relu_needs_a_relu(name: str) -> None:
    with pytest.raises(ClassifierError, match=f"logits of {name} do not come out of a ReLU"):
        load_classifier(name, "random", num_classes=2, input_size=64, scores="before-relu")


def test_checksum_by_hand() -> None:
    tensors = {"b": torch.tensor([[1.0, 2.0]]), "a": torch.tensor(7)}
    expected = hashlib.sha256()
    expected.update(b"a torch.int64 ()\n" + np.array(7, "<i8").tobytes())
    expected.update(b"b torch.float32 (1, 2)\n" + np.array([1, 2], "<f4").tobytes())
    assert sys.byteorder == "little"
    assert weights_checksum(tensors) == expected.hexdigest()
    assert weights_checksum(dict(reversed(tensors.items()))) == expected.hexdigest()
    for changed in (
        {**tensors, "b": torch.tensor([[1.0, 2.5]])},
        {**tensors, "b": torch.tensor([1.0, 2.0])},
        {**tensors, "c": torch.tensor(0)},
        {"B": tensors["b"], "a": tensors["a"]},
    ):
        assert weights_checksum(changed) != expected.hexdigest()
    transposed = torch.arange(6).view(2, 3).t()
    assert weights_checksum({"a": transposed}) == weights_checksum({"a": transposed.contiguous()})


# --- all architectures


@pytest.mark.parametrize("name", FAMILIES)
def test_weights_of_every_family_load_and_erase(name: str) -> None:
    """A state dict of four classes: as many classes, the same logits, the right gradient."""
    original, size = new_network(name, num_classes=4), FAMILIES[name]
    classifier = load_classifier(name, Weights(original.state_dict(), {}), input_size=size)
    assert classifier.class_names == ("class 0", "class 1", "class 2", "class 3")
    if name in ("googlenet", "inception_v3"):
        # torchvision's pretrained networks, which weights of these come from, transform their input.
        original.transform_input = True  # type: ignore[assignment]
    images = random_images(2, 1, size)
    with torch.no_grad():
        pixels = normalised(classifier, pixels_of_images(classifier, images))
        torch.testing.assert_close(classifier.network(pixels), original(pixels))
    found = erase(classifier, images, parameters=ONE_STEP)
    assert np.isfinite(found.raw).all()
    expected = naive_erasure(classifier, images[0], int(found.label[0]), epsilon=1.0, gamma=0.0, iterations=1).raw
    assert expected.max() > 0
    error = np.sqrt(((found.raw[0] - expected) ** 2).sum() / (expected**2).sum())
    # ReLUs and max-pools near a tie switch differently in float32.
    assert error < 0.03


@pytest.mark.slow
def test_every_network_takes_its_default_input_size() -> None:
    tried = 0
    for name in available_networks():
        if not name.startswith("regnet"):  # needs real numbers to be built, and takes any size
            with torch.device("meta"), torch.inference_mode():
                network = build_network(name, 5).eval()
                size = zoo_of(name).preprocessing(name).input_size
                assert network(torch.zeros(1, 3, size, size)).shape == (1, 5), name
            tried += 1
    assert tried > 60


@pytest.mark.parametrize("name", ["vgg16", "vit_b_32"])
def test_large_networks_erase(name: str) -> None:
    classifier = load_classifier(name, "random")
    assert len(classifier.class_names) == 1000
    found = erase(classifier, random_images(0, 1, 224), parameters=ONE_STEP)
    assert found.raw.shape == (1, 224, 224)
    assert np.isfinite(found.raw).all()
    if name == "vgg16":  # the head of a new vision transformer is zero
        assert found.raw.max() > 0


# --- pretrained weights, from a local "server"


@pytest.fixture
def served(squeezenet: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of 1000-class weights whose URL torchvision believes to be its own, hash in the name."""
    folder = tmp_path / "server"
    folder.mkdir()
    path = folder / "weights.pth"
    torch.save(new_network("squeezenet1_1", 1000).state_dict(), path)
    path = path.rename(folder / f"squeezenet1_1-{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}.pth")
    weights = torchvision.models.get_model_weights("squeezenet1_1").DEFAULT
    monkeypatch.setattr(weights.value, "url", path.as_uri())
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch home"))
    return path


def cached(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "torch home").rglob("*") if path.is_file()]


def test_pretrained_weights_are_downloaded_once(served: Path, tmp_path: Path) -> None:
    expected = logits_of(new_network("squeezenet1_1", 1000))
    classifier = load_classifier("squeezenet1_1", "pretrained", input_size=64)
    torch.testing.assert_close(logits_of(classifier.network), expected)
    assert classifier.weights_source == "torchvision SqueezeNet1_1_Weights.IMAGENET1K_V1"
    assert classifier.class_names[260] == "chow"
    assert not any(parameter.requires_grad for parameter in classifier.network.parameters())
    assert [path.name for path in cached(tmp_path)] == [served.name]
    served.unlink()
    again = load_classifier("squeezenet1_1", "pretrained", class_names=classifier.class_names, input_size=64)
    assert again.weights_sha256 == classifier.weights_sha256


def test_a_damaged_download_is_refused_and_not_kept(served: Path, tmp_path: Path) -> None:
    content = bytearray(served.read_bytes())
    content[len(content) // 2] ^= 1
    served.write_bytes(content)
    with pytest.raises(ClassifierError, match=r"squeezenet1_1 could not be loaded.*hash"):
        load_classifier("squeezenet1_1")
    assert cached(tmp_path) == []


def test_no_connection(served: Path) -> None:
    served.unlink()
    with pytest.raises(ClassifierError, match=r"check the network connection.*local weights file"):
        load_classifier("squeezenet1_1")


@pytest.mark.parametrize("content", [b"", b"\xff" * 100, b"PK\x03\x04 no archive"])
def test_a_damaged_file_in_the_cache(served: Path, tmp_path: Path, content: bytes) -> None:
    folder = tmp_path / "torch home/hub/checkpoints"
    folder.mkdir(parents=True)
    (folder / served.name).write_bytes(content)
    with pytest.raises(ClassifierError, match="delete a damaged file"):
        load_classifier("squeezenet1_1")


def test_pretrained_weights_have_a_thousand_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", "/nonexistent")
    with pytest.raises(ClassifierError, match="1000 classes, not 7"):
        load_classifier("squeezenet1_1", num_classes=7)
    with pytest.raises(ClassifierError, match="1000 classes, not 2"):
        load_classifier("squeezenet1_1", class_names=["cat", "dog"])
    with pytest.raises(ClassifierError, match="TinyVGG has no pretrained weights"):
        load_classifier(TINY_VGG)


# --- real weights


@pytest.mark.real_data
@pytest.mark.parametrize("network", ["squeezenet1_0", "squeezenet1_1"])
@pytest.mark.parametrize(("photograph", "name"), [("0007", "sorrel"), ("0023", "hummingbird"), ("0049", "chow")])
def test_real_weights_recognise_photographs(real_data: Path, network: str, photograph: str, name: str) -> None:
    classifier = load_classifier(network, real_data / f"weights/{network}.safetensors")
    pixels = decode_image((real_data / f"ecssd/images/{photograph}.jpg").read_bytes()).pixels
    found = erase(classifier, squash(pixels, 224)[None], parameters=ONE_STEP)
    assert classifier.class_names[found.label[0]] == name
    assert found.probability[0] > 0.5


# --- networks of the user's own code


def test_a_network_of_own_code_is_found_by_its_name() -> None:
    classifier = load_classifier(TINY_VGG, "random", num_classes=3)
    assert isinstance(classifier.network, TinyVGG)
    assert classifier.preprocessing == TinyVGG.preprocessing
    assert erase(classifier, random_images(0, 1, 96), parameters=ONE_STEP).raw.max() > 0


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("demo.tiny_vgg:Missing", "names no function"),
        ("demo.missing:TinyVGG", "names no function"),
        (":TinyVGG", "names no function"),
        ("demo.tiny_vgg:INPUT_SIZE", "is no function"),
        ("builtins:dict", "returned dict, not a torch module"),
        ("builtins:abs", "cannot be called with num_classes"),
    ],
)
def test_names_of_own_code_that_are_no_network(name: str, sentence: str) -> None:
    with pytest.raises(ClassifierError, match=sentence):
        load_classifier(name, "random")
