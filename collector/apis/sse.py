"""A streamed reply, read from the side: bytes enter as they come, a Reading leaves.

First form: the interface stands, bytes pass, nothing is read yet.
"""

from collector.apis.reading import Reading


class StreamReader:
    """One streamed reply. Use either `feed` (everything passes) or `hide` (the usage event is held back)."""

    __slots__ = ("content_events", "has_content", "mid_event", "reading", "terminal")

    def __init__(self) -> None:
        self.reading = Reading()
        self.terminal = False  # the terminal event was wholly seen
        self.has_content = False  # content was seen
        self.content_events = 0
        self.mid_event = False  # the bytes so far end inside an event

    def feed(self, chunk: bytes) -> None:
        """Read a piece of the body; never raises."""

    def hide(self, chunk: bytes) -> bytes:
        """Read a piece of the body; what of it (and of what was held) the client may see now."""
        return chunk

    def flush(self) -> bytes:
        """At the end of the body: what was still held."""
        return b""

    def finish(self) -> Reading:
        """Everything that was said. May be called at the terminal event, and again; later bytes aren't read."""
        return self.reading
