"""Runs every group, in the order in which one thing stands on another, and gives all their findings.

Where the configuration is refused, only what doesn't rest on it is looked at. What runs is looked at as it
runs: its addresses, and the upstreams that its relay goes by, which the command line may have replaced.
"""

import os
from datetime import UTC, datetime
from pathlib import Path

from alembic.script import ScriptDirectory

from collector import __version__
from collector.config import Config, Loaded, find_state_dir, make_plan
from collector.doctor import (
    certificate,
    clock,
    configuration,
    database,
    disk,
    gpu,
    journals,
    keys,
    permissions,
    ports,
    prices,
    processes,
    telemetry,
    upstreams,
    verdicts,
)
from collector.doctor.database import DatabaseFact
from collector.doctor.finding import Finding, problem
from collector.doctor.processes import RunFact
from collector.errors import SizewiseError
from collector.plan import Plan
from collector.store.embedded import running_url
from collector.store.embedded.binaries import find_binaries
from collector.store.embedded.places import find_home
from collector.store.schema import alembic_config
from collector.supervise.status import DatabaseStatus

GROUPS = (
    "config", "processes", "ports", "permissions", "disk", "journal", "database", "schema", "keys",
    "upstreams", "clock", "gpu", "prices", "telemetry",
)  # fmt: skip


def examine(config_file: Path | None, *, call: bool = False, model: str = "") -> list[Finding]:
    watch = clock.Stopwatch()
    loaded, found = configuration.read_configuration(config_file)
    state_dir = loaded.config.state_dir if loaded else _find_state_dir(config_file)
    run = processes.gather(state_dir) if state_dir else RunFact()
    now = datetime.now(UTC)
    changed_s = loaded.file.stat().st_mtime if loaded and loaded.file else None
    found += processes.judge(run, version=__version__, now_s=now.timestamp(), config_changed_s=changed_s)
    if loaded is not None:
        found += _examine_configured(loaded, run, now, watch, call=call, model=model)
    found += gpu.judge(gpu.gather())
    found += prices.judge_list(prices.list_version(), prices.newest_change(now.date()), now.date())
    found += telemetry.judge(telemetry.gather())
    return sorted(found, key=lambda finding: GROUPS.index(finding.group))


def _find_state_dir(config_file: Path | None) -> Path | None:
    try:
        return find_state_dir(config_file)
    except (SizewiseError, OSError):
        return None


def _examine_configured(
    loaded: Loaded, run: RunFact, now: datetime, watch: clock.Stopwatch, *, call: bool, model: str
) -> list[Finding]:
    config = loaded.config
    found = ports.judge(ports.gather(wanted_ports(config, run), run.addresses, run.pids))
    found += permissions.judge(permissions.gather(loaded), os.geteuid())
    url, unstartable = find_database(config)
    ledger = database.gather(url, config.tenant, now) if url else None
    found += _examine_disks(config, ledger)
    found += _examine_journals(config, run, ledger, now)
    found += unstartable or _examine_database(config, run, ledger)
    plan = run.plan or make_plan(config)
    if plan.tls is not None:
        found += certificate.judge(certificate.gather(plan.tls), now.timestamp())
    if run.plan is not None and (policy := keys.gather(run.plan)) is not None:
        found += keys.judge(policy, now.timestamp())
    facts = upstreams.gather(plan.upstreams, configured_metrics(config, plan), call=call, model=model)
    found += verdicts.judge(facts, now.timestamp())
    found += clock.judge(find_skews(ledger, facts), watch.step_s())
    found += prices.judge_books(config.prices.books)
    return found + prices.judge_models(ledger.models if ledger else None, upstreams_by_provider(plan))


def wanted_ports(config: Config, run: RunFact) -> dict[str, str]:
    """What would listen here: everything, unless only some kinds run; what listens by itself, as it does."""
    wanted = {"relay": config.relay.listen, "web": config.web.listen, "record": config.record.listen}
    kinds = {kind for status in run.statuses for kind in status.kinds}
    return {kind: address for kind, address in wanted.items() if not kinds or kind in kinds}


def find_database(config: Config) -> tuple[str, list[Finding]]:
    """Its address, "" where the embedded one doesn't run; and why that could not start, if it couldn't."""
    if config.database_url:
        return config.database_url, []
    try:
        url = running_url(config.database.data_dir) or ""
        if not url:
            find_binaries()
    except (SizewiseError, OSError) as failure:
        why = "There is no database to put calls into: they would wait in the journal."
        remedy = "pip install 'sizewise[embedded]', or set `database.url` to a Postgres of your own"
        return "", [problem("database.no_programs", str(failure), why, remedy)]
    return url, []


def _examine_disks(config: Config, ledger: DatabaseFact | None) -> list[Finding]:
    found = disk.judge(disk.gather("journal", config.journal.dir))
    if config.database_url:
        return found  # its disk is on another machine, or somebody else's
    fact = disk.gather("database", find_home(config.database.data_dir).root)
    if ledger is not None and not ledger.failure:
        fact = disk.with_growth(
            fact, ledger.bytes_a_day, config.database.retention_days, float(ledger.held_days)
        )
    return found + disk.judge(fact)


def _examine_journals(
    config: Config, run: RunFact, ledger: DatabaseFact | None, now: datetime
) -> list[Finding]:
    folder = config.journal.dir
    try:
        facts = journals.gather(folder, ledger.cursors if ledger else None, now)
    except OSError as failure:
        why = "Whether calls are kept there, and followed, can't be told."
        remedy = "run the doctor as the user that runs Sizewise, or as root"
        return [problem("journal.unreadable", f"{folder}: {failure.strerror}", why, remedy)]
    return journals.judge(
        facts,
        str(folder),
        relay_pids=run.relay_pids,
        record_runs="record" in run.running,
        quarantined=ledger.quarantined if ledger else None,
    )


def _examine_database(config: Config, run: RunFact, ledger: DatabaseFact | None) -> list[Finding]:
    status = next((s.database for s in run.statuses if s.database.kind != "none"), DatabaseStatus())
    runs = any({"record", "web"} & set(s.kinds) for s in run.statuses)
    found = database.judge(ledger, status, embedded=not config.database_url, runs=runs)
    if ledger is None or ledger.failure:
        return found
    scripts = ScriptDirectory.from_config(alembic_config())
    known = {script.revision for script in scripts.walk_revisions()}
    newest = scripts.get_current_head() or ""
    return found + database.judge_schema(ledger, newest, known, config.reporting.timezone)


def configured_metrics(config: Config, plan: Plan) -> dict[str, str]:
    """Where each upstream's metrics are, as far as the configuration's upstreams are the ones in use."""
    names = {upstream.name for upstream in plan.upstreams}
    return {name: one.metrics for name, one in config.upstreams.items() if one.metrics and name in names}


def find_skews(ledger: DatabaseFact | None, facts: list[upstreams.UpstreamFact]) -> list[clock.SkewFact]:
    found = [
        clock.SkewFact(one.name, one.skew_s, one.skew_doubt_s) for one in facts if one.skew_s is not None
    ]
    if ledger is not None and not ledger.failure:
        found.insert(0, clock.SkewFact("the database", ledger.skew_s, ledger.skew_doubt_s))
    return found


def upstreams_by_provider(plan: Plan) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for upstream in plan.upstreams:
        found.setdefault(upstream.provider, []).append(upstream.name)
    return found
