import pytest

from collector.errors import ConfigError
from collector.web.guard import Guard, check_listen
from collector.web.parameters import BadRequest, calls_question, spend_question


async def nothing(scope: object, receive: object, send: object) -> None:
    raise AssertionError


GUARD = Guard(nothing, ["pages.test"])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:4001",
        "127.0.0.1:4001",
        "127.9.9.9",
        "[::1]:4001",
        "a.localhost",
        "PAGES.test",
        "localhost.",
    ],
)
def test_our_own_names_are_answered(host: str) -> None:
    assert GUARD.knows(host.encode())


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "10.0.0.1",
        "[::2]",
        "a b",
        "localhost:x",
        "127.0.0.1@evil",
    ],
)
def test_no_other_name_is(host: str) -> None:
    assert not GUARD.knows(host.encode())


@pytest.mark.parametrize("listen", ["127.0.0.1:4001", "localhost:0", "[::1]:4001"])
def test_the_pages_may_listen_here(listen: str) -> None:
    assert check_listen(listen)


@pytest.mark.parametrize("listen", ["0.0.0.0:4001", "[::]:4001", "192.168.1.2:4001", "pages.example:4001"])
def test_the_pages_may_not_listen_to_the_network(listen: str) -> None:
    with pytest.raises(ConfigError, match=r"web\.listen.*allowed are 127\.0\.0\.1:PORT"):
        check_listen(listen)


@pytest.mark.parametrize(
    ("pairs", "code"),
    [
        ([("teem", "x")], "unknown_parameter"),
        ([("team", "x"), ("team", "y")], "repeated_parameter"),
        ([("limit", "0")], "bad_value"),
        ([("limit", "501")], "bad_value"),
        ([("limit", "-1")], "bad_value"),
        ([("limit", "²")], "bad_value"),
        ([("before", "x")], "bad_cursor"),
        ([("outcome", "fine")], "bad_value"),
        ([("team", "a\x00")], "bad_value"),
        ([("from", "yesterday")], "bad_value"),
    ],
)
def test_bad_questions_about_calls(pairs: list[tuple[str, str]], code: str) -> None:
    with pytest.raises(BadRequest) as refused:
        calls_question(pairs, "UTC")
    assert refused.value.code == code


def test_a_refusal_lists_what_is_allowed() -> None:
    with pytest.raises(BadRequest) as refused:
        calls_question([("outcome", "fine")], "UTC")
    assert "interrupted" in refused.value.allowed


@pytest.mark.parametrize(
    ("pairs", "code"),
    [
        ([("by", "colour")], "unknown_dimension"),
        ([("by", "team,team")], "unknown_dimension"),
        ([("month", "2026-1")], "bad_value"),
        ([("month", "2026-10"), ("from", "2026-10-01")], "bad_value"),
        ([("from", "2026-10-01")], "bad_value"),
        ([("from", "2026-10-02"), ("to", "2026-10-01")], "bad_value"),
        ([("tenant", "other")], "unknown_parameter"),
    ],
)
def test_bad_questions_about_spend(pairs: list[tuple[str, str]], code: str) -> None:
    with pytest.raises(BadRequest) as refused:
        spend_question(pairs, "UTC", "2026-10")
    assert refused.value.code == code


def test_the_month_is_this_one_unless_said() -> None:
    assert spend_question([], "UTC", "2026-10").period.name == "2026-10"
    assert spend_question([("by", "")], "UTC", "2026-10").dimensions == ()
