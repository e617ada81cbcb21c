"""What ended a command, in one sentence: Ray wraps errors of its tasks in traces that are as long as a screen."""

import traceback
from collections.abc import Callable

from jobs.console.log import log_as, say
from jobs.errors import SettingsError, StoppedError, SurroundingsError, TooManyFailedError, WriteError
from jobs.run.signals import stopping_by_signals
from jobs.storage.redaction import redacted

_LONGEST = 500
_AGAIN = "the same command goes on where it stopped"
# Ray's errors by name, so that commands that never start it need not import it.
_MEANINGS = {
    "OutOfDiskError": "a node's disk is full, so that Ray cannot move data out of its object store: free some space",
    "OutOfMemoryError": "a node's memory is full: give fewer slots, or nodes with more memory",
    "NodeDiedError": "a node was lost and its work could not be given to another",
    "ActorDiedError": "a network worker died and could not be started again",
    "WorkerCrashedError": "a worker process died again and again at the same work",
    "ObjectLostError": "data on a lost node could not be made again",
}


def sentence(error: BaseException) -> str:
    """Say in one line, without credentials, what ended a run.

    Parameters
    ----------
    error : BaseException
        As it came out of the job, wrapped by Ray or not.

    Examples
    --------
    >>> sentence(WriteError("cannot write out/part.parquet: No space left on device"))
    'cannot write out/part.parquet: No space left on device; the same command goes on where it stopped'
    """
    cause = error
    while "RayTaskError" in _kinds(cause) and isinstance(inner := getattr(cause, "cause", None), BaseException):
        cause = inner
    if isinstance(cause, StoppedError):
        return f"{cause.who}; {_AGAIN}"
    if isinstance(cause, WriteError | SurroundingsError):
        return f"{_one_line(str(cause))}; {_AGAIN}"
    meaning = next((_MEANINGS[kind] for kind in _kinds(cause) if kind in _MEANINGS), None)
    if meaning is not None:
        return f"{meaning}; {_AGAIN} ({type(cause).__name__}: {_one_line(str(cause))})"
    if "ExecutionTimeoutError" in _kinds(cause):
        return "nothing has happened for too long: the cluster has too few free slots, or has lost its nodes; " + _AGAIN
    return plainly(cause)


def plainly(error: BaseException) -> str:
    """Say in one line, without credentials, what an error is."""
    if isinstance(error, StoppedError):
        return error.who
    return f"{type(error).__name__}: {_one_line(str(error))}"


DONE, FAILED, NOT_STARTED, TOO_MANY_FAILED = range(4)
"""Exit codes of every command; a signal's are 128 and its number."""

Work = Callable[[], None]


def exit_code(
    prepare: Callable[[], Work | None], failure: str, explain: Callable[[BaseException], str] = plainly
) -> int:
    """Run a command; print what ended it early as one sentence on standard error. The one place that decides its code.

    Parameters
    ----------
    prepare : callable
        The first part of the command, which changes nothing: whatever goes wrong in it, the command could not start.
        Returns the rest of it, or None where nothing is left to do.
    failure : str
        What is to be said before the reason where the rest fails: "the run is incomplete".
    explain : callable
        Says what an error means.

    Returns
    -------
    int
        0, it is done; 1, it failed; 2, it could not start as asked, and has changed nothing; 3, it is done but too
        many images failed; 130 and 143, it was interrupted or terminated.
    """
    show_tracebacks(False)
    log_as("text")
    code, beginning = NOT_STARTED, ""
    caught: BaseException
    with stopping_by_signals():
        try:
            work = prepare()
            if work is not None:
                code, beginning = FAILED, f"{failure}: "
                work()
            return DONE
        except SettingsError as error:
            # Also one who has been quicker, or what is found wrong when another driver has gone.
            caught, code, said = error, NOT_STARTED, str(error)
        except TooManyFailedError as error:
            caught, code, said = error, TOO_MANY_FAILED, str(error)
        except StoppedError as error:
            caught, code, said = error, 128 + error.number, f"{beginning}{explain(error)}"
        except Exception as error:  # the last word of a failed command: one sentence, and an exit code that says so
            caught, said = error, "; ".join([f"{beginning}{explain(error)}", *getattr(error, "__notes__", ())])
    if _traceback_shown:
        say("traceback", redacted("".join(traceback.format_exception(caught))), level="error")
    say("error", f"error: {said}", level="error", exit_code=code)
    return code


_traceback_shown: list[bool] = []


def show_tracebacks(shown: bool) -> None:
    """Have `exit_code` print the traceback of what ended a command, or not; it begins with not."""
    _traceback_shown[:] = [True] if shown else []


def _kinds(error: BaseException) -> list[str]:
    """Return the names of those of an error's classes that are Ray's, the most special first."""
    return [kind.__name__ for kind in type(error).__mro__ if kind.__module__.partition(".")[0] == "ray"]


def _one_line(text: str) -> str:
    # Ray Data adds advice on its own retries below the message of an exception.
    text = text.partition("\nFailed to apply ")[0]
    return redacted(" ".join(text.split()))[:_LONGEST].rstrip(".")
