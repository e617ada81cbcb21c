"""What ends a command: every error that is raised on purpose, with a message that is one sentence for a person."""


class SettingsError(ValueError):
    """The job cannot start as asked; the message is one sentence that says what to do."""


class ClaimedError(SettingsError):
    """Another driver works on the output."""


class ClaimLostError(RuntimeError):
    """Another driver has taken the output over; this one must stop."""


class IncompleteRunError(RuntimeError):
    """Rows are missing from the results."""


class TrainingError(RuntimeError):
    """Training cannot reach an end; the message says why."""


class WriteError(OSError):
    """A file cannot be written, after all attempts; the message is one sentence without credentials."""
