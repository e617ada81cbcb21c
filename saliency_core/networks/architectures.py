"""Networks by name, whatever collection they come from."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from saliency_core.networks.own_code import OWN_CODE, is_own_code
from saliency_core.networks.timm_zoo import PREFIX, TIMM
from saliency_core.networks.torchvision_zoo import TORCHVISION
from saliency_core.networks.zoo import Zoo


def zoo_of(name: str) -> Zoo:
    """Return the collection that a name belongs to, whether it is there or not.

    Parameters
    ----------
    name : str
        torchvision's name of a network; ``timm/NAME`` for one of timm's; or ``package.module:function`` of the user's
        own code: a function that takes ``num_classes`` and returns a module; its attribute ``preprocessing``, if it
        has one, is the default.
    """
    if name.startswith(PREFIX):
        return TIMM
    return OWN_CODE if is_own_code(name) else TORCHVISION


def check_network_name(name: str) -> None:
    """Raise ClassifierError, with the nearest names, unless `name` is a classification network."""
    zoo_of(name).check_name(name)


def build_network(name: str, num_classes: int) -> nn.Module:
    """Build a network by name with random weights, in training mode."""
    return zoo_of(name).build(name, num_classes)


class _WithoutValues(TorchFunctionMode):
    """Leaves out what only fills tensors with numbers: without numbers to fill it loads torch's compiler, for 1.4 s."""

    def __torch_function__(
        self, func: Callable[..., Any], types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        options = kwargs or {}
        if func.__name__ in ("normal_", "uniform_") or getattr(func, "__module__", "") == "torch.nn.init":
            return args[0] if args else options["tensor"]
        return func(*args, **options)


def tensor_shapes(name: str, num_classes: int) -> dict[str, torch.Size]:
    """Return the shapes of a network's tensors by name; where its code allows, without making the tensors."""
    try:
        with torch.device("meta"), _WithoutValues():
            network = build_network(name, num_classes)
    except (RuntimeError, NotImplementedError):  # it computes with tensors, as RegNet does its widths
        network = build_network(name, num_classes)
    return {key: value.shape for key, value in network.state_dict().items()}
