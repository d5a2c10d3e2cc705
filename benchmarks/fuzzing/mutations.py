"""Cuts and damages: bytes and the dice enter, bytes leave."""

import random

TOKENS = (
    b"\r\n", b"\n", b"\r", b"\x00", b"\r\n\r\n", b"\n\n", b" ", b":", b"0\r\n\r\n", b"5\r\nhello\r\n",
    b"ffffffffffffffff", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n", b"Expect: 100-continue\r\n", b"Host: elsewhere\r\n", b"HTTP/1.0",
    b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200 OK\r\n", b"GET / HTTP/1.1\r\n", b"data: ",
    b"data: [DONE]\n\n", b'"usage":{"prompt_tokens":1}', b'"', b"\\", b"{", b"}", b"[", b"]", b"\xff",
    b"\xc3", b"\\ud800", b"1e999", b"-1", b"99999999999999999999", b"null", b'"stream":true',
    b"event: error\n", b"\xef\xbb\xbf",
)  # fmt: skip


def mutate(rng: random.Random, data: bytes) -> bytes:
    """Damaged in one to four places."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(changed) + 1)
        kind = rng.randrange(8)
        if kind == 0 and at < len(changed):
            changed[at] = rng.randrange(256)
        elif kind == 1:
            del changed[at : at + rng.randint(1, 20)]
        elif kind == 2:
            changed[at:at] = changed[at : at + rng.randint(1, 60)]
        elif kind <= 5:
            changed[at:at] = rng.choice(TOKENS)
        elif kind == 6 and rng.random() < 0.3:
            del changed[at:]
        elif at < len(changed):
            changed[at] ^= 1 << rng.randrange(8)
    return bytes(changed)


def cut(rng: random.Random, data: bytes) -> list[bytes]:
    """The same bytes in pieces: one, a few, or very many."""
    kind = rng.random()
    if kind < 0.35 or len(data) < 2:
        return [data] if data else []
    if kind < 0.4 and len(data) < 600:
        return [data[at : at + 1] for at in range(len(data))]
    places = sorted(rng.randrange(1, len(data)) for _ in range(rng.randint(1, 6)))
    pieces = [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]
    return [piece for piece in pieces if piece]
