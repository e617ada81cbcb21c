"""Memory that a process keeps."""

import platform
import subprocess
import sys

from jobs.pipeline.freed_memory import reuse_freed_memory


def test_freed_memory_is_kept_where_glibc_is() -> None:
    """In a process of its own: the setting is the process's for good."""
    code = """
import resource, sys
import numpy as np
from jobs.pipeline.freed_memory import reuse_freed_memory
if sys.argv[1] == "reuse":
    reuse_freed_memory()
np.ones(2**24)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
np.ones(2**24)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""

    def pages(mode: str) -> int:
        return int(
            subprocess.run([sys.executable, "-c", code, mode], capture_output=True, text=True, check=True).stdout
        )

    if platform.libc_ver()[0] != "glibc":
        reuse_freed_memory()  # does nothing, and does no harm
        return
    assert pages("reuse") < 10 < pages("leave")
