"""A 400 or 422 to a request that we put an option into, held back until it is known whether it is about that.

If it names the option (`stream_options`), the client never sees it: the original request is sent instead.
"""

import re

_MOST_BYTES = 64 * 1024  # a longer refusal is passed on unsearched
_CHUNK_EDGE = re.compile(rb"\r\n[0-9A-Fa-f]{1,15}[^\r\n]*\r\n")  # may stand in the middle of the word


class HeldRefusal:
    __slots__ = ("_held", "names_option")

    def __init__(self) -> None:
        self._held = b""
        self.names_option = False

    def take(self, data: bytes, *, done: bool) -> bytes | None:
        """None: held. Otherwise everything so far, to be passed on; empty when it names the option."""
        self._held += data
        if done and b"stream_options" in _CHUNK_EDGE.sub(b"", self._held):
            self.names_option = True
            return b""
        return self._held if done or len(self._held) > _MOST_BYTES else None
