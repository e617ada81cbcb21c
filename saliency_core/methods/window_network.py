"""The two networks of multi-context saliency: each says of a window whether the superpixel in its middle is salient."""

import json
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F  # noqa: N812 -- as in torch's own documentation
from torch import nn

from saliency_core.errors import ClassifierError
from saliency_core.methods.depths import Depth, DepthReader, depths_of, on_grid
from saliency_core.methods.windows import MAP_SIDE
from saliency_core.networks.classifier import Classifier, load_classifier
from saliency_core.networks.metadata import classifier_metadata, preprocessing_of
from saliency_core.networks.options import RANDOM
from saliency_core.networks.preprocessing import Preprocessing
from saliency_core.networks.weights import StateDict, Weights, weights_checksum

WIDTH, HIDDEN = 32, 64
"""Channels to which every depth is brought, and numbers of the fully connected layer."""
CENTRAL, WHOLE = 5, 5
"""Cells a side that are taken of every depth around the middle, and of the deepest of all."""
SALIENCE = ("background", "salient")
"""The two classes of a window."""

_SHAPE = "multi_context"
"""The key of a weights file's metadata that says it is such a pair, and what its heads are like."""


class WindowHead(nn.Module):
    """From activations at several depths, and the first stage's map, to two logits.

    Most networks of today average over their last grid, and so forget where in the window they saw something: here the
    grids are read themselves. Of each depth the cells around the middle are taken, of the deepest the whole window as
    well. The activations come at unit length over the channels, times the square root of their number, and are brought
    to `width` channels; one fully connected layer reads all of them. The map is concatenated behind it, flattened.

    Parameters
    ----------
    channels, sides : sequence of int
        Of each depth, the finest first.
    map_side : int
        Of the square map; 0: there is none.
    width, hidden : int
    """

    def __init__(
        self,
        channels: Sequence[int],
        sides: Sequence[int],
        map_side: int = 0,
        width: int = WIDTH,
        hidden: int = HIDDEN,
    ) -> None:
        super().__init__()
        self.channels, self.sides, self.map_side = tuple(channels), tuple(sides), map_side
        self.width, self.hidden = width, hidden
        self.central = [min(side, CENTRAL - (side - CENTRAL) % 2) for side in sides]
        self.reduce = nn.ModuleList(nn.Conv2d(count, width, 1) for count in channels)
        numbers = width * (sum(side * side for side in self.central) + WHOLE * WHOLE)
        self.connected = nn.Linear(numbers, hidden)
        self.dropout = nn.Dropout(0.5)
        self.classes = nn.Linear(hidden + map_side * map_side, len(SALIENCE))

    def forward(self, grids: Sequence[torch.Tensor], maps: torch.Tensor | None = None) -> torch.Tensor:
        """Return the logits (N, 2) of windows from grids (N, C, h, w), one a depth, and maps (N, s, s)."""
        parts = []
        for values, reduce, side in zip(grids, self.reduce, self.central, strict=True):
            first = (values.shape[2] - side) // 2
            middle = values[:, :, first : first + side, first : first + side]
            parts.append(self._reduced(reduce, middle).flatten(1))
        whole = F.adaptive_avg_pool2d(self._reduced(self.reduce[-1], grids[-1]), WHOLE)
        found = F.relu(self.connected(torch.cat([*parts, whole.flatten(1)], dim=1)))
        found = self.dropout(found)
        if maps is not None:
            # Divided by its side: together its many numbers count about as much as one, in a step of training as well.
            found = torch.cat([found, maps.flatten(1).to(found.dtype) / self.map_side], dim=1)
        logits: torch.Tensor = self.classes(found)
        return logits

    @staticmethod
    def _reduced(reduce: nn.Module, values: torch.Tensor) -> torch.Tensor:
        unit = F.normalize(values, dim=1, eps=1e-6) * values.shape[1] ** 0.5
        return F.relu(reduce(unit))

    @property
    def shape(self) -> dict[str, object]:
        """What `WindowHead` is made with."""
        return {name: getattr(self, name) for name in ("channels", "sides", "map_side", "width", "hidden")}


class WindowNetwork(nn.Module):
    """A network that is read at its depths, and no further, with a head on them.

    Parameters
    ----------
    trunk : Module
        A classification network; what of it lies behind its depths is never run.
    head : WindowHead
    input_size : int
        Side S of its input.
    classes : int
        Of the trunk.
    unused : frozenset of str
        Names of those of its own parameters that nothing depends on.
    """

    def __init__(
        self, trunk: nn.Module, head: WindowHead, input_size: int, classes: int, unused: frozenset[str] = frozenset()
    ) -> None:
        super().__init__()
        self.trunk, self.head, self.input_size, self.classes, self.unused = trunk, head, input_size, classes, unused

    def forward(self, windows: torch.Tensor, maps: torch.Tensor | None = None) -> torch.Tensor:
        """Return the logits (N, 2) of normalised windows (N, 3, S, S), and of maps where the head reads them."""
        places = self.places(windows.device)
        grids = []
        for values, place in zip(DepthReader(self.trunk, places).read(windows), places, strict=True):
            grid = on_grid(values, place)
            grids.append(grid.clamp_min(0.0) if place.rectified else grid)
        logits: torch.Tensor = self.head(grids, maps)
        return logits

    def places(self, device: torch.device) -> tuple[Depth, ...]:
        """Return where the trunk is read; that may change when its layers are swapped."""
        is_training = self.trunk.training
        self.trunk.eval()
        try:
            return depths_of(self.below(device))
        finally:
            self.trunk.train(is_training)

    def below(self, device: torch.device) -> Classifier:
        """Return the trunk as a classifier of its own."""
        return Classifier("", self.trunk, Preprocessing(self.input_size), ("",) * self.classes, "", "", device)


class ContextNetworks(nn.Module):
    """Both networks as one: windows alone go to the first, windows with maps to the second.

    Parameters
    ----------
    first, second : WindowNetwork
        Of the global windows; of the local ones.
    """

    def __init__(self, first: WindowNetwork, second: WindowNetwork) -> None:
        super().__init__()
        self.first, self.second = first, second

    def forward(self, windows: torch.Tensor, maps: torch.Tensor | None = None) -> torch.Tensor:
        """Return the logits (N, 2) of normalised windows (N, 3, S, S)."""
        logits: torch.Tensor = self.first(windows) if maps is None else self.second(windows, maps)
        return logits

    def used(self) -> StateDict:
        """Return the state dict without what nothing depends on."""
        unused = {f"{part}.{key}" for part in ("first", "second") for key in getattr(self, part).unused}
        return {key: value for key, value in self.state_dict().items() if key not in unused}


class MultiContext(Classifier):
    """A pair of networks that were taught to tell salient windows; its two classes are `SALIENCE`."""

    @property
    def of_images(self) -> Classifier:
        """The network below the first head, to be read on whole images: the heads know windows alone."""
        # Placed on a device, both may lie within another module, which sets the precision.
        pair = next(part for part in self.network.modules() if isinstance(part, ContextNetworks))
        return pair.first.below(self.device)


def new_window_network(classifier: Classifier, with_map: bool, seed: int = 0, width: int = WIDTH) -> WindowNetwork:
    """Make one of the two networks, with a classifier's weights and a new head; what is not run has no parameters.

    Parameters
    ----------
    classifier : Classifier
        As `load_classifier` returned it; its network becomes part of the new one.
    with_map : bool
        Whether it is the second.
    seed : int
        Of the head.
    width : int
        See `WindowHead`.

    Raises
    ------
    ClassifierError
        If the network has no depths that could be read.
    """
    places = depths_of(classifier)
    if not places:
        raise ClassifierError(
            f"{classifier.name} has no layers in which an image keeps its shape: choose another network"
        )
    size = classifier.preprocessing.input_size
    trunk = classifier.network
    named = dict(trunk.named_parameters())
    for parameter in named.values():
        parameter.requires_grad_(True)
    with torch.enable_grad():
        values = DepthReader(trunk, places).read(torch.zeros(1, 3, size, size))
        grids = [on_grid(value, place) for value, place in zip(values, places, strict=True)]
        total = torch.stack([grid.sum() for grid in grids]).sum()
        gradients = torch.autograd.grad(total, list(named.values()), allow_unused=True)
    unused = [name for name, gradient in zip(named, gradients, strict=True) if gradient is None]
    for name in unused:
        named[name].requires_grad_(False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        shapes = [grid.shape[1] for grid in grids], [grid.shape[2] for grid in grids]
        head = WindowHead(*shapes, map_side=MAP_SIDE if with_map else 0, width=width)
    return WindowNetwork(trunk, head, size, len(classifier.class_names), frozenset(f"trunk.{name}" for name in unused))


def is_multi_context(metadata: Mapping[str, str]) -> bool:
    """Say whether a weights file is such a pair's, from its metadata."""
    return _SHAPE in metadata


def multi_context_weights(name: str, preprocessing: Preprocessing, networks: ContextNetworks) -> Weights:
    """Return the tensors of a pair of networks, with the metadata of its file.

    Parameters
    ----------
    name : str
        Of the architecture.
    preprocessing : Preprocessing
    networks : ContextNetworks
    """
    metadata = classifier_metadata(name, SALIENCE, preprocessing)
    return Weights(networks.used(), {**metadata, _SHAPE: json.dumps({"width": networks.first.head.width})})


def load_multi_context(name: str, weights: Weights) -> MultiContext:
    """Build a pair from its file's content.

    Parameters
    ----------
    name : str
        Of the architecture, as for `load_classifier`.
    weights : Weights
        As `multi_context_weights` made them.

    Raises
    ------
    ClassifierError
        If they are no such pair's, or are damaged.
    """
    if not is_multi_context(weights.metadata):
        raise ClassifierError(
            "this network was not taught to tell salient windows: give a model that jobs.train_multi_context left"
        )
    like = load_classifier(name, RANDOM, num_classes=len(SALIENCE))
    preprocessing = preprocessing_of(weights.metadata, like.preprocessing)
    try:
        width = int(json.loads(weights.metadata[_SHAPE])["width"])
        networks = ContextNetworks(*(_untaught(name, preprocessing, second, width) for second in (False, True)))
        missing = sorted(networks.used().keys() - weights.tensors.keys())
        if missing:
            raise ValueError(f"{missing[0]} is missing")
        networks.load_state_dict({**networks.state_dict(), **weights.tensors})
    except (TypeError, ValueError, KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ClassifierError(f"the pair of networks cannot be read: {reason}") from error
    made = MultiContext.from_module(
        networks, preprocessing.mean, preprocessing.std, preprocessing.input_size, SALIENCE, name=name
    )
    checksum = weights_checksum(weights.tensors)
    return MultiContext(**(vars(made) | {"weights_source": "file", "weights_sha256": checksum}))


def _untaught(name: str, preprocessing: Preprocessing, with_map: bool, width: int) -> WindowNetwork:
    size = preprocessing.input_size
    classifier = load_classifier(name, RANDOM, num_classes=len(SALIENCE), input_size=size)
    return new_window_network(classifier, with_map, width=width)
