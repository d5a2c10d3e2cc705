"""Counters: what one process publishes another reads, also when it is older, newer, or gone."""

from pathlib import Path

from collector.relay.counters import NAMES, Counters, read_counters


def test_what_is_published_is_read(tmp_path: Path) -> None:
    path = tmp_path / "counters"
    counters = Counters(path)
    for number, name in enumerate(NAMES):
        setattr(counters, name, number + (1 << 40))
    assert set(read_counters(path).values()) == {0}
    counters.publish()
    assert read_counters(path) == {name: number + (1 << 40) for number, name in enumerate(NAMES)}
    assert path.stat().st_mode & 0o777 == 0o600


def test_another_version_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    path = tmp_path / "counters"
    Counters(path).publish()
    whole = path.read_bytes()
    path.write_bytes(whole[:24])
    assert list(read_counters(path)) == list(NAMES[:2])
    path.write_bytes(whole + bytes(19))
    assert list(read_counters(path)) == list(NAMES)


def test_what_is_no_table_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "counters"
    assert read_counters(path) == {}
    for raw in (b"", b"swcoun", b"something else altogether"):
        path.write_bytes(raw)
        assert read_counters(path) == {}
    assert read_counters(tmp_path) == {}
