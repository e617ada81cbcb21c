"""Asking the driver of a run to stop, from any machine that can write to the run's output."""

import getpass
import socket
import time

from jobs.errors import NotStoppedError
from jobs.run.claim import HEARTBEAT_SECONDS, LEASE_SECONDS, ask_to_stop, read_claim
from jobs.storage import files as storage


def stop_run(uri: str) -> str:
    """Ask the driver that works on a run to stop, and wait until it has given the run back; nobody there is no error.

    Returns
    -------
    str
        What came of it, in a sentence.

    Raises
    ------
    NotStoppedError
        If it has not within a lease and some heartbeats.
    """
    output, shown = storage.absolute(uri), storage.redacted(uri)
    holder = read_claim(output)
    if holder is None or holder.runs is False:
        return f"nobody works on {shown}"
    ask_to_stop(output, holder.token, f"{_user()} on {socket.gethostname()}")
    deadline = time.monotonic() + LEASE_SECONDS + 3 * HEARTBEAT_SECONDS
    while time.monotonic() < deadline:
        found = read_claim(output)
        if found is None or found.token != holder.token or found.runs is False:
            return f"the driver of {shown} has stopped ({holder}): the same command goes on where it stopped"
        time.sleep(1.0)
    raise NotStoppedError(f"the driver has not stopped ({holder}): it may have died, or its storage may be away")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in containers
        return "somebody"
