"""Importing torchvision without torch's compiler.

One of its operators takes a function from ``torch._dynamo.utils``, for compiling itself where its own code is missing.
That import takes 1.4 s of processor time, in every process that has a network, and hardly any has a use for it.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

_MODULES = ("torch._dynamo", "torch._dynamo.utils")


class _Later(ModuleType):
    """Stands for a module while others are imported: what they take out of it is looked up when it is called."""

    __path__: list[str] = []  # noqa: RUF012  # makes it a package

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):
            raise AttributeError(name)

        def call(*arguments: Any, **options: Any) -> Any:
            _remove_stand_ins()
            return getattr(import_module(self.__name__), name)(*arguments, **options)

        return call


def _remove_stand_ins() -> None:
    for name in _MODULES:
        if isinstance(sys.modules.get(name), _Later):
            del sys.modules[name]


@contextmanager
def without_dynamo() -> Iterator[None]:
    """Leave torch's compiler unloaded by what is imported in the block; it is loaded when it is first used."""
    if "torch._dynamo" not in sys.modules:
        sys.modules.update({name: _Later(name) for name in _MODULES})
    try:
        yield
    finally:
        _remove_stand_ins()
