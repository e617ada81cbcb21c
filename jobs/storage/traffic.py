"""What this process has read, written and tried again since it began: sums for the log of the work."""

import threading
from collections import Counter

_sums: Counter[str] = Counter()
_lock = threading.Lock()


def count(name: str, value: int = 1) -> None:
    """Add to one of the sums: bytes_read, bytes_written, retries."""
    with _lock:
        _sums[name] += value


def counted() -> Counter[str]:
    """Return the sums."""
    with _lock:
        return _sums.copy()
