import os
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from collector.doctor.finding import Finding
from collector.doctor.ports import PortFact, gather, judge, look


def one(fact: PortFact) -> Finding:
    (found,) = judge([fact])
    return found


def test_a_port_that_somebody_else_has_and_one_that_is_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        found = one(look("relay", address, set()))
        assert (found.code, found.severity) == ("ports.taken", "problem")
        assert f"(pid {os.getpid()})" in found.found
        assert "`relay.listen`" in found.remedy
        assert "SIZEWISE_RELAY__LISTEN=127.0.0.1:PORT" in found.remedy
    # the remedy: once the other has stopped, the port is free
    assert one(look("relay", address, set())).code == "ports.free"


def test_our_own_are_no_problem() -> None:
    with socket.create_server(("127.0.0.1", 0)) as ours:
        address = f"127.0.0.1:{ours.getsockname()[1]}"
        assert one(look("record", address, {os.getpid()})).code == "ports.ours"
    (fact,) = gather({"relay": "127.0.0.1:4000"}, {"relay": "127.0.0.1:4123"}, set())
    assert fact == PortFact("relay", "127.0.0.1:4123", "ours")


def test_any_free_port_is_nothing_to_look_for() -> None:
    assert gather({"web": "127.0.0.1:0"}, {}, set()) == []


def test_an_address_that_this_machine_has_not() -> None:
    found = one(look("web", "192.0.2.1:4001", set()))
    assert (found.code, found.severity) == ("ports.no_address", "problem")
    assert one(look("web", "127.0.0.1:0", set())).code == "ports.free"  # as the remedy says


def test_a_port_for_root_alone(as_nobody: Callable[[], AbstractContextManager[None]]) -> None:
    if int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) < 81:
        pytest.skip("every port is for everybody here")
    with as_nobody():
        found = one(look("relay", "127.0.0.1:80", set()))
    assert found.code == "ports.forbidden"
    assert found.remedy.endswith("SIZEWISE_RELAY__LISTEN=127.0.0.1:4000")
