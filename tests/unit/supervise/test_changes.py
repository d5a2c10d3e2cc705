from typing import Any

import pytest

from collector.config import Config
from collector.errors import SizewiseError
from collector.supervise.changes import child_environment, part_of, refuse_fixed_changes, with_database_url


def config(**raw: Any) -> Config:
    return Config.model_validate({"state_dir": "/state", **raw})


def test_children_inherit_only_what_is_known_to_be_harmless() -> None:
    environ = {
        "PATH": "/bin",
        "LC_ALL": "C",
        "OPENAI_API_KEY": "s",
        "SIZEWISE_HASH_SECRET": "s",
        "PGPASSWORD": "s",
    }
    assert child_environment(environ) == {"PATH": "/bin", "LC_ALL": "C"}


@pytest.mark.parametrize(
    ("key", "raw"),
    [
        ("relay.listen", {"relay": {"listen": "127.0.0.1:1"}}),
        ("web.listen", {"web": {"listen": "127.0.0.1:1"}}),
        ("journal.dir", {"journal": {"dir": "/elsewhere"}}),
        ("database.url", {"database": {"url": "postgresql://h/d"}}),
    ],
)
def test_what_sockets_and_files_hang_on_is_fixed(key: str, raw: dict[str, Any]) -> None:
    with pytest.raises(SizewiseError, match=f"^{key} can't change"):
        refuse_fixed_changes(config(), config(**raw))


def test_the_rest_may_change() -> None:
    refuse_fixed_changes(config(), config(environment="x", relay={"workers": 3}, record={"batch_calls": 1}))


def test_only_those_restart_who_read_what_changed() -> None:
    old = config()
    for raw, stale in (
        ({"relay": {"workers": 2}}, []),
        ({"record": {"batch_calls": 1}}, ["record"]),
        ({"web": {"listen": "127.0.0.1:1"}}, ["web"]),
        ({"tenant": "x"}, ["record", "web"]),
        ({"hash_secret": "x"}, ["record", "web"]),
    ):
        new = config(**raw)
        assert [kind for kind in ("record", "web") if part_of(old, kind) != part_of(new, kind)] == stale


def test_the_actual_database_takes_the_place_of_none() -> None:
    assert with_database_url(config(), "postgresql://h/d").database_url == "postgresql://h/d"
