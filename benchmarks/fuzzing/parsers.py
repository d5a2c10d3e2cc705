"""Feeds the parsers: bytes that begin valid and are damaged, whole and in pieces.

Invariants: a parser raises nothing but its own refusal; what it reads doesn't depend on how the bytes were
cut; what it accepts can't hide a line end; what it hides is nothing but whole events.
"""

import json
import random
from collections.abc import Callable
from contextlib import suppress

from benchmarks.fuzzing import Violation
from benchmarks.fuzzing.dialogues import PATHS, Asked, answer, ask, frame_chunks, make_events
from benchmarks.fuzzing.mutations import cut, mutate
from collector.apis.endpoints import Endpoint, find_endpoint, read_whole
from collector.apis.request import read_request, read_request_prefix, splice_usage
from collector.call import Call, Usage
from collector.journal.record import BadFrame, Frames, decode, encode_call, find_frame
from collector.relay.chunked import BadChunk, ChunkedBody
from collector.relay.reply_head import BadReply, ReplyHead, read_reply_head
from collector.relay.request_head import HeadRefused, parse_request_head
from collector.relay.tap import make_tap

_MORE_PATHS = (
    b"/v1beta/models/m:generateContent", b"/v1beta/models/m:streamGenerateContent", b"/model/m/invoke",
    b"/model/m/converse-stream", b"/model/m/invoke-with-response-stream", b"/v2/chat", b"/api/chat",
    b"/generate_stream",
    b"/v1/audio/transcriptions", b"/v1/audio/speech", b"/v1/images/generations", b"/v1/rerank",
)  # fmt: skip
_CODINGS = (b"gzip", b"deflate", b"br", b"zstd", b"x")
_ENCODINGS = (b"", b"", *(b"\r\nContent-Encoding: " + name for name in _CODINGS))
_STREAM_TYPES = (b"json", b"x-ndjson", b"vnd.amazon.eventstream")
_TYPES = (b"", b"", *(b"\r\nContent-Type: application/" + name for name in _STREAM_TYPES))
ENDPOINTS = [found for path in (*PATHS.values(), *_MORE_PATHS) if (found := find_endpoint(b"POST", path))]


def feed(seed: str) -> int:
    """One input to one parser."""
    feed_with(random.Random(seed))
    return 1


def feed_with(rng: random.Random) -> None:
    rng.choice(PARSERS)(rng)


def feed_chunked(rng: random.Random) -> None:
    raw = frame_chunks(rng, rng.randbytes(rng.randrange(80)))
    raw = mutate(rng, raw + rng.choice((b"", b"GET / HTTP/1.1\r\n"))) if rng.random() < 0.8 else raw
    whole, pieces = _unchunk([raw]), _unchunk(cut(rng, raw))
    if whole != pieces:
        raise Violation(f"{raw!r} is {whole} in one piece and {pieces} in several")


def _unchunk(cuts: list[bytes]) -> tuple[str, bytes, int]:
    """How it ended, the body, and how many bytes belong to the message."""
    body, pieces, used = ChunkedBody(), list[bytes](), 0
    for piece in cuts:
        try:
            used += body.feed(piece, pieces)
        except BadChunk:
            return "bad", b"", 0
        if body.done:
            return "done", b"".join(pieces), used
    return "begun", b"".join(pieces), used


def feed_request_head(rng: random.Random) -> None:
    raw = ask(rng, last=True).raw
    raw = _head(mutate(rng, raw))
    with suppress(HeadRefused):
        head = parse_request_head(raw)
        for name, line in head.header_lines:
            if line.count(b"\n") != 1 or line.count(b"\r") != 1 or b"\0" in line or not name:
                raise Violation(f"the header {line!r} of {raw!r} is passed on")
        if not head.path.startswith(b"/") or any(
            byte <= 32 or byte >= 127 for byte in head.path + head.query
        ):
            raise Violation(f"the target {head.path + head.query!r} is passed on")
        if head.chunked and head.content_length is not None:
            raise Violation(f"{raw!r} has two lengths")


def feed_reply_head(rng: random.Random) -> None:
    raw = _head(mutate(rng, answer(rng, ask(rng, last=False), b"{}")[0]))
    with suppress(BadReply):
        head = read_reply_head(raw, to_head_request=rng.random() < 0.1)
        kept = head.kept_lines()
        if kept.count(b"\n") != kept.count(b"\r\n") or b"\0" in kept or b"\r\n\r\n" in kept:
            raise Violation(f"{raw!r} is passed on as {kept!r}")


def _head(raw: bytes) -> bytes:
    """Up to the first empty line, as the relay cuts it."""
    return raw.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"


def feed_stream(rng: random.Random) -> None:
    """What a reader tells and hides, whole and cut."""
    endpoint = rng.choice(ENDPOINTS)
    raw = b"".join(make_events(_asked(rng), asks=True))
    if rng.random() < 0.2:
        raw = raw.replace(b"\n", b"\r\n")
    damaged = rng.random() < 0.8
    raw = mutate(rng, raw) if damaged else raw
    hides = rng.random() < 0.5
    whole, pieces = _read_stream(endpoint, [raw], hides), _read_stream(endpoint, cut(rng, raw), hides)
    if not damaged and whole != pieces:
        raise Violation(f"{raw!r} is {whole} in one piece and {pieces} in several")
    for _, shown in (whole, pieces):
        if (not hides and shown != raw) or len(shown) > len(raw):
            raise Violation(f"{raw!r} became {shown!r}")


def _read_stream(endpoint: Endpoint, cuts: list[bytes], hides: bool) -> tuple[object, bytes]:
    reader, shown = endpoint.reader(), b""
    for piece in cuts:
        if hides:
            shown += reader.hide(piece)
        else:
            reader.feed(piece)
            shown += piece
    if hides:
        shown += reader.flush()
    return reader.finish().usage, shown


def feed_tap(rng: random.Random) -> None:
    """A reply's head decides who reads its body: whatever it is, nobody raises."""
    asked = _asked(rng)
    asked.streams = rng.random() < 0.5
    raw = mutate(rng, answer(rng, asked, asked.body)[0])
    begin, _, body = raw.partition(b"\r\n\r\n")
    encoding = rng.choice(
        (b"", b"\r\nContent-Encoding: " + rng.choice((b"gzip", b"deflate", b"br", b"zstd", b"x")))
    )
    kind = rng.choice((b"", b"\r\nContent-Type: application/x-ndjson", b"\r\nContent-Type: application/json",
                       b"\r\nContent-Type: application/vnd.amazon.eventstream"))  # fmt: skip
    try:
        head: ReplyHead = read_reply_head(begin + encoding + kind + b"\r\n\r\n", to_head_request=False)
    except BadReply:
        return
    tap = make_tap(rng.choice(ENDPOINTS), head, 4096)
    for piece in cut(rng, body):
        tap.feed(piece)
    tap.finish()


def feed_whole(rng: random.Random) -> None:
    asked = _asked(rng)
    asked.streams = False
    body = mutate(rng, answer(rng, asked, b"")[0].partition(b"\r\n\r\n")[2])
    read_whole(rng.choice(ENDPOINTS), body, rng.choice((200, 200, 400, 500)))


def feed_request(rng: random.Random) -> None:
    body = ask(rng, last=False).body
    body = mutate(rng, body) if rng.random() < 0.8 else body
    endpoint = rng.choice(ENDPOINTS)
    endpoint.read_request(body)
    endpoint.read_prefix(body[: rng.randrange(len(body) + 1)])
    read_request_prefix(body)
    facts = read_request(body)
    spliced = splice_usage(body, facts)
    if spliced is not None:
        _check_spliced(body, spliced)


def _check_spliced(body: bytes, spliced: bytes) -> None:
    try:
        sent = json.loads(body)
    except (ValueError, RecursionError):
        return
    got = json.loads(spliced)
    if got.get("stream_options", {}).get("include_usage") is not True:
        raise Violation(f"{spliced!r} asks for no usage")
    for one in (sent, got):
        one.pop("stream_options", None)
    if repr(sent) != repr(got):  # repr: a NaN is not equal to itself
        raise Violation(f"{body!r} became {spliced!r}")


def feed_frames(rng: random.Random) -> None:
    calls = [Call(call_id=rng.randbytes(16), started_at_ns=1, model="m", usage=Usage(1, 2)) for _ in range(3)]
    raw = b"".join(map(encode_call, calls))
    damaged = mutate(rng, raw)
    frames = Frames(damaged)
    for offset, payload in frames:
        if damaged[offset + 8 : offset + 8 + len(payload)] != payload:
            raise Violation(f"a frame of {damaged!r} isn't where it should be")
        with suppress(BadFrame):
            decode(payload)
    start = find_frame(damaged, rng.randrange(len(damaged) + 1))
    if start is not None and not any(True for _ in Frames(damaged, start)):
        raise Violation(f"no frame begins at {start} in {damaged!r}")
    with suppress(BadFrame):
        decode(mutate(rng, raw[8:60]))


def _asked(rng: random.Random) -> Asked:
    asked = ask(rng, last=False)
    asked.kind = rng.choice(("chat", "messages", "responses", "text"))
    return asked


PARSERS: tuple[Callable[[random.Random], None], ...] = (
    feed_chunked, feed_request_head, feed_reply_head, feed_stream, feed_tap, feed_whole, feed_request,
    feed_frames,
)  # fmt: skip
