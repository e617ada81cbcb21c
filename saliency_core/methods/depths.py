"""Where a network is read at several depths, found from the network itself: the last values before each halving.

In the backward passes that a method makes anyway the gradient also passes the network's inner layers. Read at several
depths it tells where the object is, at several resolutions (LayerCAM); the activations themselves tell which parts of
the image look alike to the network.
"""

import math
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import torch
from torch import nn

from saliency_core.networks.classifier import Classifier

FINEST = 4
"""Layers finer than this many pixels of the input a cell tell no more than the input does."""
FEATURE_STRIDES = (8, 16)
"""Cells of about so many pixels of the input are those whose activations are kept as features, fine and deep."""
TOKEN_DEPTHS = (1 / 3, 2 / 3, 1.0)
"""Where a transformer is read, as parts of its blocks; behind the last one only the class token has a gradient, so that
the last place is before it."""
_MOST_PREFIX_TOKENS = 8
"""Class and register tokens that may stand before those of the image."""
_SINGLE_HALVING = 3.0
"""A module that reduces the resolution by less is one halving; what reduces it more is looked into."""


@dataclass(frozen=True)
class Depth:
    """One place in a network.

    Parameters
    ----------
    module : str
        Name of the module.
    is_input : bool
        Whether it is read at the module's input (True) or output.
    side : int
        Cells a side of its grid.
    layout : {"channels_first", "channels_last", "tokens"}
    rectified : bool
        Whether a ReLU follows behind a max-pooling: the values are then those behind it, wherever the two stand.
    """

    module: str
    is_input: bool
    side: int
    layout: str
    rectified: bool = False


@dataclass
class _Call:
    """One module's part in a forward pass."""

    name: str
    module: nn.Module
    given: torch.Size | None
    returned: torch.Size | None = None


_known: "weakref.WeakKeyDictionary[nn.Module, dict[object, tuple[Depth, ...]]]" = weakref.WeakKeyDictionary()
_sizes: "weakref.WeakKeyDictionary[nn.Module, dict[int, bool]]" = weakref.WeakKeyDictionary()


def depths_of(classifier: Classifier) -> tuple[Depth, ...]:
    """Find where a classifier's network is to be read, the finest place first.

    Parameters
    ----------
    classifier : Classifier

    Returns
    -------
    tuple of Depth
        The last values before each halving of the resolution, down to the global pooling, on grids whose cells are
        `FINEST` pixels or more; a transformer's tokens at `TOKEN_DEPTHS`. Empty where the network has neither, and
        where it is compiled: its inside can then not be read.

    Examples
    --------
    >>> from saliency_core.networks.classifier import load_classifier
    >>> [(d.module, d.side) for d in depths_of(load_classifier("squeezenet1_1", "random"))]
    [('features.5', 55), ('features.8', 27), ('classifier.1', 13)]
    """
    # By its attribute: who does not compile shall not wait for torch's compiler.
    if any(hasattr(module, "_orig_mod") for module in classifier.network.modules()):
        return ()
    size = classifier.preprocessing.input_size
    found = _known.setdefault(classifier.network, {})
    # Layers may have been swapped since (`saliency_core.networks.placement.place`).
    key = (size, *((name, type(module)) for name, module in classifier.network.named_modules()))
    if key not in found:
        found[key] = _find(classifier, size)
    return found[key]


def takes_size(classifier: Classifier, size: int) -> bool:
    """Say whether a classifier's network takes images of another size than its own."""
    found = _sizes.setdefault(classifier.network, {})
    if size not in found:
        try:
            with torch.no_grad():
                classifier.network(torch.zeros(1, 3, size, size, device=classifier.device))
            found[size] = True
        except (RuntimeError, AssertionError, ValueError):
            found[size] = False
    return found[size]


def _find(classifier: Classifier, size: int) -> tuple[Depth, ...]:
    network = classifier.network
    calls = _calls(network, size, classifier.device)
    classes = len(classifier.class_names)
    once = [call for call in calls if sum(other.name == call.name for other in calls) == 1]
    by_name = {call.name: call for call in once}
    found: dict[int, Depth] = {}
    last: Depth | None = None
    for call in _spine(network, "", by_name):
        before, after = _grid(call.given), _grid(call.returned)
        if before is not None and before.channels != classes:
            depth = Depth(call.name, True, before.side, before.layout, _rectified(network, call.name))
            if after is None or before.side > 1.5 * after.side:
                found[depth.side] = depth
            last = depth
        if after is not None and after.channels != classes and after.side > 1:
            last = Depth(call.name, False, after.side, after.layout)
    if last is not None:
        found.setdefault(last.side, last)
    depths = [depth for side, depth in sorted(found.items(), reverse=True) if 1 < side <= size / FINEST + 1]
    return tuple(depths) if len(depths) > 1 else _token_depths(network, by_name) or tuple(depths)


@dataclass(frozen=True)
class _Grid:
    side: int
    channels: int
    layout: str


def _grid(shape: torch.Size | None) -> _Grid | None:
    """Understand the shape of square values (B, C, s, s) or (B, s, s, C)."""
    if shape is None or len(shape) != 4:
        return None
    if shape[2] == shape[3]:
        return _Grid(shape[2], shape[1], "channels_first")
    return _Grid(shape[1], shape[3], "channels_last") if shape[1] == shape[2] else None


def _tokens_side(shape: torch.Size | None) -> int | None:
    """Understand the shape of tokens (B, prefix + s * s, C): return s."""
    if shape is None or len(shape) != 3:
        return None
    side = int(shape[1] ** 0.5)
    return side if side > 1 and shape[1] - side * side <= _MOST_PREFIX_TOKENS else None


def _calls(network: nn.Module, size: int, device: torch.device) -> list[_Call]:
    """Run the network once and return the calls of its modules, in the order in which they began."""
    calls: list[_Call] = []
    handles = []
    open_calls: dict[str, list[_Call]] = {}

    def before(name: str) -> object:
        def hook(module: nn.Module, given: tuple[object, ...]) -> None:
            first = given[0] if given else None
            calls.append(_Call(name, module, first.shape if isinstance(first, torch.Tensor) else None))
            open_calls.setdefault(name, []).append(calls[-1])

        return hook

    def after(name: str) -> object:
        def hook(module: nn.Module, given: tuple[object, ...], returned: object) -> None:
            open_calls[name].pop().returned = returned.shape if isinstance(returned, torch.Tensor) else None

        return hook

    for name, module in network.named_modules():
        if name:
            handles += [
                module.register_forward_pre_hook(before(name)),
                module.register_forward_hook(after(name)),
            ]
    try:
        with torch.no_grad():
            network(torch.zeros(1, 3, size, size, device=device))
    finally:
        for handle in handles:
            handle.remove()
    return calls


def _spine(module: nn.Module, name: str, calls: dict[str, _Call]) -> Iterator[_Call]:
    """Go through the calls along which an image passes a network, down to single halvings of its resolution."""
    for child_name, child in module.named_children():
        full = f"{name}.{child_name}" if name else child_name
        call = calls.get(full)
        if call is None:  # a list of modules, or a wrapper
            yield from _spine(child, full, calls)
            continue
        before, after = _grid(call.given), _grid(call.returned)
        is_one = before is not None and after is not None and before.side < _SINGLE_HALVING * after.side
        if next(child.children(), None) is None or (is_one and not isinstance(child, nn.Sequential)):
            yield call
        else:
            yield from _spine(child, full, calls)


def _rectified(network: nn.Module, name: str) -> bool:
    """Whether a module is a max-pooling in a sequence with a ReLU right behind it."""
    parent_name, _, child_name = name.rpartition(".")
    parent = network.get_submodule(parent_name)
    if not isinstance(parent, nn.Sequential) or not isinstance(getattr(parent, child_name), nn.MaxPool2d):
        return False
    names = [key for key, _ in parent.named_children()]
    position = names.index(child_name) + 1
    return position < len(names) and isinstance(parent[position], nn.ReLU)


def _token_depths(network: nn.Module, calls: dict[str, _Call]) -> tuple[Depth, ...]:
    """Find a transformer's blocks: the longest row of modules of one kind that turn tokens into tokens."""
    best: list[tuple[str, int]] = []
    for name, module in network.named_modules():
        row = []
        for child_name, child in module.named_children():
            call = calls.get(f"{name}.{child_name}" if name else child_name)
            side = _tokens_side(call.returned) if call is not None else None
            if call is not None and side is not None and call.given == call.returned and list(child.children()):
                row.append((call.name, side))
        best = max(best, row, key=len)
    if len(best) < 2:
        return ()
    places = sorted({max(round(part * len(best)) - 1, 0) for part in TOKEN_DEPTHS})
    # The input of the next block, and of the last one at the latest.
    chosen = sorted({min(place + 1, len(best) - 1) for place in places})
    return tuple(Depth(best[place][0], True, best[place][1], "tokens") for place in chosen)


class _AllReadError(Exception):
    """Nothing more is wanted of a forward pass."""


@dataclass
class DepthReader:
    """Keeps the values at a network's depths during a forward pass.

    Parameters
    ----------
    network : Module
    depths : sequence of Depth

    Examples
    --------
    >>> from saliency_core.networks.classifier import load_classifier
    >>> classifier = load_classifier("squeezenet1_1", "random")
    >>> reader = DepthReader(classifier.network, depths_of(classifier))
    >>> with reader.reading() as values:
    ...     logits = classifier.network(torch.zeros(1, 3, 224, 224))
    >>> [tuple(value.shape) for value in values]
    [(1, 128, 55, 55), (1, 256, 27, 27), (1, 512, 13, 13)]
    """

    network: nn.Module
    depths: Sequence[Depth]
    _values: dict[int, torch.Tensor] = field(default_factory=dict)

    def read(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Return the values, finest first, and run the network no further than to the last of them."""
        with self.reading(stop=True) as values, suppress(_AllReadError):
            self.network(images)
        return values

    @contextmanager
    def reading(self, stop: bool = False) -> Iterator[list[torch.Tensor]]:
        """Open a block for one forward pass; the values, finest first, are in the list when it ends.

        Parameters
        ----------
        stop : bool
            End the pass by an `_AllReadError` when all values are there.
        """
        handles = []
        found: list[torch.Tensor] = []
        values: dict[int, torch.Tensor] = {}

        def keep(index: int, value: torch.Tensor) -> None:
            values[index] = value
            if stop and len(values) == len(self.depths):
                raise _AllReadError

        def at_input(index: int) -> object:
            def hook(module: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
                keep(index, given[0])

            return hook

        def at_output(index: int) -> object:
            def hook(module: nn.Module, given: object, returned: torch.Tensor) -> None:
                keep(index, returned)

            return hook

        for index, depth in enumerate(self.depths):
            module = self.network.get_submodule(depth.module)
            if depth.is_input:
                handles.append(module.register_forward_pre_hook(at_input(index)))  # type: ignore[arg-type]
            else:
                handles.append(module.register_forward_hook(at_output(index)))  # type: ignore[arg-type]
        try:
            yield found
        finally:
            for handle in handles:
                handle.remove()
        found += [values[index] for index in range(len(self.depths))]


def layer_evidence(activations: torch.Tensor, gradients: torch.Tensor, depth: Depth) -> torch.Tensor:
    """Say which cells of a layer speak for what a gradient belongs to.

    Parameters
    ----------
    activations : Tensor
        In the depth's layout.
    gradients : Tensor
        The cost's gradient to them.
    depth : Depth

    Returns
    -------
    float32 Tensor (B, h, w)
        ``sum_c max(g_c a_c, 0)``: LayerCAM's ``sum_c max(g_c, 0) a_c`` wherever activations are not negative.

    References
    ----------
    Jiang, Zhang, Hou, Cheng, Wei, "LayerCAM: Exploring Hierarchical Class Activation Maps for Localization", IEEE TIP
    2021, Eq. 4-6 (without the final ReLU, which changes nothing here).
    """
    product = on_grid(activations.detach().float() * gradients.float(), depth)
    return product.clamp_min_(0.0).sum(dim=1)


def on_grid(values: torch.Tensor, depth: Depth) -> torch.Tensor:
    """Bring a depth's values to (B, C, h, w), without a transformer's prefix tokens."""
    if depth.layout == "channels_last":
        return values.permute(0, 3, 1, 2)
    if depth.layout == "tokens":
        side = _tokens_side(values.shape)
        assert side is not None
        return values[:, values.shape[1] - side * side :].unflatten(1, (side, side)).permute(0, 3, 1, 2)
    return values


def feature_depths(depths: Sequence[Depth], size: int) -> tuple[int, ...]:
    """Choose the depths whose activations serve as features: a fine and a deep one.

    Parameters
    ----------
    depths : sequence of Depth
    size : int
        Side of the network's input.

    Returns
    -------
    tuple of int
        Positions among the depths; two that are the same place twice where there is but one, none where there is none.
    """
    if not depths:
        return ()

    if depths[0].side == depths[-1].side:  # a transformer's
        return len(depths) // 2, len(depths) - 1

    def nearest(stride: int) -> int:
        return min(range(len(depths)), key=lambda index: abs(math.log(size / depths[index].side / stride)))

    fine, deep = (nearest(stride) for stride in FEATURE_STRIDES)
    return fine, deep


def unit_features(activations: torch.Tensor, depth: Depth) -> torch.Tensor:
    """Bring activations to unit length over the channels, as float32 (B, h, w, C); zeros stay zeros."""
    values = on_grid(activations.detach().float(), depth)
    if depth.rectified:
        values = values.clamp_min(0.0)
    return nn.functional.normalize(values, dim=1, eps=1e-6).permute(0, 2, 3, 1)


def packed(features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Code values (B, ...) in 8 bits: ``low + step * code``, low and step one of each image.

    Returns
    -------
    uint8 Tensor (B, ...), float32 Tensor (B, 2)
    """
    flat = features.flatten(1)
    low, high = flat.amin(dim=1), flat.amax(dim=1)
    step = (high - low).clamp_min(1e-12) / 255
    shape = (-1, *[1] * (features.ndim - 1))
    codes = ((features - low.view(shape)) / step.view(shape)).round().to(torch.uint8)
    return codes, torch.stack([low, step], dim=1)
