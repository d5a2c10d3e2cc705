"""The ports: each one that is to be listened on is either ours already, or free, or somebody else's.

Looking binds for a moment and closes again, without listening: no client can get in between.
"""

import errno
import socket
from collections.abc import Mapping
from typing import Literal

import msgspec

from collector.doctor.finding import Finding, ok, problem
from collector.supervise.sockets import find_listener

SETTINGS = {"relay": "relay.listen", "web": "web.listen", "record": "record.listen"}
State = Literal["ours", "free", "taken", "forbidden", "no_address", "unknown_name"]


class PortFact(msgspec.Struct, frozen=True):
    kind: str
    address: str
    state: State
    holder: str = ""  # `name (pid N)`, where the system tells


def gather(wanted: Mapping[str, str], ours: Mapping[str, str], our_pids: set[int]) -> list[PortFact]:
    """`wanted`: kind to configured address; `ours`: kind to the address that it listens on now."""
    return [
        PortFact(kind, ours[kind], "ours") if kind in ours else look(kind, address, our_pids)
        for kind, address in wanted.items()
        if kind in ours or not address.endswith(":0")  # 0 takes any that is free
    ]


def look(kind: str, address: str, our_pids: set[int]) -> PortFact:
    host, _, port = address.rpartition(":")
    try:
        found = socket.getaddrinfo(
            host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError:
        return PortFact(kind, address, "unknown_name")
    family, sort, protocol, _, where = found[0]
    try:
        with socket.socket(family, sort, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(where)
            return PortFact(kind, address, "free")
    except OSError as failure:
        if failure.errno == errno.EADDRINUSE:
            holder = find_listener(int(port))
            mine = any(f"(pid {pid})" in holder for pid in our_pids)
            return PortFact(kind, address, "ours" if mine else "taken", holder)
        return PortFact(kind, address, "forbidden" if failure.errno == errno.EACCES else "no_address")


def judge(facts: list[PortFact]) -> list[Finding]:
    return [_judge(fact) for fact in facts]


def _judge(fact: PortFact) -> Finding:
    setting, address = SETTINGS[fact.kind], fact.address
    host = address.rpartition(":")[0]
    variable = "SIZEWISE_" + setting.replace(".", "__").upper()
    values = {"address": address, "holder": fact.holder}
    if fact.state == "ours":
        return ok("ports.ours", f"{address} is listened on by Sizewise", setting, **values)
    if fact.state == "free":
        return ok("ports.free", f"{address} is free", setting, **values)
    why = f"The {fact.kind} process can't start there."
    choose = f"choose another with `{setting}` in sizewise.yaml or {variable}="
    if fact.state == "taken":
        holder = fact.holder or "another process (of another user, it seems: ask as root)"
        remedy = f"stop that, or {choose}{host}:PORT"
        return problem("ports.taken", f"{address} is taken by {holder}", why, remedy, setting, **values)
    if fact.state == "forbidden":
        found = f"this user may not listen on {address}: ports below 1024 need more rights"
        return problem("ports.forbidden", found, why, f"{choose}{host}:4000", setting, **values)
    found = f"this machine has no address {host}"
    return problem("ports.no_address", found, why, f"{choose}127.0.0.1:PORT", setting, **values)
