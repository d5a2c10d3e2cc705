"""The plan: what a relay worker needs of the configuration, already checked, as plain msgspec values.

`config.py` makes it, the supervisor writes it as JSON to a 0600 file, the worker reads it. So the
relay's process needs neither pydantic nor YAML.
"""

from pathlib import Path

import msgspec


class UpstreamPlan(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    host: str
    port: int
    tls: bool = False
    base_path: str = ""  # the path of the configured URL without its last slash: "" or "/api"
    host_header: str = ""  # as it goes into Host: (host, with the port unless it is the scheme's own)
    api: str = "openai"
    provider: str = ""
    zone: str = ""
    ca_file: str = ""
    cert: str = ""  # shown to the upstream
    cert_key: str = ""  # "": the certificate's file holds it
    files_version: str = ""  # changes with what these files hold, so that a renewed one makes another plan
    headers: dict[str, str] = {}  # injected into every request (upstream keys); replaces the client's own
    asks_usage: bool = True  # may stream_options.include_usage be spliced in
    drain_s: float = 0.0  # how long to go on reading after the client left


class RoutePlan(msgspec.Struct, frozen=True, kw_only=True):
    """First match wins; an absent pattern matches everything. Patterns are fnmatch globs."""

    to: str
    name: str = ""  # what calls of this route are counted under; defaults to the pattern
    model: str = ""
    path: str = ""
    team: str = ""
    project: str = ""
    environment: str = ""


class TlsPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What the relay shows its clients, and, with `client_ca`, whose certificates they must show."""

    cert: str
    key: str
    client_ca: str = ""
    files_version: str = ""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    head_bytes: int = 64 * 1024
    body_bytes: int = 512 * 1024 * 1024
    sniff_bytes: int = 16 * 1024 * 1024  # how much of a request body is searched for its model
    head_timeout_s: float = 30.0
    idle_timeout_s: float = 600.0
    keepalive_timeout_s: float = 75.0
    total_timeout_s: float = 3600.0
    connect_timeout_s: float = 10.0
    pool_per_upstream: int = 512
    connections_per_worker: int = 16_384
    read_reply_bytes: int = 8 * 1024 * 1024  # a whole reply up to this size is read for its usage
    buffer_bytes: int = 256 * 1024  # high-water mark towards either side
    shutdown_grace_s: float = 30.0
    tunnel_idle_timeout_s: float = 3600.0  # a WebSocket on which nothing passes, pings included


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What one relay worker does. The listening socket and the worker's number come beside it."""

    journal_dir: str
    upstreams: list[UpstreamPlan]
    routes: list[RoutePlan]
    limits: Limits = Limits()
    tls: TlsPlan | None = None
    tenant: str = "default"
    environment: str = ""
    hash_secret: str = ""  # hex; keys and idempotency keys are kept only as hashes keyed by it
    require_keys: bool = False
    policy_file: str = ""
    segment_bytes: int = 16 * 1024 * 1024
    fsync_ms: int = 100
    open_slots: int = 4096


def write_plan(plan: Plan, path: Path) -> None:
    """Atomically, readable by its owner alone: it may hold upstream keys."""
    temporary = path.with_suffix(".new")
    temporary.touch(mode=0o600)
    temporary.write_bytes(msgspec.json.encode(plan))
    temporary.replace(path)


def read_plan(path: Path) -> Plan:
    return msgspec.json.decode(path.read_bytes(), type=Plan)
