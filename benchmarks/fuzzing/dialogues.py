"""Valid requests of clients and valid replies to them, each marked by a tag that no other call has.

A tag stands in the request's query and body and in everything its reply says, so that a byte of one call in
another shows.
"""

import gzip
import json
import random
import re
from dataclasses import dataclass, field

FIND_TAG = re.compile(rb"tag_[0-9a-f]{12}_")
HEADERS = (
    b"User-Agent: fuzz\r\n",
    b"Accept: */*\r\n",
    b"X-Sizewise-Team: red\r\n",
    b"Cookie: a=b\r\n",
    b"X-Request-Id: 7\r\n",
)
PATHS = {
    "chat": b"/v1/chat/completions",
    "text": b"/v1/completions",
    "messages": b"/v1/messages",
    "responses": b"/v1/responses",
    "embeddings": b"/v1/embeddings",
    "models": b"/v1/models",
    "other": b"/v1/files",
}
COUNTED = frozenset(PATHS) - {"models", "other"}
BIG = 3000  # over the stage's sniff limit


@dataclass
class Asked:
    """One request of a client and, once it was served, what its reply must come to."""

    tag: bytes
    kind: str
    method: bytes
    body: bytes
    raw: bytes
    tokens: int
    streams: bool = False
    http11: bool = True
    served: list[bytes] = field(default_factory=list)  # bodies of the replies, as the client may see them
    told: bool = False  # the last of them told its id and usage


def ask(rng: random.Random, *, last: bool) -> Asked:
    """`last` on its connection: it may be HTTP/1.0 or end the connection."""
    kind = rng.choice(tuple(PATHS))
    tag, tokens = b"tag_%012x_" % rng.getrandbits(48), rng.randrange(1, 1 << 30)
    streams = kind in ("chat", "text", "messages", "responses") and rng.random() < 0.6
    method = rng.choice((b"GET", b"HEAD")) if kind == "models" else b"POST"
    body = b"" if kind == "models" else make_body(rng, tag, streams)
    http11 = not (last and rng.random() < 0.2)
    lines = [b"Host: here\r\n", *rng.sample(HEADERS, rng.randrange(3))]
    if last and rng.random() < 0.2:
        lines.append(b"Connection: close\r\n")
    sent = body
    if method != b"POST":
        pass
    elif http11 and rng.random() < 0.3:
        lines.append(b"Transfer-Encoding: chunked\r\n")
        sent = frame_chunks(rng, body)
    else:
        lines.append(b"Content-Length: %d\r\n" % len(body))
    if http11 and body and rng.random() < 0.1:
        lines.append(b"Expect: 100-continue\r\n")
    rng.shuffle(lines)
    first = b"%s %s?%s HTTP/1.%d\r\n" % (method, PATHS[kind], tag, http11)
    return Asked(tag, kind, method, body, first + b"".join(lines) + b"\r\n" + sent, tokens, streams, http11)


def make_body(rng: random.Random, tag: bytes, streams: bool) -> bytes:
    filling = "x" * BIG if rng.random() < 0.05 else ""
    body: dict[str, object] = {
        "model": rng.choice(("m", "n")),
        "stream": streams,
        "prompt": tag.decode() + filling,
    }
    if streams and rng.random() < 0.4:
        body["stream_options"] = {"include_usage": rng.random() < 0.7}
    return json.dumps(body).encode()


def frame_chunks(rng: random.Random, body: bytes) -> bytes:
    framed, at = b"", 0
    while at < len(body):
        size = rng.randint(1, max(1, len(body) // 2))
        piece = body[at : at + size]
        framed += b"%x%s\r\n%s\r\n" % (len(piece), rng.choice((b"", b"", b";a=b")), piece)
        at += size
    return framed + b"0\r\n" + rng.choice((b"", b"", b"X-End: 1\r\n")) + b"\r\n"


def answer(rng: random.Random, asked: Asked, body: bytes) -> tuple[bytes, bool]:
    """The upstream's reply to `asked`, which arrived with `body`; True: the connection ends with it."""
    asks = asks_usage(body)
    spliced = asks and not asks_usage(asked.body)
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n" if rng.random() < 0.05 else b""
    asked.told = False
    if asked.streams and b"stream_options" in body and rng.random() < 0.1:
        text = b'{"error":{"message":"stream_options is not known","x":"%s"}}' % asked.tag
        if not spliced:
            asked.served.append(text)
        framed, ends = frame_reply(rng, asked, text, b"application/json", b"400 Bad Request")
        return hints + framed, ends
    if asked.streams:
        events = make_events(asked, asks)
        asked.told = any(b"usage" in event for event in events)
        shown = [event for event in events if not (spliced and b'"choices":[],"usage"' in event)]
        asked.served.append(b"".join(shown))
        framed, ends = frame_reply(rng, asked, b"".join(events), b"text/event-stream", b"200 OK")
        return hints + framed, ends
    if asked.kind == "other" and rng.random() < 0.3:
        asked.served.append(b"")
        return hints + b"HTTP/1.1 204 No Content\r\nx-tag: %s\r\n\r\n" % asked.tag, False
    text = make_whole(asked)
    asked.told = True
    asked.served.append(b"" if asked.method == b"HEAD" else text)
    framed, ends = frame_reply(rng, asked, text, b"application/json", b"200 OK")
    return hints + framed, ends


def asks_usage(body: bytes) -> bool:
    try:
        return json.loads(body)["stream_options"]["include_usage"] is True
    except (ValueError, KeyError, TypeError):
        return False


def make_whole(asked: Asked) -> bytes:
    tag, kind = asked.tag.decode(), asked.kind
    usage = {"prompt_tokens": asked.tokens, "completion_tokens": 2, "total_tokens": asked.tokens + 2}
    if kind in ("messages", "responses"):
        usage = {"input_tokens": asked.tokens, "output_tokens": 2}
    reply = {
        "id": tag,
        "object": "list",
        "model": "m",
        "choices": [],
        "content": [],
        "output": [],
        "usage": usage,
    }
    return json.dumps(reply | {"type": "message", "status": "completed", "data": [{"text": tag}]}).encode()


def make_events(asked: Asked, asks: bool) -> list[bytes]:
    tag, tokens = asked.tag, asked.tokens
    if asked.kind == "messages":
        return [
            b'event: message_start\ndata: {"type":"message_start","message":{"id":"%s","model":"m",'
            b'"usage":{"input_tokens":%d,"output_tokens":1}}}\n\n' % (tag, tokens),
            *[b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
              b'"delta":{"type":"text_delta","text":"%s"}}\n\n' % tag] * 3,
            b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn"},'
            b'"usage":{"output_tokens":2}}\n\n',
            b'event: message_stop\ndata: {"type":"message_stop"}\n\n',
        ]  # fmt: skip
    if asked.kind == "responses":
        said = b'data: {"type":"response.output_text.delta","delta":"%s"}\n\n' % tag
        done = b'data: {"type":"response.completed","response":{"id":"%s","model":"m","status":"completed",'
        usage = b'"usage":{"input_tokens":%d,"output_tokens":2}}}\n\n' % tokens
        said, done = (
            b"event: response.output_text.delta\n" + said,
            b"event: response.completed\n" + done % tag,
        )
        return [said] * 3 + [done + usage]
    begin = b'data: {"id":"%s","object":"chat.completion.chunk","model":"m","choices":[' % tag
    said = b'{"index":0,"delta":{"content":"%s"},"text":"%s","finish_reason":null}]}\n\n' % (tag, tag)
    usage = b'],"usage":{"prompt_tokens":%d,"completion_tokens":2}}\n\n' % tokens
    events = [begin + said] * 3 + [begin + b'{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n']
    return [*events, *([begin + usage] if asks else []), b"data: [DONE]\n\n"]


def frame_reply(
    rng: random.Random, asked: Asked, body: bytes, kind: bytes, status: bytes
) -> tuple[bytes, bool]:
    lines = [b"Content-Type: " + kind + b"\r\n", b"X-Tag: " + asked.tag + b"\r\n"]
    if kind == b"application/json" and not asked.streams and rng.random() < 0.1:
        body = gzip.compress(body, 1, mtime=0)
        lines.append(b"Content-Encoding: gzip\r\n")
        if asked.method != b"HEAD" and asked.served:
            asked.served[-1] = body
    framing, ends = rng.random(), False
    if framing < 0.4:
        lines.append(b"Content-Length: %d\r\n" % len(body))
    elif framing < 0.85:
        lines.append(b"Transfer-Encoding: chunked\r\n")
        body = frame_chunks(rng, body)
    else:
        ends = True
    if not ends and rng.random() < 0.1:
        lines.append(b"Connection: close\r\n")
        ends = True
    rng.shuffle(lines)
    head = b"HTTP/1.1 " + status + b"\r\n" + b"".join(lines) + b"\r\n"
    return head + (b"" if asked.method == b"HEAD" else body), ends


def read_replies(raw: bytes, asked: list[Asked]) -> list[bytes]:
    """The bodies in what a client got, in order; raises ValueError where it can't be read."""
    bodies, at = [], 0
    for one in asked:
        status = 100
        while status < 200:
            end = raw.index(b"\r\n\r\n", at) + 4
            head = raw[at:end].lower()
            status, at = int(head[9:12]), end
        length = re.search(rb"\r\ncontent-length: *(\d+)\r\n", head)
        if one.method == b"HEAD" or status in (204, 304):
            bodies.append(b"")
        elif length:
            bodies.append(raw[at : at + int(length[1])])
            at += int(length[1])
        elif b"\r\ntransfer-encoding: chunked\r\n" in head:
            body = b""
            while True:
                end = raw.index(b"\r\n", at)
                size, at = int(raw[at:end].split(b";")[0], 16), end + 2
                if not size:
                    break
                body, at = body + raw[at : at + size], at + size + 2
            at = raw.index(b"\r\n", at) + 2 if raw[at : at + 2] == b"\r\n" else raw.index(b"\r\n\r\n", at) + 4
            bodies.append(body)
        else:
            bodies.append(raw[at:])
            at = len(raw)
    if at != len(raw):
        raise ValueError(f"{len(raw) - at} bytes too many: {raw[at : at + 80]!r}")
    return bodies
