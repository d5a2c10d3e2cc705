"""Listening sockets, which the supervisor owns and its children inherit.

So a worker that dies takes no connection with it: what the kernel queued stays queued until the next worker
accepts it. (With SO_REUSEPORT each worker would have a queue of its own, and lose it.)
"""

import errno
import socket
from contextlib import suppress
from pathlib import Path

from collector.errors import SizewiseError

BACKLOG = 4096


def listen(address: str, what: str, key: str) -> socket.socket:
    """`what` listens and the configuration `key` that says where are for the text of a failure."""
    host, _, port_text = address.rpartition(":")
    port = int(port_text)
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, where = found[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as problem:
        raise SizewiseError(_explain(address, what, key, problem)) from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(where)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError as problem:
        listener.close()
        raise SizewiseError(_explain(address, what, key, problem)) from None
    return listener


def shown_address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def reachable_address(address: str) -> str:
    """An address for a client on this machine: nobody can connect to 0.0.0.0 everywhere."""
    host, _, port = address.rpartition(":")
    return f"{ {'0.0.0.0': '127.0.0.1', '[::]': '[::1]'}.get(host, host) }:{port}"  # noqa: S104


def find_listener(port: int) -> str:
    """Who listens on a port, as `name (pid N)`; empty where the system doesn't tell."""
    inodes = _listening_inodes(port)
    for process in Path("/proc").glob("[0-9]*"):
        if _open_files(process) & inodes:
            with suppress(OSError):
                return f"{(process / 'comm').read_text().strip()} (pid {process.name})"
    return ""


def _open_files(process: Path) -> set[str]:
    """Of another user's process: none, since only root may look. Some are closed while one looks."""
    found = set()
    with suppress(OSError):
        for entry in (process / "fd").iterdir():
            with suppress(OSError):
                found.add(str(entry.readlink()))
    return found


def _listening_inodes(port: int) -> set[str]:
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                found.add(f"socket:[{fields[9]}]")
    return found


def _explain(address: str, what: str, key: str, problem: OSError) -> str:
    host, _, port = address.rpartition(":")
    variable = "SIZEWISE_" + key.replace(".", "__").upper()
    change = f" with `{key}` in sizewise.yaml or {variable}={host}:PORT."
    if problem.errno == errno.EADDRINUSE:
        holder = find_listener(int(port)) or "another process"
        return (
            f"{what} can't listen on {address}: {holder} does already. Stop that, or choose another{change}"
        )
    if problem.errno == errno.EACCES:
        return f"{what} can't listen on {address}: ports below 1024 need more rights. Choose another{change}"
    if problem.errno == errno.EADDRNOTAVAIL:
        return f"{what} can't listen on {address}: this machine has no such address. Choose another{change}"
    return f"{what} can't listen on {address}: {problem.strerror or problem}. Choose another{change}"
