"""Is the other end still there: the kernel knows, while the event loop hears nothing when it doesn't read."""

import asyncio
import select

_GONE = getattr(select, "POLLRDHUP", 0)


def is_gone(transport: asyncio.BaseTransport) -> bool:
    """It has closed its side, or the connection is broken."""
    poll = select.poll()
    poll.register(transport.get_extra_info("socket").fileno(), _GONE)
    return bool(poll.poll(0))
