"""Trying again: what is worth a second attempt, after which pause, and when to stop.

There are two layers, and no third. Below, botocore repeats single requests that a server throttled, failed (500, 502,
503, 504) or dropped. Above, `persistently` repeats a whole file for what no request can see: a body that was cut short,
a server that was silent for too long, stores that botocore does not serve. Retries of s3fs, between the two, are off:
they would multiply both.
"""

import errno
import random
import time
from collections.abc import Callable
from typing import Any, TypeVar

import botocore.exceptions

from jobs.errors import StorageError
from jobs.storage import traffic

Result = TypeVar("Result")

ATTEMPTS = 4
"""Times that one file is tried."""
FIRST_PAUSE = 0.5
"""Seconds before the second attempt at most; doubled for each further one."""
LONGEST_PAUSE = 15.0
"""Seconds between two attempts at most."""
READ_SECONDS = 120.0
"""A file that has not come by then, all attempts together, is a fetch error."""
WRITE_SECONDS = 300.0
"""A file that is not written by then, all attempts together, ends the run. More patience than with a read: that costs
one row, this the run."""

S3_CONFIG: dict[str, Any] = {
    # Exponential backoff with jitter up to 20 s, and a quota that stops retrying where everything fails.
    "retries": {"mode": "standard", "total_max_attempts": 4},
    # A connection is made in milliseconds or not at all.
    "connect_timeout": 10,
    # Silence of the server, not the length of the transfer. A throttled store answers within seconds.
    "read_timeout": 25,
}
"""Settings of botocore's client, for any S3 server."""

_PERMANENT_ERRORS = (
    FileNotFoundError,
    FileExistsError,
    PermissionError,
    IsADirectoryError,
    NotADirectoryError,
    ValueError,
    TypeError,
    ImportError,
    botocore.exceptions.NoCredentialsError,
    botocore.exceptions.PartialCredentialsError,
    botocore.exceptions.ParamValidationError,
    botocore.exceptions.ProfileNotFound,
)
_PYTHONS_OWN = (OSError, ValueError, ImportError, TypeError)
# A full or read-only disk stays so for longer than anybody waits.
_PERMANENT_NUMBERS = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ENAMETOOLONG, errno.EINVAL, errno.ELOOP, errno.ENOSYS, errno.EPERM}
)
# Of the errors that s3fs turns into EINVAL, those that come from a body damaged on its way.
_TRANSIENT_CODES = frozenset(
    {"BadDigest", "IncompleteBody", "XAmzContentSHA256Mismatch", "XMinioContentSHA256Mismatch"}
)


def is_permanent(error: Exception) -> bool:
    """Tell whether trying again cannot help: nothing there, no permission, a full disk, a wrong name.

    Examples
    --------
    >>> is_permanent(FileNotFoundError("a.png")), is_permanent(TimeoutError("no answer"))
    (True, False)
    """
    if isinstance(error, _PERMANENT_ERRORS):
        return True
    response = getattr(error.__cause__, "response", None)
    if isinstance(response, dict) and response.get("Error", {}).get("Code") in _TRANSIENT_CODES:
        return False
    return isinstance(error, OSError) and error.errno in _PERMANENT_NUMBERS


def persistently(action: Callable[[float], Result], seconds: float) -> Result:
    """Call `action` until it succeeds, fails for good, or attempts or time are used up.

    Pauses grow exponentially and are drawn at random below their limit ("full jitter"): thousands of tasks that one
    outage stopped must not come back at the same moment.

    Parameters
    ----------
    action : callable
        Takes the seconds that are left; has to raise within them.
    seconds : float
        For all attempts together.

    Raises
    ------
    OSError, ValueError, ImportError or TypeError
        What `action` raised last; an error of a kind that only its library knows, such as botocore's, as the cause of
        a StorageError: whoever reads from a store need not know which libraries there are.
    """
    deadline = time.monotonic() + seconds
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return action(deadline - time.monotonic())
        except Exception as error:
            pause = random.uniform(0, min(FIRST_PAUSE * 2 ** (attempt - 1), LONGEST_PAUSE))
            if attempt == ATTEMPTS or is_permanent(error) or time.monotonic() + pause >= deadline:
                if isinstance(error, _PYTHONS_OWN):
                    raise
                raise StorageError(f"{type(error).__name__}: {error}") from error
            traffic.count("retries")
            time.sleep(pause)
    raise AssertionError("the last attempt returns or raises")
