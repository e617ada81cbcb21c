"""SIGTERM, with which clusters stop a program, and SIGINT: a command ends in order, with a sentence and its code."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from jobs.errors import StoppedError

_stopping: list[int] = []
"""The signal that is being followed."""


@contextmanager
def stopping_by_signals(also: Callable[[], str | None] = lambda: None) -> Iterator[None]:
    """Have SIGTERM and SIGINT raise a StoppedError in a ``with`` block.

    `also` is called before, in the handler, and may say who asked for it.

    Blocks may lie within each other. Once a signal has come, a second SIGTERM does nothing until the outermost block
    has ended, and a second SIGINT ends the process at once.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, _: FrameType | None) -> None:
        who = also()
        if not _stopping:
            _stopping.append(number)
            raise StoppedError(number, who)
        if number == signal.SIGINT:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    before: dict[int, Any] = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    is_outermost = getattr(before[signal.SIGTERM], "__qualname__", "") != stop.__qualname__
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if is_outermost:
            _stopping.clear()
