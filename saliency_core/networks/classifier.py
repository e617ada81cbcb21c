"""Classification networks: torchvision's by name, their weights, preprocessing and class names."""

import difflib
import hashlib
import json
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import safetensors
import safetensors.torch
import torch
import torchvision.models
from torch import nn

from saliency_core.errors import ClassifierError
from saliency_core.networks import tiny_vgg  # registers the network of that name, too
from saliency_core.networks.options import PRETRAINED, RANDOM, Scores

StateDict = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Preprocessing:
    """How a network wants its input.

    Parameters
    ----------
    input_size : int
        Side of the square input, in pixels.
    mean, std : tuple of three float
        Per-channel mean and standard deviation (R, G, B) of pixel values in [0, 1].
    """

    input_size: int = 224
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Weights:
    """Tensors of a network as read from a file, with what the file says about them.

    Parameters
    ----------
    tensors : mapping of str to Tensor
        The state dict.
    metadata : mapping of str to str
        A safetensors file's metadata (``class_names``, ``input_size``, ``mean``, ``std`` as JSON are used).
    """

    tensors: StateDict
    metadata: Mapping[str, str]


@dataclass(frozen=True)
class Classifier:
    """A frozen network in evaluation mode with all that is needed to use it.

    Parameters
    ----------
    name : str
        torchvision's name of the architecture.
    network : Module
        Takes float32 (B, 3, S, S) normalised input, returns logits (B, N). In evaluation mode, without
        parameter gradients, without in-place operations of its own modules.
    preprocessing : Preprocessing
    class_names : tuple of str
        N names.
    weights_source : str
        Where the weights come from, for the record.
    weights_sha256 : str
        SHA-256 over all parameter and buffer names, shapes, types and values.
    """

    name: str
    network: nn.Module
    preprocessing: Preprocessing
    class_names: tuple[str, ...]
    weights_source: str
    weights_sha256: str


def available_networks() -> list[str]:
    """Return the names of the classification networks, sorted.

    Examples
    --------
    >>> {"vgg16", "squeezenet1_1", "resnet50", "convnext_tiny", "tiny_vgg"} <= set(available_networks())
    True
    """
    return sorted([*torchvision.models.list_models(module=torchvision.models), "tiny_vgg"])


def check_network_name(name: str) -> None:
    """Raise ClassifierError with the nearest names unless `name` is a classification network."""
    names = available_networks()
    if name not in names:
        nearest = difflib.get_close_matches(name, names, n=3)
        hint = f"did you mean {' or '.join(nearest)}?" if nearest else "see torchvision's model list"
        raise ClassifierError(f"there is no classification network named {name!r}: {hint}")


def read_weights(path: str | Path) -> Weights:
    """Read a state dict from a local file without ever running code from it.

    Parameters
    ----------
    path : path
        A ``.safetensors`` file, or a file written by ``torch.save`` that holds tensors only (it is read with
        ``weights_only=True``). ``{"state_dict": ...}`` and ``{"model": ...}`` are unwrapped, and the prefix
        ``module.`` that DistributedDataParallel leaves is taken off.

    Returns
    -------
    Weights

    Raises
    ------
    ClassifierError
        If the file is missing, broken, or holds anything else than tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise ClassifierError(f"there is no weights file {path}")
    try:
        if path.suffix == ".safetensors":
            with safetensors.safe_open(path, framework="pt") as file:
                metadata = dict(file.metadata() or {})
            content: object = safetensors.torch.load_file(path)
        else:
            metadata = {}
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch and safetensors raise a dozen unrelated types for a broken file
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ClassifierError(
            f"the weights in {path.name} cannot be read ({reason}); "
            "give a .safetensors file or a state dict of tensors only"
        ) from error
    for wrapper in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not content:
        raise ClassifierError(f"{path.name} holds no state dict: expected a mapping of names to tensors")
    if not all(isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in content.items()):
        raise ClassifierError(f"{path.name} holds other things than named tensors: save the state dict alone")
    return Weights({name.removeprefix("module."): value for name, value in content.items()}, metadata)


@torch.inference_mode(False)  # no gradient can be taken through parameters that are made in inference mode
def load_classifier(
    name: str = "vgg16",
    weights: str | Path | Weights = PRETRAINED,
    *,
    num_classes: int | None = None,
    class_names: Sequence[str] | None = None,
    input_size: int | None = None,
    scores: Scores = "logits",
) -> Classifier:
    """Build a frozen classifier.

    Parameters
    ----------
    name : str
        Any classification network of torchvision, or ``tiny_vgg``, this project's small demonstration
        network.
    weights : str, path or Weights
        ``"pretrained"``: torchvision's own, downloaded and cached by torch with its hash checked;
        ``"random"``: random numbers of a fixed seed, for tests and timing only; else a local file (see
        `read_weights`) or weights already read.
    num_classes : int, optional
        Number of classes N. Default: as many as the weights have.
    class_names : sequence of str, optional
        N names. Default: those in the weights file's metadata, ImageNet's for 1000 classes, else numbers.
    input_size : int, optional
        Side of the square input. Default: as the weights were trained.
    scores : {"logits", "before-relu"}
        ``"before-relu"`` takes a last ReLU off, as torchvision's SqueezeNet has it: its logits are then never
        dead at 0.

    Returns
    -------
    Classifier

    Raises
    ------
    ClassifierError
        If the name is unknown, the weights do not fit, or the names do not match in number.

    Examples
    --------
    >>> classifier = load_classifier("squeezenet1_1", "random", num_classes=2, class_names=["cat", "dog"])
    >>> classifier.network(torch.zeros(1, 3, 224, 224)).shape
    torch.Size([1, 2])
    """
    check_network_name(name)
    if class_names is not None and num_classes is None:
        num_classes = len(class_names)
    if num_classes is not None and num_classes < 1:
        raise ClassifierError(f"a classifier needs at least 1 class, not {num_classes}")
    if weights == PRETRAINED:
        network, metadata, source = _pretrained(name, num_classes)
    elif weights == RANDOM:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = build_network(name, num_classes or 1000)
        metadata, source = {}, RANDOM
    else:
        read = weights if isinstance(weights, Weights) else read_weights(weights)
        network, metadata, source = _with_weights(name, read, num_classes), read.metadata, "file"
    _freeze(network)
    if scores == "before-relu":
        _remove_last_relu(name, network)
    preprocessing = _preprocessing(name, metadata, input_size)
    found_classes = _count_classes(name, network, preprocessing)
    return Classifier(
        name=name,
        network=network,
        preprocessing=preprocessing,
        class_names=_class_names(class_names, metadata, found_classes),
        weights_source=source,
        weights_sha256=weights_checksum(network.state_dict()),
    )


def weights_checksum(tensors: StateDict) -> str:
    """Return the SHA-256 hex digest over the names, shapes, types and values of a state dict."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def build_network(name: str, num_classes: int) -> nn.Module:
    """Build a network by name with random weights, in training mode."""
    options: dict[str, object] = {}
    if name in ("googlenet", "inception_v3"):
        # Their auxiliary heads serve training only, and torchvision's weights expect its own input transform.
        options = {"aux_logits": False, "transform_input": True, "init_weights": False}
    elif name == "vit_h_14":
        options = {"image_size": 518}  # the size of its only weights
    return torchvision.models.get_model(name, weights=None, num_classes=num_classes, **options)


def tensor_shapes(name: str, num_classes: int) -> dict[str, torch.Size]:
    """Return the shapes of a network's tensors by name, without making the tensors."""
    # RegNet computes its widths with tensors, which must hold numbers: the others need none for their shapes.
    with torch.device("cpu" if name.startswith("regnet") else "meta"):
        return {key: value.shape for key, value in build_network(name, num_classes).state_dict().items()}


def _pretrained(name: str, num_classes: int | None) -> tuple[nn.Module, Mapping[str, str], str]:
    if name == "tiny_vgg":
        raise ClassifierError("tiny_vgg has no pretrained weights of torchvision: give its weights file")
    if num_classes not in (None, 1000):
        raise ClassifierError(
            f"torchvision's pretrained weights of {name} have 1000 classes, not {num_classes}: "
            "give weights of your own, or leave the number and names of classes out"
        )
    weights = torchvision.models.get_model_weights(name).DEFAULT
    try:
        network = torchvision.models.get_model(name, weights=weights, progress=False)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ClassifierError(
            f"torchvision's pretrained weights of {name} could not be loaded ({error}): check the network "
            f"connection, delete a damaged file in {torch.hub.get_dir()}/checkpoints, or give a local weights file"
        ) from error
    return network, {}, f"torchvision {weights}"


def _with_weights(name: str, weights: Weights, num_classes: int | None) -> nn.Module:
    expected = tensor_shapes(name, 1000)
    tensors = dict(weights.tensors)
    if name in ("googlenet", "inception_v3"):
        tensors = {key: value for key, value in tensors.items() if not key.lower().startswith("aux")}
    missing = sorted(expected.keys() - tensors.keys())
    unexpected = sorted(tensors.keys() - expected.keys())
    if missing or unexpected:
        example = f"{missing[0]} is missing" if missing else f"{unexpected[0]} is not part of it"
        raise ClassifierError(
            f"the weights are not those of {name}: {example} "
            f"({len(missing)} tensors missing, {len(unexpected)} unknown)"
        )
    # Only the layers that end in the classes may differ from the 1000-class network, and only in that length.
    other = {key: value.shape for key, value in tensors.items() if value.shape != expected[key]}
    lengths = {shape[0] if len(shape) else -1 for shape in other.values()}
    fits = all(expected[key][:1] == (1000,) and expected[key][1:] == shape[1:] for key, shape in other.items())
    if not fits or len(lengths) > 1:
        key = next(iter(other))
        raise ClassifierError(
            f"the weights are not those of {name}: {key} has the shape {tuple(other[key])}, "
            f"expected {tuple(expected[key])}"
        )
    found = lengths.pop() if lengths else 1000
    if num_classes not in (None, found):
        raise ClassifierError(
            f"the weights have {found} classes, but {num_classes} classes were asked for: "
            "make the number or list of classes agree with the weights"
        )
    network = build_network(name, found)
    # Names and shapes agree. load_state_dict would ask for versions that files do not keep (MNASNet).
    for key, value in network.state_dict().items():
        if value.is_floating_point() != tensors[key].is_floating_point():
            raise ClassifierError(f"{key} is {tensors[key].dtype}, expected {value.dtype}: give unquantised weights")
        value.copy_(tensors[key])
    return network


def _freeze(network: nn.Module) -> None:
    network.eval().requires_grad_(False)
    for module in network.modules():
        if hasattr(module, "inplace"):
            setattr(module, "inplace", False)  # noqa: B010 -- typed as a submodule by torch


def _remove_last_relu(name: str, network: nn.Module) -> None:
    head = getattr(network, "classifier", None)
    if isinstance(head, nn.Sequential):
        for index in range(len(head) - 1, -1, -1):
            if isinstance(head[index], nn.ReLU):
                head[index] = nn.Identity()
                return
            if not isinstance(head[index], nn.AdaptiveAvgPool2d | nn.Flatten):
                break
    raise ClassifierError(f"the logits of {name} do not come out of a ReLU: leave the scores at 'logits'")


def _preprocessing(name: str, metadata: Mapping[str, str], input_size: int | None) -> Preprocessing:
    if name == "tiny_vgg":
        default = Preprocessing(tiny_vgg.INPUT_SIZE, tiny_vgg.MEAN, tiny_vgg.STD)
    else:
        transforms = torchvision.models.get_model_weights(name).DEFAULT.transforms()
        default = Preprocessing(transforms.crop_size[0], tuple(transforms.mean), tuple(transforms.std))
    try:
        found = Preprocessing(
            input_size=int(json.loads(metadata.get("input_size", str(default.input_size)))),
            mean=tuple(json.loads(metadata["mean"])) if "mean" in metadata else default.mean,
            std=tuple(json.loads(metadata["std"])) if "std" in metadata else default.std,
        )
    except (ValueError, TypeError) as error:
        raise ClassifierError(f"the weights file's metadata cannot be understood: {error}") from error
    numbers = all(isinstance(value, int | float) for value in (*found.mean, *found.std))
    if not (numbers and len(found.mean) == len(found.std) == 3 and min(found.std) > 0):
        raise ClassifierError("the weights file's mean and std must be three numbers each, std above 0")
    return found if input_size is None else Preprocessing(input_size, found.mean, found.std)


def _count_classes(name: str, network: nn.Module, preprocessing: Preprocessing) -> int:
    size = preprocessing.input_size
    try:
        with torch.inference_mode():
            return int(network(torch.zeros(1, 3, size, size)).shape[1])
    except (RuntimeError, AssertionError, ValueError) as error:
        raise ClassifierError(f"{name} does not take an input of {size} x {size} pixels: {error}") from error


def _class_names(given: Sequence[str] | None, metadata: Mapping[str, str], num_classes: int) -> tuple[str, ...]:
    if given is not None:
        names = tuple(given)
    elif "class_names" in metadata:
        try:
            names = tuple(json.loads(metadata["class_names"]))
        except (ValueError, TypeError) as error:
            raise ClassifierError(f"the weights file's class names cannot be understood: {error}") from error
    elif num_classes == 1000:
        names = tuple(torchvision.models.get_model_weights("vgg16").DEFAULT.meta["categories"])
    else:
        names = tuple(f"class {index}" for index in range(num_classes))
    if len(names) != num_classes:
        raise ClassifierError(f"there are {len(names)} class names for {num_classes} classes: make them agree")
    return names
