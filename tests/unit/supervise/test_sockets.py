import os
import socket

import pytest

from collector.errors import SizewiseError
from collector.supervise.sockets import find_listener, listen, reachable_address, shown_address


def test_port_zero_takes_a_free_one() -> None:
    with listen("127.0.0.1:0", "The relay", "relay.listen") as listener:
        address = shown_address(listener)
        assert address.startswith("127.0.0.1:")
        assert not address.endswith(":0")
        assert listener.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)


def test_a_port_in_use_is_told_with_its_holder_and_a_way_out() -> None:
    with listen("127.0.0.1:0", "The relay", "relay.listen") as listener:
        address = shown_address(listener)
        with pytest.raises(SizewiseError) as refusal:
            listen(address, "The relay", "relay.listen")
    text = str(refusal.value)
    assert text.startswith(f"The relay can't listen on {address}: ")
    assert f"(pid {os.getpid()}) does already" in text
    assert "`relay.listen` in sizewise.yaml or SIZEWISE_RELAY__LISTEN=127.0.0.1:PORT" in text


def test_a_foreign_address_is_told() -> None:
    with pytest.raises(SizewiseError, match=r"this machine has no such address"):
        listen("203.0.113.7:0", "The page", "web.listen")


def test_a_port_without_a_listener_has_no_holder() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        assert find_listener(bound.getsockname()[1]) == ""


@pytest.mark.parametrize(
    ("listening", "reachable"),
    [
        ("0.0.0.0:4000", "127.0.0.1:4000"),
        ("[::]:4000", "[::1]:4000"),
        ("127.0.0.1:4000", "127.0.0.1:4000"),
        ("10.0.0.1:1", "10.0.0.1:1"),
    ],
)
def test_nobody_connects_to_everywhere(listening: str, reachable: str) -> None:
    assert reachable_address(listening) == reachable
