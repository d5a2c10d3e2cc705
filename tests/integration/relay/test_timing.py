"""What the relay says it took itself: its own work, and never a wait for somebody else."""

import time
from typing import Any

WAIT_S = 0.4


def test_waiting_for_the_upstream_to_close_is_not_the_relays_work(
    relay: Any, upstream: Any, say: Any
) -> None:
    """A reply that ends with its connection: the wait for that end is the upstream's time."""
    client = relay.connect().send(say.request())
    server = upstream.accept()
    server.take()
    server.send(b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{"choices":[]}')
    client.read_until(b"[]}")
    time.sleep(WAIT_S)
    server.close()
    (call,) = relay.wait_for_calls(1)
    assert call.duration_us >= WAIT_S * 1e6
    assert call.relay_us is not None
    assert call.relay_us < WAIT_S * 1e6 / 2
