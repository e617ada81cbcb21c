"""timm's classification networks, named ``timm/NAME``; the package is optional."""

import difflib
from typing import TYPE_CHECKING

from torch import nn

from saliency_core.errors import ClassifierError
from saliency_core.networks.preprocessing import Preprocessing
from saliency_core.networks.zoo import Zoo

if TYPE_CHECKING:
    import types

PREFIX = "timm/"


def _timm() -> "types.ModuleType":
    try:
        import timm
    except ImportError as error:
        raise ClassifierError(
            "networks of timm need the package timm: install this one with its extra, "
            "pip install 'clamped-erasure-saliency[timm]'"
        ) from error
    return timm


def _check_name(name: str) -> None:
    timm = _timm()
    own = name.removeprefix(PREFIX)
    if not timm.is_model(own):
        nearest = difflib.get_close_matches(own.partition(".")[0], timm.list_models(), n=3)
        hint = (
            f"did you mean {' or '.join(PREFIX + near for near in nearest)}?" if nearest else "see timm.list_models()"
        )
        raise ClassifierError(f"timm has no network named {own!r}: {hint}")


def _build(name: str, num_classes: int) -> nn.Module:
    network: nn.Module = _timm().create_model(name.removeprefix(PREFIX), pretrained=False, num_classes=num_classes)
    return network


def _pretrained(name: str) -> tuple[nn.Module, str]:
    own = name.removeprefix(PREFIX)
    try:
        network: nn.Module = _timm().create_model(own, pretrained=True)
    except ClassifierError:
        raise
    except Exception as error:  # of the hub's client, of the connection, or of a file without weights
        reason = " ".join(str(error).split())[:300]
        raise ClassifierError(
            f"timm's pretrained weights of {own} could not be loaded ({reason}): check the network connection, "
            "or give a local weights file"
        ) from error
    return network, f"timm {own}"


def _configuration(name: str) -> "object":
    return _timm().get_pretrained_cfg(name.removeprefix(PREFIX))


def _preprocessing(name: str) -> Preprocessing:
    found = _configuration(name)
    if found is None:
        return Preprocessing()
    return Preprocessing(found.input_size[-1], tuple(found.mean), tuple(found.std))  # type: ignore[attr-defined]


def _pretrained_classes(name: str) -> int | None:
    return getattr(_configuration(name), "num_classes", None)


TIMM = Zoo(_check_name, _build, _pretrained, _preprocessing, _pretrained_classes)
