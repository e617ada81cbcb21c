"""Networks of the user's own code, named ``package.module:function``."""

import importlib

from torch import nn

from saliency_core.errors import ClassifierError
from saliency_core.networks.preprocessing import Preprocessing
from saliency_core.networks.zoo import Zoo


def is_own_code(name: str) -> bool:
    """Say whether a name is that of a function in the user's own code.

    Importing a module runs it: take such a name from the user alone, never from a file of weights.
    """
    return ":" in name


def _function(name: str) -> object:
    module, _, function = name.partition(":")
    try:
        found: object = importlib.import_module(module)
        for part in function.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise ClassifierError(
            f"{name!r} names no function ({error}): write package.module:function, where the package can be imported"
        ) from error
    if not callable(found):
        raise ClassifierError(f"{name!r} is no function: it must take num_classes=, and return a torch module")
    return found


def _build(name: str, num_classes: int) -> nn.Module:
    function = _function(name)
    assert callable(function)
    try:
        network = function(num_classes=num_classes)
    except TypeError as error:
        raise ClassifierError(f"{name} cannot be called with num_classes={num_classes}: {error}") from error
    if not isinstance(network, nn.Module):
        raise ClassifierError(f"{name} returned {type(network).__name__}, not a torch module")
    return network


def _pretrained(name: str) -> tuple[nn.Module, str]:
    raise ClassifierError(f"{name} has no pretrained weights: give its weights file")


def _preprocessing(name: str) -> Preprocessing:
    found = getattr(_function(name), "preprocessing", Preprocessing())
    if not isinstance(found, Preprocessing):
        raise ClassifierError(f"{name}.preprocessing must be a Preprocessing, not {type(found).__name__}")
    return found


def _check_name(name: str) -> None:
    _function(name)


OWN_CODE = Zoo(_check_name, _build, _pretrained, _preprocessing, lambda _: None)
"""A function takes ``num_classes``, and may have an attribute ``preprocessing``."""
