"""Free ports for servers that take a number and cannot take an open socket, such as a Ray head.

A port that the kernel picks lies in the range from which it also gives one to every outgoing connection: by the time
the server starts, another connection may have it. So these lie below that range, and two test processes draw theirs
from different places in it.
"""

import contextlib
import random
import socket
from pathlib import Path

FIRST, LAST = 20000, 32000
_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_ports(count: int, host: str = "127.0.0.1") -> list[int]:
    """Return numbers of ports on which nothing listens, each once.

    Parameters
    ----------
    count : int
    host : str
        Address of this machine at which they are free.

    Raises
    ------
    OSError
        If there are not as many.
    """
    last = min(LAST, _first_ephemeral())
    found: list[int] = []
    with contextlib.ExitStack() as stack:  # all are held until the last is found: none comes twice
        for port in random.SystemRandom().sample(range(FIRST, last), last - FIRST):
            each = stack.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                each.bind((host, port))
                found.append(port)
            if len(found) == count:
                return found
    raise OSError(f"there are not {count} free ports between {FIRST} and {last} at {host}")


def _first_ephemeral() -> int:
    try:
        return int(_EPHEMERAL.read_text().split()[0])
    except (OSError, ValueError):
        return LAST
