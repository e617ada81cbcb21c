import socket

import pytest

from tests.support import ports
from tests.support.ports import FIRST, LAST, free_ports


def test_free_ports_are_different_free_and_below_those_of_connections() -> None:
    found = free_ports(30)
    assert len(set(found)) == 30
    assert FIRST <= min(found) <= max(found) < LAST
    for port in found:
        with socket.socket() as one:
            one.bind(("127.0.0.1", port))


def test_a_port_that_is_taken_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = free_ports(1)[0]
    monkeypatch.setattr(ports, "FIRST", taken)
    monkeypatch.setattr(ports, "LAST", taken + 1)
    assert free_ports(1) == [taken]
    with socket.create_server(("127.0.0.1", taken)), pytest.raises(OSError, match="not 1 free ports"):
        free_ports(1)
