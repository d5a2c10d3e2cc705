"""Around every request: who may ask by which name, and what a browser may do with the answer.

A page anywhere on the web can point a name of its own at 127.0.0.1 and read what answers there (DNS
rebinding). The browser then sends that page's name as Host: so only names that are ours are answered.
"""

import ipaddress
import json
import re
from collections.abc import Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from collector.errors import ConfigError

HOST = re.compile(rb"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?\Z")
HEADERS = [
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'self'; img-src 'self'; "
        b"form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
]


class Guard:
    def __init__(self, app: ASGIApp, names: Iterable[str] = ()) -> None:
        self.app = app
        self.names = frozenset(name.lower() for name in names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1 or not self.knows(hosts[0]):
            await refuse(send)
            return
        if scope["method"] == "HEAD":  # the server sends no body for it; every page answers it as GET
            scope = {**scope, "method": "GET"}

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(one for one in HEADERS if one[0] not in present)]
                if b"cache-control" not in present:
                    message["headers"].append((b"cache-control", b"no-store"))
            await send(message)

        await self.app(scope, receive, guarded)

    def knows(self, host: bytes) -> bool:
        match = HOST.match(host)
        if not match:
            return False
        name = match[1].decode("ascii").strip("[]").rstrip(".").lower()
        return name in self.names or is_loopback(name)


def is_loopback(name: str) -> bool:
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def check_listen(listen: str) -> str:
    """The host of `web.listen`. Until people can sign in, the pages stay on this machine."""
    host = listen.rpartition(":")[0].strip("[]")
    if not is_loopback(host.lower()):
        raise ConfigError(
            f"web.listen: {listen!r} would show the spend to the network, and there is no sign-in yet; "
            "allowed are 127.0.0.1:PORT, [::1]:PORT and localhost:PORT (reach it from elsewhere through "
            "`ssh -L 4001:127.0.0.1:4001 HOST`)"
        )
    return host


async def refuse(send: Send) -> None:
    body = json.dumps(
        {
            "error": {
                "code": "unknown_host",
                "message": "this name is not one of this server's: call it by 127.0.0.1 or localhost",
                "allowed": ["localhost", "127.0.0.1", "[::1]"],
            }
        }
    ).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 421, "headers": headers})
    await send({"type": "http.response.body", "body": body})
