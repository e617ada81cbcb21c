"""A run by one driver that stops in order, whichever job's: the claim, signals, requests to stop, traces of faults."""

import contextlib
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from jobs.errors import (
    ClaimLostError,
    IncompleteRunError,
    SettingsError,
    StoppedError,
    SurroundingsError,
    TooManyFailedError,
    TrainingError,
    WriteError,
)
from jobs.run.claim import Claim
from jobs.run.layout import ERRORS
from jobs.run.signals import stopping_by_signals
from jobs.storage import files as storage

TRACE_SECONDS = 10.0
"""For writing a traceback: where the output is what fails, nobody waits for it."""

# They say all there is to say in their sentence.
_EXPECTED = (
    *(SettingsError, ClaimLostError, IncompleteRunError, TooManyFailedError, TrainingError),
    *(WriteError, SurroundingsError),
)


@contextmanager
def claimed_run(output: str, notify: Callable[[str], None] | None = None) -> Iterator[Claim]:
    """Hold the claim on an output for a ``with`` block in the main thread.

    SIGTERM, SIGINT and a request in the output (`jobs.run.claim.ask_to_stop`) end the block with a StoppedError and
    give the claim back soon, however long the rest of the way out takes. What nobody foresaw leaves its traceback in
    ``_errors/`` of the output, with its place in a note of the error.

    Parameters
    ----------
    output : str
    notify : callable, optional
        Is told, in a sentence, that and why it waits; by default that goes to standard error.

    Raises
    ------
    ClaimedError
        On entry, if another driver works on the output; nothing has been touched then.
    ClaimLostError
        If another driver has taken the output over, or may soon.
    StoppedError
    """
    with Claim(output, notify or _notify, on_end=_interrupt) as claim, stopping_by_signals(claim.stopped):
        try:
            yield claim
        except StoppedError:
            claim.check()  # the heartbeat interrupts whatever the driver waits for
            raise
        except Exception as error:
            if not isinstance(_cause(error), _EXPECTED) and not claim.is_lost:
                _leave_trace(output, error)
            raise


def _interrupt() -> None:
    # A signal, because it ends system calls, too.
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)


def _notify(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def _cause(error: BaseException) -> BaseException:
    """Return what was raised in a task of Ray's."""
    inner = getattr(error, "cause", None)
    return inner if isinstance(inner, BaseException) else error


def _leave_trace(output: str, error: Exception) -> None:
    name = f"{datetime.now(UTC):%Y-%m-%dT%H-%M-%S}.txt"
    uri = storage.join(output, ERRORS, name)
    text = "".join(traceback.format_exception(error))
    with contextlib.suppress(Exception):
        storage.write_bytes(uri, storage.redacted(text).encode("utf-8", "replace"), TRACE_SECONDS)
        error.add_note(f"the traceback is in {storage.redacted(uri)}")
