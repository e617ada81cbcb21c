"""What ends a command: every error that is raised on purpose, with a message that is one sentence for a person."""

import signal


class SettingsError(ValueError):
    """The job cannot start as asked; the message is one sentence that says what to do."""


class ClaimedError(SettingsError):
    """Another driver works on the output."""


class ClaimLostError(RuntimeError):
    """Another driver has taken the output over; this one must stop."""


class IncompleteRunError(RuntimeError):
    """Rows are missing from the results."""


class NotStoppedError(RuntimeError):
    """A driver that was asked to stop has not done so."""


class TrainingError(RuntimeError):
    """Training cannot reach an end; the message says why."""


class StorageError(OSError):
    """What a storage library raised that is none of Python's own errors; these follow from it as its cause."""


class ArchiveError(ValueError):
    """An archive, or a member of it, cannot be read; the message is one sentence."""


class NoBytesError(ArchiveError):
    """A row of a table has no image, or no mask, in it."""


class WriteError(OSError):
    """A file cannot be written, after all attempts; the message is one sentence without credentials.

    Attributes
    ----------
    is_of_surroundings : bool
        Whether no other file could be written from here either.
    """

    is_of_surroundings = False


class SurroundingsError(OSError):
    """A store cannot be used from here, whatever the file; the message is one sentence without credentials."""


class TooManyFailedError(RuntimeError):
    """More images failed than the run may have; the message says how many and why most of them."""


class StoppedError(BaseException):
    """The command is to stop, by a signal or a request; no handler of errors takes it for one.

    Parameters
    ----------
    number : int
        Of the signal, or of the one that a request stands for.
    who : str, optional
        Who asked for it, in a sentence.
    """

    def __init__(self, number: int, who: str | None = None) -> None:
        super().__init__(number, who)
        self.number = number
        self.who = who or f"it was {'interrupted' if number == signal.SIGINT else 'terminated'}"
