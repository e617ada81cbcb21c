"""Functions compiled to machine code at their first call, and kept on disk for the next process."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., Any])

# Only what vectorising a comparison needs, and a * b + c in one rounding. Sums are never reordered: results are the
# same whatever the width of a processor's vectors.
_FAST = {"nnan", "ninf", "nsz", "contract"}


def compiled(function: Function) -> Function:
    """Compile a function of numbers and arrays with numba, lazily.

    The machine code is kept beside the source file, or in the user's cache folder where that cannot be written
    (``NUMBA_CACHE_DIR`` names another place): compiling takes seconds, once a machine, not once a process. Where
    there is no place at all, it is compiled in every process.
    """
    try:
        return cast(Function, numba.njit(cache=True, fastmath=_FAST)(function))
    except RuntimeError:  # numba found no folder to keep it in
        return cast(Function, numba.njit(fastmath=_FAST)(function))
