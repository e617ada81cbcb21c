"""The names of torchvision's classification networks, without importing it: that takes seconds."""

import difflib
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from saliency_core.errors import ClassifierError

_REGISTERED = re.compile(r"^@register_model\(\)\n(?:@.*\n)*def (\w+)\(", re.MULTILINE)


@cache
def available_networks() -> tuple[str, ...]:
    """Return the names of torchvision's classification networks, sorted.

    They are read in the files that register them.

    Examples
    --------
    >>> {"vgg16", "squeezenet1_1", "resnet50", "convnext_tiny"} <= set(available_networks())
    True
    """
    spec = find_spec("torchvision")
    if spec is None or not spec.submodule_search_locations:
        return ()
    files = Path(spec.submodule_search_locations[0], "models").glob("*.py")
    return tuple(sorted(name for file in files for name in _REGISTERED.findall(file.read_text("utf-8"))))


def check_torchvision_name(name: str) -> None:
    """Raise ClassifierError, with the nearest names, unless `name` is a classification network of torchvision."""
    names = available_networks()
    if name not in names:
        nearest = difflib.get_close_matches(name, names, n=3)
        hint = f"did you mean {' or '.join(nearest)}?" if nearest else "see torchvision's model list"
        raise ClassifierError(f"there is no classification network named {name!r}: {hint}")
