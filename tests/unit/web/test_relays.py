"""The relay workers' counters as Prometheus gets them."""

from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest

from collector.relay.counters import NAMES, Counters
from collector.web.relays import COUNTERS, GAUGES, Relays

OWN = {"pid", "beats", "policy_made_at_s"}  # no count of anything


def scrape(folder: Path) -> list[str]:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Relays(folder))
    return generate_latest(registry).decode().splitlines()


def test_every_worker_of_this_host_is_told(tmp_path: Path) -> None:
    for number in (0, 3):
        (tmp_path / f"w{number}").mkdir()
        counters = Counters(tmp_path / f"w{number}" / "counters")
        counters.journal_lost = 7 + number
        counters.clients = 2
        counters.publish()
    lines = scrape(tmp_path)
    assert 'sizewise_journal_lost_calls_total{worker="w0"} 7.0' in lines
    assert 'sizewise_journal_lost_calls_total{worker="w3"} 10.0' in lines
    assert 'sizewise_relay_clients{worker="w3"} 2.0' in lines


def test_a_worker_that_never_ran_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "w0").mkdir()
    assert not [line for line in scrape(tmp_path) if "worker=" in line]
    assert not [line for line in scrape(tmp_path / "nowhere") if "worker=" in line]


def test_every_count_that_a_worker_keeps_is_shown() -> None:
    assert GAUGES.keys() | COUNTERS.keys() == set(NAMES) - OWN
