"""What `--prove` needs of what runs: the relay's address, the upstream to measure, and the ledger's word."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg

from collector.config import Config, load_config
from collector.doctor import processes
from collector.doctor.examine import find_database
from collector.doctor.proof import LedgerShare
from collector.doctor.share import RelaySide
from collector.errors import SizewiseError
from collector.plan import Plan, UpstreamPlan
from collector.spend.scope import scoped
from collector.supervise.sockets import reachable_address

HOUR = timedelta(hours=1)


def find_relay(config_file: Path | None, key_file: Path | None) -> tuple[RelaySide, Plan, Config]:
    config = load_config(config_file).config
    run = processes.gather(config.state_dir)
    address = run.addresses.get("relay")
    if address is None or run.plan is None:
        said = f" ({'; '.join(run.failures)})" if run.failures else ""
        raise SizewiseError(
            f"No relay runs for {config.state_dir}{said}: there is nothing to measure. "
            "Start `sizewise up` first."
        )
    if run.plan.tls is not None and run.plan.tls.client_ca:
        raise SizewiseError(
            "The relay takes only clients with a certificate of `relay.tls.client_ca`, which the doctor "
            "has not: measure beside a relay without it."
        )
    key = key_file.read_text().strip() if key_file else ""
    if run.plan.require_keys and not key:
        raise SizewiseError(
            "The relay demands a Sizewise key. Make one (`sizewise keys create --team doctor > key`) and "
            "give it: --key-file key"
        )
    return RelaySide(reachable_address(address), tls=run.plan.tls is not None, key=key), run.plan, config


def find_upstream(plan: Plan, name: str) -> UpstreamPlan:
    """The named one, else the one that takes whatever no other route took."""
    known = {upstream.name: upstream for upstream in plan.upstreams}
    wanted = name or next((route.to for route in reversed(plan.routes)), "")
    if wanted not in known:
        there = ", ".join(known) or "none"
        raise SizewiseError(f"--upstream {wanted}: the relay has no such upstream; there are {there}.")
    return known[wanted]


def find_ledger_share(config: Config) -> LedgerShare | None:
    url, _ = find_database(config)
    if not url:
        return None
    since = datetime.now(UTC) - HOUR
    try:
        with psycopg.connect(url, connect_timeout=5, application_name="sizewise doctor") as connection:
            connection.read_only = True
            connection.execute("SET statement_timeout = 10000")
            row = connection.execute(
                scoped("doctor_relay"), {"tenant": config.tenant, "since": since}
            ).fetchone()
    except psycopg.Error:
        return None
    return LedgerShare(*row) if row else None
