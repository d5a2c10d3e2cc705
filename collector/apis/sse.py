"""A streamed reply, read from the side: pieces of the body enter, cut anywhere; a Reading leaves.

Invariants:
- What an event says doesn't depend on how the stream was cut: each is read whole, once, in order.
  (But raw line ends inside a content, which no JSON has: such an event may pass for two, or for content.)
- `hide` returns every byte it was given, in order, except those of the usage event. Nothing is held but the
  incomplete event at the end, and never more than `max_event_bytes`: a longer event passes unread.
- No bytes make it raise. What can't be read is a `usage_problem`.

Nearly all events of a stream differ in nothing but a few characters of content. So the shape of a decoded
content event is kept: the bytes before its content and those after. An event of that shape is told by two
comparisons and one search, and says nothing new; every other event is decoded.
"""

import re

from collector.apis.lenient import describe_unreadable
from collector.apis.reading import Reading

MAX_EVENT_BYTES = 1 << 20

# What `_take` found in an event.
OTHER, CONTENT_ONLY, USAGE_ONLY = 0, 1, 2

# Two line ends in a row. Atomic, or the halves of one "\r\n" would pass for two.
_BLANK_LINE = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
_LINE_END = re.compile(rb"\r\n|\n|\r")
_NO_SHAPE = b"\0no shape is known yet"
_CHANCES = 8  # how often in a row a shape is learned that then matches nothing


class StreamReader:
    """One streamed reply. Use either `feed` (everything passes) or `hide` (the usage event is held back).

    content_chars is the length of the content as it stands in the JSON where an event was matched (bytes,
    an escape as written), and its characters where it was decoded: an estimate.
    """

    __slots__ = (
        "_chances",
        "_edge",
        "_finished",
        "_line_feed_follows",
        "_line_feed_hidden",
        "_prefix",
        "_problem",
        "_suffix",
        "_tail",
        "_tail_hidden",
        "content_chars",
        "content_events",
        "has_content",
        "reading",
        "terminal",
    )
    # The key of a content that isn't empty, up to its first character.
    content_key = re.compile(rb'"text"\s*:\s*"(?=[^"\\])')
    # How the terminal event begins; `terminal_early`: no more of it is needed to know that it's there.
    terminal_head = re.compile(rb"\s*data: ?\[DONE\]")
    terminal_early = True
    max_event_bytes = MAX_EVENT_BYTES  # a longer event passes unread

    def __init__(self) -> None:
        self.reading = Reading()
        self.terminal = False  # the terminal event was wholly seen
        self.has_content = False  # content was seen
        self.content_events = 0
        self.content_chars = 0
        self._tail = bytearray()  # the incomplete event at the end
        self._tail_hidden = False  # ... was read at the finish, and is the usage event
        self._edge: bytes | None = None  # while an event too long to read passes: its last bytes
        self._line_feed_follows = False  # an event ended in "\r": a "\n" that comes next is its own
        self._line_feed_hidden = False  # ... and goes where that event went
        self._prefix = self._suffix = _NO_SHAPE
        self._chances = _CHANCES
        self._problem = ""
        self._finished = False

    @property
    def mid_event(self) -> bool:
        """The bytes so far end inside an event: what is added must begin with a blank line."""
        return bool(self._tail) or self._edge is not None

    def feed(self, chunk: bytes) -> None:
        """Read a piece of the body; never raises."""
        if not self._tail and chunk.startswith(self._prefix):
            matched = self._match(chunk)
            if matched == len(chunk):
                return
            chunk = chunk[matched:]
        self._split(chunk, None)

    def hide(self, chunk: bytes) -> bytes:
        """Read a piece of the body; what of it (and of what was held) the client may see now."""
        shown: list[bytes] = []
        if not self._tail and chunk.startswith(self._prefix):
            matched = self._match(chunk)
            if matched == len(chunk):
                return chunk
            shown.append(chunk[:matched])
            chunk = chunk[matched:]
        self._split(chunk, shown)
        return b"".join(shown)

    def flush(self) -> bytes:
        """At the end of the body: what was still held, unless that is the usage event."""
        held = bytes(self._tail)
        hidden = self._tail_hidden if self._finished else bool(held) and self._read(held)
        self._tail.clear()
        return b"" if hidden else held

    def finish(self) -> Reading:
        """All that was said. May be called at the terminal event, and again; later bytes aren't read."""
        if self._finished:
            return self.reading
        if self._tail:
            self._tail_hidden = self._read(bytes(self._tail))
        self._finished = True
        reading = self.reading
        reading.content_events, reading.content_chars = self.content_events, self.content_chars
        try:
            self._settle()
        except Exception as problem:
            reading.usage, reading.usage_problem = None, f"the usage can't be read: {problem}"[:80]
        if reading.usage is None and not reading.usage_problem:
            reading.usage_problem = self._problem or "the stream ended without a usage"
        return reading

    def take(self, data: bytes) -> None:
        """Read the JSON of one event that came in another framing than server-sent events; never raises."""
        if not self._finished:
            try:
                self._take(data)
            except Exception as problem:
                self.note_problem(f"an event is {describe_unreadable(problem)}")

    def note_problem(self, problem: str) -> None:
        """Why the usage may be missing; the first reason stays."""
        self._problem = self._problem or problem[:80]

    def _take(self, data: bytes) -> int:
        """Read the JSON of one event; may raise ValueError or RecursionError when it is none."""
        raise NotImplementedError

    def _settle(self) -> None:
        """Put what was gathered of the usage into the reading."""
        raise NotImplementedError

    def _count_content(self, chars: int) -> None:
        self.has_content = True
        self.content_events += 1
        self.content_chars += chars

    def _match(self, chunk: bytes) -> int:
        """How many bytes at the start are whole events of the known shape.

        The content between prefix and suffix ends at its first quote. An escaped quote can't be followed
        by the suffix: that holds a raw line end, which no JSON string may.
        """
        prefix, suffix, position = self._prefix, self._suffix, 0
        while chunk.startswith(prefix, position):
            start = position + len(prefix)
            end = chunk.find(b'"', start)
            if end <= start or not chunk.startswith(suffix, end) or end - position > MAX_EVENT_BYTES:
                break
            self.content_events += 1
            self.content_chars += end - start
            self._chances = _CHANCES
            position = end + len(suffix)
        return position

    def _learn(self, event: bytes) -> None:
        """Keep the shape of an event that said nothing but its content."""
        self._chances -= 1
        found = self.content_key.search(event)
        if found is None or not event.endswith(b"\n\n"):
            return
        end = event.find(b'"', found.end())
        if b"\\" not in event[found.end() : end]:
            self._prefix, self._suffix = event[: found.end()], event[end:]

    def _forget(self) -> None:
        """No shape holds while bytes may belong to half a line end or to an event passed unread."""
        self._prefix = self._suffix = _NO_SHAPE

    def _split(self, chunk: bytes, shown: list[bytes] | None) -> None:
        if self._is_one_event(chunk):
            if not self._read_new(chunk) and shown is not None:
                shown.append(chunk)
            return
        if self._line_feed_follows and chunk:
            self._line_feed_follows = False
            if chunk.startswith(b"\n"):
                if shown is not None and not self._line_feed_hidden:
                    shown.append(b"\n")
                chunk = chunk[1:]
        if self._edge is not None:
            chunk = self._skip(self._edge, chunk, shown)
        tail = self._tail
        searched = max(0, len(tail) - 3)
        tail += chunk
        has_return = b"\r" in tail
        if has_return:
            self._forget()
        begin = 0
        while (end := _event_end(tail, searched, has_return)) > 0:
            event = bytes(tail[begin:end])
            hidden = self._read(event)
            if shown is not None and not hidden:
                shown.append(event)
            self._line_feed_follows = end == len(tail) and event.endswith(b"\r")
            self._line_feed_hidden = hidden
            begin = searched = end
        del tail[:begin]
        self._tail_hidden = False
        if len(tail) > self.max_event_bytes:
            self._release(shown)
        elif tail and self.terminal_early and self.terminal_head.match(tail):
            self.terminal = True

    def _is_one_event(self, chunk: bytes) -> bool:
        """One line and its blank line, as most servers write them: nothing to cut, nothing to keep."""
        return (
            chunk.find(b"\n") == len(chunk) - 2
            and chunk.endswith(b"\n\n")
            and not self._tail
            and self._edge is None
            and not self._line_feed_follows
            and b"\r" not in chunk
        )

    def _read(self, event: bytes) -> bool:
        """Read one whole event. True when it is the usage event that nobody but us asked for."""
        if event.startswith(self._prefix) and self._match(event) == len(event):
            return False
        return self._read_new(event)

    def _read_new(self, event: bytes) -> bool:
        """The same for an event that is not of the known shape."""
        if self._finished:
            return False
        if len(event) > self.max_event_bytes:
            self._pass_unread(event)
            return False
        found = OTHER
        try:
            data = _data_of(event)
            if data == b"[DONE]":
                self.terminal = True
            elif data:
                found = self._take(data)
        except Exception as problem:
            self._problem = f"an event is {describe_unreadable(problem)}"[:80]
        if found == CONTENT_ONLY:
            if self._chances:
                self._learn(event)
        elif self.terminal_early and self.terminal_head.match(event):
            self.terminal = True
        return found == USAGE_ONLY

    def _pass_unread(self, start: bytes | bytearray) -> None:
        self._problem = f"an event of more than {self.max_event_bytes} bytes was not read"
        self._forget()
        if self.terminal_head.match(start):
            self.terminal = True

    def _release(self, shown: list[bytes] | None) -> None:
        """Give up on an event too long to hold: it passes from here on."""
        held = bytes(self._tail)
        self._pass_unread(held)
        self._edge = held[-3:]
        self._tail.clear()
        if shown is not None:
            shown.append(held)

    def _skip(self, edge: bytes, chunk: bytes, shown: list[bytes] | None) -> bytes:
        """Pass what belongs to an event too long to read; the rest of the chunk is returned."""
        data = edge + chunk
        end = _event_end(data, 0, b"\r" in data)
        passed = len(chunk) if end < 0 else end - len(edge)
        if shown is not None:
            shown.append(chunk[:passed])
        self._edge = data[-3:] if end < 0 else None
        self._line_feed_follows = end == len(data) and data.endswith(b"\r")
        self._line_feed_hidden = False
        return chunk[passed:]


def _event_end(data: bytes | bytearray, start: int, has_return: bool) -> int:
    """Where the first event ends, behind its blank line; -1 when it isn't complete."""
    if has_return:
        found = _BLANK_LINE.search(data, start)
        return found.end() if found else -1
    end = data.find(b"\n\n", start)
    return end + 2 if end >= 0 else -1


def _data_of(event: bytes) -> bytes:
    """The data lines of an event, joined; b"" for a comment or an event without data."""
    if event.startswith(b"data: ") and event.find(b"\n") == len(event) - 2 and b"\r" not in event:
        return event[6:].rstrip()
    lines = []
    for line in _LINE_END.split(event.removeprefix(b"\xef\xbb\xbf")):
        if line.startswith(b"data:"):
            lines.append(line[6:] if line[5:6] == b" " else line[5:])
    return b"\n".join(lines).strip()
