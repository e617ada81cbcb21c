"""How a process of a network worker treats the memory that it frees."""

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Names of glibc's malloc.h."""


def reuse_freed_memory() -> None:
    """Have this process keep the memory that it frees, where the C library is glibc.

    By default glibc gives large blocks back to the system at once, and gets them again page by page: every step of a
    network on a CPU would wait for some ten thousand pages of zeros. It concerns the main thread: the heaps of others
    are given back whenever they are empty.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 2**30)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
