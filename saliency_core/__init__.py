"""Clamped-erasure saliency: arrays in, arrays out.

`saliency` is the one call from an image to its maps; `load_classifier` makes the network that it asks, `place` brings
it to a GPU or makes it fast on a CPU. The modules hold the steps: `erasure`, `superpixels`, `low_level`, `refinement`,
`scores`, and the other methods in `methods`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from saliency_core._saliency import SaliencyResult, saliency
    from saliency_core.networks.classifier import Classifier, load_classifier
    from saliency_core.networks.placement import place
    from saliency_core.parameters import SaliencyParameters

__all__ = ["Classifier", "SaliencyParameters", "SaliencyResult", "load_classifier", "place", "saliency"]

_MODULES = {
    "Classifier": "networks.classifier",
    "SaliencyParameters": "parameters",
    "SaliencyResult": "_saliency",
    "load_classifier": "networks.classifier",
    "place": "networks.placement",
    "saliency": "_saliency",
}


def __getattr__(name: str) -> Any:
    # On demand: who only decodes images shall not wait for torch, nor hold its memory.
    if name in _MODULES:
        return getattr(import_module(f"saliency_core.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
