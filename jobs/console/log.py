"""What commands say while they work: lines for a person, or JSON for whoever collects logs."""

import json
import sys
from datetime import UTC, datetime
from typing import Any, Literal

LogFormat = Literal["text", "json"]

_json_of_run: list[str] = []


def log_as(log_format: LogFormat, run: str = "") -> None:
    """Choose the form of all that follows.

    Parameters
    ----------
    log_format : {"text", "json"}
    run : str
        The run's id, which every line of JSON holds.
    """
    _json_of_run[:] = [run] if log_format == "json" else []


def is_json() -> bool:
    """Whether lines are JSON."""
    return bool(_json_of_run)


def say(event: str, text: str, *, level: str = "info", error: bool = True, **values: Any) -> None:
    """Print a line.

    Parameters
    ----------
    event : str
        What it is about: "plan", "progress", "error".
    text : str
        For a person, without credentials.
    level : str
    error : bool
        On standard error, instead of output, where it is text; JSON all goes to standard error.
    **values
        What a line of JSON holds beside the text.
    """
    if _json_of_run:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = {"time": now, "level": level, "run": _json_of_run[0], "event": event, "message": text, **values}
        print(json.dumps(line, default=str), file=sys.stderr, flush=True)
    else:
        print(text, file=sys.stderr if error else sys.stdout, flush=True)
