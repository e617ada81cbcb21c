"""A classification network with all that is needed to use it: weights, preprocessing, class names."""

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from saliency_core.errors import ClassifierError
from saliency_core.networks.architectures import build_network, tensor_shapes, zoo_of
from saliency_core.networks.metadata import class_names_of, preprocessing_of
from saliency_core.networks.options import PRETRAINED, RANDOM, Precision, Scores
from saliency_core.networks.preprocessing import Preprocessing
from saliency_core.networks.torchvision_zoo import imagenet_class_names
from saliency_core.networks.weights import Weights, read_weights, weights_checksum


@dataclass(frozen=True, eq=False)
class Classifier:
    """A frozen network in evaluation mode with all that is needed to use it.

    Parameters
    ----------
    name : str
        Of the architecture, see `load_classifier`.
    network : Module
        What is run: takes float32 (B, 3, S, S) normalised input on `device`, returns logits (B, N). In evaluation
        mode, without parameter gradients, without in-place operations of its own modules.
    preprocessing : Preprocessing
    class_names : tuple of str
        N names.
    weights_source : str
        Where the weights come from, for the record.
    weights_sha256 : str
        SHA-256 over all parameter and buffer names, shapes, types and values.
    device : torch.device
        Where `network` is.
    precision : Precision
        What `network` computes in.
    original : Module, optional
        The network as it was loaded, where `network` is a copy that was made from it by `place`.
    """

    name: str
    network: nn.Module = field(repr=False)
    preprocessing: Preprocessing
    class_names: tuple[str, ...] = field(repr=False)
    weights_source: str
    weights_sha256: str
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    precision: Precision = "float32"
    original: nn.Module | None = field(default=None, repr=False)

    @classmethod
    def from_module(
        cls,
        module: nn.Module,
        mean: Sequence[float],
        std: Sequence[float],
        input_size: int,
        class_names: Sequence[str] | None = None,
        *,
        name: str | None = None,
    ) -> "Classifier":
        """Make a classifier of any network that returns logits.

        Parameters
        ----------
        module : Module
            Takes normalised RGB images, float32 (B, 3, S, S), on the device of its parameters, and returns logits
            (B, N). It is copied as it is now: neither its mode nor its gradients are touched, and what is done to it
            later changes nothing here.
        mean, std : sequence of three float
            Per-channel mean and standard deviation (R, G, B) of pixel values in [0, 1].
        input_size : int
            Side S of the square input.
        class_names : sequence of str, optional
            N names. Default: numbers.
        name : str, optional
            For the record. Default: the name of the module's class.

        Raises
        ------
        ClassifierError
            If the module does not return logits of such images, or the names do not match in number.

        Examples
        --------
        >>> module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        >>> classifier = Classifier.from_module(module, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), 32)
        >>> classifier.class_names, module.training
        (('class 0', 'class 1', 'class 2', 'class 3'), True)
        """
        if not isinstance(module, nn.Module):
            raise ClassifierError(f"a classifier is made of a torch module, not of {type(module).__name__}")
        own_name = name or type(module).__name__
        preprocessing = Preprocessing(input_size, _three("mean", mean), _three("std", std))
        with torch.inference_mode(False), torch.no_grad():
            network = copy.deepcopy(module)
        _freeze(network)
        _check_finite(network)
        device = next((tensor.device for tensor in network.parameters()), torch.device("cpu"))
        found_classes = _count_classes(own_name, network, preprocessing, device)
        names = class_names if class_names is not None else [f"class {index}" for index in range(found_classes)]
        return cls(
            name=own_name,
            network=network,
            preprocessing=preprocessing,
            class_names=_class_names(names, None, found_classes),
            weights_source="module",
            weights_sha256=weights_checksum(network.state_dict()),
            device=device,
        )


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
        Any classification network of torchvision; ``timm/NAME`` for any of timm's; or ``package.module:function`` of
        your own code (see `saliency_core.networks.architectures.zoo_of`).
    weights : str, path or Weights
        ``"pretrained"``: torchvision's own, downloaded and cached by torch with its hash checked, or timm's;
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
    zoo = zoo_of(name)
    zoo.check_name(name)
    if class_names is not None and num_classes is None:
        num_classes = len(class_names)
    if num_classes is not None and num_classes < 1:
        raise ClassifierError(f"a classifier needs at least 1 class, not {num_classes}")
    metadata: Mapping[str, str] = {}
    if weights == PRETRAINED:
        own_classes = zoo.pretrained_classes(name)
        if num_classes is not None and own_classes not in (None, num_classes):
            raise ClassifierError(
                f"the pretrained weights of {name} have {own_classes} classes, not {num_classes}: "
                "give weights of your own, or leave the number and names of classes out"
            )
        network, source = zoo.pretrained(name)
    elif weights == RANDOM:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = build_network(name, num_classes or 1000)
        source = RANDOM
    else:
        read = weights if isinstance(weights, Weights) else read_weights(weights)
        network, metadata, source = _with_weights(name, read, num_classes), read.metadata, "file"
    _freeze(network)
    _check_finite(network)
    if scores == "before-relu":
        _remove_last_relu(name, network)
    preprocessing = preprocessing_of(metadata, zoo.preprocessing(name))
    if input_size is not None:
        preprocessing = dataclasses.replace(preprocessing, input_size=input_size)
    found_classes = _count_classes(name, network, preprocessing, None)
    return Classifier(
        name=name,
        network=network,
        preprocessing=preprocessing,
        class_names=_class_names(class_names, class_names_of(metadata), found_classes),
        weights_source=source,
        weights_sha256=weights_checksum(network.state_dict()),
    )


def _with_weights(name: str, weights: Weights, num_classes: int | None) -> nn.Module:
    expected = tensor_shapes(name, 1000)
    tensors = zoo_of(name).without_extras(name, weights.tensors)
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


def _three(name: str, values: Sequence[float]) -> tuple[float, float, float]:
    try:
        red, green, blue = (float(value) for value in values)
    except (TypeError, ValueError) as error:
        raise ClassifierError(f"{name} must be three numbers, one a channel (R, G, B), not {values!r}") from error
    return red, green, blue


def _check_finite(network: nn.Module) -> None:
    for name, tensor in network.state_dict().items():
        if not bool(torch.isfinite(tensor).all()):
            raise ClassifierError(f"the weights hold infinite numbers or none (in {name}): they are damaged")


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


def _count_classes(name: str, network: nn.Module, preprocessing: Preprocessing, device: torch.device | None) -> int:
    size = preprocessing.input_size
    try:
        with torch.inference_mode():
            logits: object = network(torch.zeros(1, 3, size, size, device=device))
    except (RuntimeError, AssertionError, ValueError, TypeError) as error:
        raise ClassifierError(f"{name} does not take an input of {size} x {size} pixels: {error}") from error
    if not isinstance(logits, torch.Tensor) or logits.ndim != 2:
        found = (
            f"a tensor of shape {tuple(logits.shape)}" if isinstance(logits, torch.Tensor) else type(logits).__name__
        )
        raise ClassifierError(f"{name} must return one tensor of logits (B, N), not {found}")
    return int(logits.shape[1])


def _class_names(given: Sequence[str] | None, known: tuple[str, ...] | None, num_classes: int) -> tuple[str, ...]:
    if given is not None:
        names = tuple(given)
    elif known is not None:
        names = known
    elif num_classes == 1000:
        names = imagenet_class_names()
    else:
        names = tuple(f"class {index}" for index in range(num_classes))
    if len(names) != num_classes:
        raise ClassifierError(f"there are {len(names)} class names for {num_classes} classes: make them agree")
    return names
