"""The shape of the configuration: every section, key and default, and what is allowed.

Secrets are SecretStr, so that neither a repr nor a log nor an error shows them. They leave in clear only
through `model_dump(context={"reveal": True})`, for the 0600 file that child processes read.
"""

import os
import re
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    SecretStr,
    SerializationInfo,
    model_validator,
)

from collector.plan import Limits

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
MASK = "**********"


def _reveal(secret: SecretStr, info: SerializationInfo) -> str:
    if info.context and info.context.get("reveal"):
        return secret.get_secret_value()
    return MASK if secret.get_secret_value() else ""


def _check_address(text: str) -> str:
    host, _, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not host or (":" in host and not bracketed) or not (port.isascii() and port.isdigit()):
        raise ValueError("allowed is HOST:PORT, such as 127.0.0.1:4000 or [::1]:4000")
    if int(port) > 65535:
        raise ValueError("the port must be between 0 and 65535 (0 takes any free one)")
    return text


def _check_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as problem:
        raise ValueError(
            f"not a URL ({problem}); allowed is http://HOST[:PORT] or https://HOST[:PORT]"
        ) from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
        raise ValueError("allowed is http://HOST[:PORT][/PATH] or https://HOST[:PORT][/PATH]")
    if parts.query or parts.fragment:
        raise ValueError("a base URL has no query (?) and no fragment (#)")
    if parts.username is not None:
        raise ValueError("no user or password in the URL: put them into `key` or `headers`")
    if re.search(r"[\s\x00-\x1f\x7f]", text):
        raise ValueError("a URL has no blanks or control characters")
    return text


def _check_database_url(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    if text and not re.match(r"postgres(ql)?(\+psycopg)?://", text):
        raise ValueError(
            "allowed is postgresql://USER:PASSWORD@HOST:PORT/DATABASE, or empty for the embedded one"
        )
    return SecretStr(text.replace("+psycopg", "", 1)) if text.split("://")[0].endswith("+psycopg") else secret


def _check_timezone(text: str) -> str:
    if text not in available_timezones():
        raise ValueError("allowed is a name of the IANA time zone database, such as UTC or Europe/Berlin")
    return text


def _check_zone(text: str) -> str:
    if text and not NAME.fullmatch(text):
        raise ValueError(
            "a zone is a name of letters, digits, '.', '_' and '-', such as on-prem or eu-west-1"
        )
    return text


def _check_printable(secret: SecretStr) -> SecretStr:
    if re.search(r"[^\x20-\x7e\t]", secret.get_secret_value()):
        raise ValueError("only printable ASCII can be sent in a header (a stray line end, perhaps?)")
    return secret


def _check_names(table: dict[str, Any]) -> dict[str, Any]:
    for name in table:
        if not NAME.fullmatch(name):
            raise ValueError(f"{name!r}: a name has letters, digits, '.', '_' and '-', at most 63 of them")
    return table


def _check_headers(table: dict[str, SecretStr]) -> dict[str, SecretStr]:
    for name in table:
        if not HEADER.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a header")
        if name.lower() in {"host", "content-length", "transfer-encoding", "connection"}:
            raise ValueError(f"{name!r} belongs to the connection and can't be set")
    return table


def _check_metrics(text: str) -> str:
    return text if not text or text.startswith("/") else _check_url(text)


def _check_endpoint(text: str) -> str:
    return _check_url(text) if text else text


def _absolute(value: Any) -> Any:
    return Path(value).expanduser().absolute() if isinstance(value, str | Path) else value


Secret = Annotated[SecretStr, PlainSerializer(_reveal)]
Address = Annotated[str, AfterValidator(_check_address)]
DatabaseUrl = Annotated[Secret, AfterValidator(_check_database_url)]
HeaderSecret = Annotated[Secret, AfterValidator(_check_printable)]
Positive = Annotated[int, Field(gt=0)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Dollars = Annotated[Decimal, Field(ge=0, allow_inf_nan=False)]
CapName = Annotated[str, Field(max_length=120)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class LimitsSection(Section):
    """The fields of plan.Limits, which a test holds equal."""

    head_bytes: Positive = Limits().head_bytes
    body_bytes: Positive = Limits().body_bytes
    sniff_bytes: Positive = Limits().sniff_bytes
    head_timeout_s: Seconds = Limits().head_timeout_s
    idle_timeout_s: Seconds = Limits().idle_timeout_s
    keepalive_timeout_s: Seconds = Limits().keepalive_timeout_s
    total_timeout_s: Seconds = Limits().total_timeout_s
    connect_timeout_s: Seconds = Limits().connect_timeout_s
    pool_per_upstream: Positive = Limits().pool_per_upstream
    connections_per_worker: Positive = Limits().connections_per_worker
    read_reply_bytes: Positive = Limits().read_reply_bytes
    buffer_bytes: Positive = Limits().buffer_bytes
    shutdown_grace_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Limits().shutdown_grace_s
    tunnel_idle_timeout_s: Seconds = Limits().tunnel_idle_timeout_s


class Tls(Section):
    """The relay's own certificate; with `client_ca` a client must show one of that authority's."""

    cert: Path
    key: Path
    client_ca: Path | None = None


class Relay(Section):
    listen: Address = "127.0.0.1:4000"
    workers: Annotated[int, Field(ge=1, le=256)] | Literal["auto"] = 1
    require_keys: bool | None = None  # Sizewise's own; None: where it holds upstream keys beyond loopback
    limits: LimitsSection = LimitsSection()
    tls: Tls | None = None


class Web(Section):
    listen: Address = "127.0.0.1:4001"


class Record(Section):
    listen: Address = "127.0.0.1:4002"
    batch_calls: Annotated[int, Field(ge=1, le=100_000)] = 2000
    interval_ms: Annotated[int, Field(ge=1, le=60_000)] = 200


class Journal(Section):
    dir: Path = Path()  # Config fills it in: <state_dir>/journal
    segment_mb: Annotated[int, Field(ge=1, le=4096)] = 16
    fsync_ms: Annotated[int, Field(ge=1, le=60_000)] = 100


class Database(Section):
    url: DatabaseUrl = SecretStr("")  # empty: the embedded Postgres
    data_dir: Path = Path()  # Config fills it in: <state_dir>/postgres
    retention_days: Annotated[int, Field(ge=1, le=36_500)] = 400


class Reporting(Section):
    timezone: Annotated[str, AfterValidator(_check_timezone)] = "UTC"
    currency: Literal["USD"] = "USD"  # what price lists are in; another one would need rates by date


class Hosting(Section):
    """What a server of one's own runs on, and what that costs."""

    instance: str = ""
    count: Positive = 1
    usd_per_hour: Annotated[Decimal, Field(ge=0, allow_inf_nan=False)] | None = None  # of one instance


class Upstream(Section):
    url: Annotated[str, AfterValidator(_check_url)]
    api: Literal["openai", "anthropic", "gemini", "bedrock", "cohere", "ollama"] = "openai"
    provider: str = ""  # whose prices apply; guessed from the host where it is known
    zone: Annotated[str, AfterValidator(_check_zone)] = ""
    key: HeaderSecret = SecretStr("")
    headers: Annotated[dict[str, HeaderSecret], AfterValidator(_check_headers)] = {}
    metrics: Annotated[str, AfterValidator(_check_metrics)] = ""  # a path on the upstream, or a URL
    hosting: Hosting | None = None
    ca_file: Path | None = None
    cert: Path | None = None  # shown to the upstream
    cert_key: Path | None = None  # of `cert`, where that file doesn't hold it
    asks_usage: bool = True
    drain_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0


class Route(Section):
    """First match wins; an absent pattern matches everything."""

    to: str
    name: str = ""
    model: str = ""
    path: str = ""
    team: str = ""
    project: str = ""
    environment: str = ""


class Cap(Section):
    """A hard limit on what a key, a team or a project may spend in a day or month of the reporting zone.

    It can be passed by what the calls under way cost, and by what is called until the relay hears of it: that
    is about a second, and however far record lags. Only calls whose price is known count.
    """

    key: CapName = ""  # its name, shared by all keys of that name, or its id
    team: CapName = ""
    project: CapName = ""
    usd_per_day: Dollars | None = None
    usd_per_month: Dollars | None = None
    action: Literal["refuse"] = "refuse"

    @model_validator(mode="after")
    def _check(self) -> "Cap":
        if sum(bool(name) for name in (self.key, self.team, self.project)) != 1:
            raise ValueError("a cap names one of key, team and project")
        if (self.usd_per_day is None) == (self.usd_per_month is None):
            raise ValueError("a cap has one of usd_per_day and usd_per_month")
        return self


class Prices(Section):
    """The user's own price books, asked in this order before the public list, and what deployments run."""

    books: list[Annotated[Path, AfterValidator(_absolute)]] = []
    aliases: dict[str, Annotated[str, Field(min_length=1)]] = {}  # a deployment's name -> the model behind it


class Otel(Section):
    """The user's own OpenTelemetry collector, which gets every call as a span; without an endpoint, none.

    It may be so far behind, in bytes of the journal and in hours; what is older is skipped, and counted.
    """

    endpoint: Annotated[str, AfterValidator(_check_endpoint)] = ""
    protocol: Literal["http", "grpc"] = "http"
    headers: Annotated[dict[str, HeaderSecret], AfterValidator(_check_headers)] = {}
    ca_file: Path | None = None
    timeout_s: Seconds = 10.0
    max_lag_mb: Positive = 256
    max_lag_hours: Seconds = 24.0


class Config(Section):
    """The effective configuration, whole and checked. Every path in it is absolute."""

    state_dir: Path = Path()  # filled in: default_state_dir()
    tenant: Annotated[str, Field(pattern=f"^{NAME.pattern}$")] = "default"
    environment: str = ""
    hash_secret: Secret = SecretStr("")
    relay: Relay = Relay()
    web: Web = Web()
    record: Record = Record()
    journal: Journal = Journal()
    database: Database = Database()
    reporting: Reporting = Reporting()
    upstreams: Annotated[dict[str, Upstream], AfterValidator(_check_names)] = {}
    routes: list[Route] = []
    caps: list[Cap] = []
    prices: Prices = Prices()
    otel: Otel = Otel()

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, raw: Any) -> Any:
        return with_default_paths(raw) if isinstance(raw, dict) else raw

    @property
    def database_url(self) -> str:
        """In clear, for whoever connects; empty where the embedded Postgres is meant and not yet known."""
        return self.database.url.get_secret_value()


def default_state_dir() -> Path:
    if os.geteuid() == 0:
        return Path("/var/lib/sizewise")
    base = os.environ.get("XDG_STATE_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".local/state") / "sizewise"


def with_default_paths(raw: dict[str, Any]) -> dict[str, Any]:
    """Whatever is wrong in `raw` stays wrong: it is the model that refuses it."""
    state = raw.get("state_dir") or default_state_dir()
    filled = {**raw, "state_dir": state}
    if not isinstance(state, str | Path):
        return filled
    state_dir = Path(state).expanduser().absolute()
    filled["state_dir"] = state_dir
    for section, key, folder in (("journal", "dir", "journal"), ("database", "data_dir", "postgres")):
        table = raw.get(section) if raw.get(section) is not None else {}
        if isinstance(table, dict):
            filled[section] = {**table, key: _absolute(table.get(key) or state_dir / folder)}
    return filled
