"""What child processes get of a checked configuration.

`record` and `web` read the whole of it, secrets and actual database URL included, from one 0600 file.
A relay worker reads only the plan, so that its process needs neither pydantic nor YAML.
"""

import hashlib
import json
import os
import secrets
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import SecretStr

from collector.config.certificates import version_of
from collector.config.model import Cap, Config, Route, Tls, Upstream
from collector.config.refuse import KEY_HEADERS, is_loopback
from collector.errors import ConfigError
from collector.plan import Limits, Plan, RoutePlan, TlsPlan, UpstreamPlan
from collector.policy import CapKind, CapRule

KEY_HEADER_OF = {"anthropic": "x-api-key", "gemini": "x-goog-api-key"}  # the others take a bearer token
PROVIDER_BY_HOST = {  # the end of a host's name -> the price list's name for it
    "api.openai.com": "openai",
    "openai.azure.com": "azure",
    "api.anthropic.com": "anthropic",
    "googleapis.com": "google",
    "api.mistral.ai": "mistral",
    "api.groq.com": "groq",
    "api.deepseek.com": "deepseek",
    "api.cohere.com": "cohere",
    "api.together.xyz": "together",
    "api.fireworks.ai": "fireworks",
    "openrouter.ai": "openrouter",
    "api.x.ai": "x-ai",
    "api.perplexity.ai": "perplexity",
    "api.cerebras.ai": "cerebras",
}
HEX_SECRET_BYTES = 32


def write_effective(config: Config, path: Path) -> None:
    """Atomically, readable by its owner alone: it holds every secret in clear."""
    write_private(path, config.model_dump_json(context={"reveal": True}))


def read_effective(path: Path) -> Config:
    return Config.model_validate(json.loads(path.read_bytes()))


def write_private(path: Path, text: str) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    temporary.replace(path)


def with_hash_secret(config: Config) -> Config:
    """The config with a hash secret: the given one, else the one kept in state_dir, made on first use."""
    if config.hash_secret.get_secret_value():
        return config
    path = config.state_dir / "hash_secret"
    try:
        if not path.exists():
            _publish_once(path, secrets.token_hex(HEX_SECRET_BYTES) + "\n")
        text = path.read_text().strip()
    except OSError as problem:
        raise ConfigError(f"{path}: no place for the secret that keys are hashed with: {problem}") from None
    if not text:
        raise ConfigError(f"{path} is empty. Restore it, or delete it to start with new key hashes.")
    return config.model_copy(update={"hash_secret": SecretStr(text)})


def _publish_once(path: Path, text: str) -> None:
    """Of two that start at the same moment one wins, and both go on with its secret."""
    mine = path.with_name(f"{path.name}.{os.getpid()}")
    write_private(mine, text)
    with suppress(FileExistsError):
        path.hardlink_to(mine)
    mine.unlink()


def make_plan(config: Config) -> Plan:
    return Plan(
        journal_dir=str(config.journal.dir),
        upstreams=[plan_upstream(name, upstream) for name, upstream in config.upstreams.items()],
        routes=[plan_route(route) for route in config.routes],
        limits=Limits(**config.relay.limits.model_dump()),
        tls=plan_tls(config.relay.tls) if config.relay.tls else None,
        tenant=config.tenant,
        environment=config.environment,
        hash_secret=_hex(config.hash_secret.get_secret_value()),
        require_keys=demands_keys(config),
        policy_file=str(policy_path(config)),
        segment_bytes=config.journal.segment_mb * 1024 * 1024,
        fsync_ms=config.journal.fsync_ms,
    )


def demands_keys(config: Config) -> bool:
    """Whoever reaches a relay that holds upstream keys spends with them."""
    if config.relay.require_keys is not None:
        return config.relay.require_keys
    return not is_loopback(config.relay.listen) and any(map(_holds_key, config.upstreams.values()))


def _holds_key(upstream: Upstream) -> bool:
    names = {name.lower() for name in upstream.headers}
    return bool(upstream.key.get_secret_value() or names & KEY_HEADERS)


def policy_path(config: Config) -> Path:
    """Where record publishes the policy and relays read it, whether they run together or each alone."""
    return config.state_dir / "run" / "policy.json"


def cap_rules(config: Config) -> list[CapRule]:
    return [_cap_rule(cap) for cap in config.caps]


def _cap_rule(cap: Cap) -> CapRule:
    kind: CapKind = "key" if cap.key else "team" if cap.team else "project"
    name = cap.key or cap.team or cap.project
    if cap.usd_per_day is not None:
        return CapRule(kind=kind, name=name, per="day", limit_usd=cap.usd_per_day)
    return CapRule(kind=kind, name=name, per="month", limit_usd=cap.usd_per_month or Decimal(0))


def plan_upstream(name: str, upstream: Upstream) -> UpstreamPlan:
    parts = urlsplit(upstream.url)
    tls = parts.scheme == "https"
    scheme_port = 443 if tls else 80
    port = parts.port or scheme_port
    host = parts.hostname or ""
    shown = f"[{host}]" if ":" in host else host
    return UpstreamPlan(
        name=name,
        host=host,
        port=port,
        tls=tls,
        base_path=parts.path.rstrip("/"),
        host_header=shown if port == scheme_port else f"{shown}:{port}",
        api=upstream.api,
        provider=upstream.provider or guess_provider(host),
        zone=upstream.zone,
        ca_file=str(upstream.ca_file or ""),
        cert=str(upstream.cert or ""),
        cert_key=str(upstream.cert_key or ""),
        files_version=version_of(upstream.ca_file, upstream.cert, upstream.cert_key),
        headers=_headers(upstream),
        asks_usage=upstream.asks_usage,
        drain_s=upstream.drain_s,
    )


def plan_tls(tls: Tls) -> TlsPlan:
    return TlsPlan(
        cert=str(tls.cert),
        key=str(tls.key),
        client_ca=str(tls.client_ca or ""),
        files_version=version_of(tls.cert, tls.key, tls.client_ca),
    )


def plan_route(route: Route) -> RoutePlan:
    return RoutePlan(**route.model_dump())


def guess_provider(host: str) -> str:
    """Empty for a host nobody knows: such a server's calls have no list price, and none is made up."""
    host = host.lower().rstrip(".")
    for known, provider in PROVIDER_BY_HOST.items():
        if host == known or host.endswith("." + known):
            return provider
    return ""


def _headers(upstream: Upstream) -> dict[str, str]:
    headers = {name.lower(): value.get_secret_value() for name, value in upstream.headers.items()}
    key = upstream.key.get_secret_value()
    if key and upstream.api in KEY_HEADER_OF:
        headers.setdefault(KEY_HEADER_OF[upstream.api], key)
    elif key:
        headers.setdefault("authorization", f"Bearer {key}")
    return headers


def _hex(secret: str) -> str:
    """Any text may be given as the secret; the plan carries hexadecimal digits."""
    try:
        return bytes.fromhex(secret).hex()
    except ValueError:
        return hashlib.sha256(secret.encode()).hexdigest()
