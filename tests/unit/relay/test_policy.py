"""Who is let in and for whom it counts, read from a policy file; and when a cap speaks."""

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.plan import Plan, RoutePlan, UpstreamPlan
from collector.policy import (
    CapEntry,
    CapRule,
    KeyEntry,
    Policy,
    decode_policy,
    hash_key,
    with_version,
    write_policy,
)
from collector.relay.courses import Course
from collector.relay.policy import Admission, find_reached
from collector.relay.request_head import RequestHead, parse_request_head
from collector.relay.routes import Router
from collector.relay.upstream import Pool

SECRET = "5e" * 32
KEY = b"sw-" + b"k" * 43
OTHER = b"sw-" + b"o" * 43
UPSTREAM = UpstreamPlan(name="up", host="127.0.0.1", port=1, host_header="up.example")


def entry(key: bytes = KEY, **binds: str) -> KeyEntry:
    return KeyEntry(key_id="key-1", key_hash=hash_key(SECRET, key), **binds)


def policy(*keys: KeyEntry, caps: tuple[CapEntry, ...] = (), keys_in_use: bool = True) -> Policy:
    return with_version(Policy(made_at_s=1.0, keys_in_use=keys_in_use, keys=list(keys), caps=list(caps)))


def cap(spent: str, limit: str = "10", kind: str = "team", name: str = "search", ends_at_s: float = 1000.0):
    rule = CapRule(kind=kind, name=name, per="day", limit_usd=Decimal(limit))
    return CapEntry(rule=rule, key_ids=["key-1"], spent_usd=Decimal(spent), ends_at_s=ends_at_s)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "policy.json"


def admission(path: Path, policy: Policy | None = None, *, demands: bool = True) -> Admission:
    if policy is not None:
        write_policy(policy, path)
    made = Admission(
        Plan(
            journal_dir="",
            upstreams=[],
            routes=[],
            hash_secret=SECRET,
            require_keys=demands,
            policy_file=str(path),
        )
    )
    made.refresh()
    return made


def head_with(*lines: bytes, method: bytes = b"POST", path: bytes = b"/v1/chat/completions") -> RequestHead:
    first = b"%s %s HTTP/1.1" % (method, path)
    return parse_request_head(b"\r\n".join([first, b"Host: sizewise.test", *lines, b"", b""]))


def identified(admission: Admission, *lines: bytes) -> RequestHead:
    head = head_with(*lines)
    admission.identify(head)
    return head


def code_of(head: RequestHead) -> str:
    return head.refusal.code if head.refusal else ""


WAYS = [
    b"Authorization: Bearer " + KEY,
    b"authorization: bearer  " + KEY,
    b"Authorization: BEARER\t" + KEY,
    b"Authorization: " + KEY,
    b"X-Api-Key: " + KEY,
    b"api-key: " + KEY,
    b"X-Sizewise-Key: " + KEY,
]


@pytest.mark.parametrize("line", WAYS)
def test_a_key_is_known_however_it_comes_and_never_goes_on(path: Path, line: bytes) -> None:
    head = identified(admission(path, policy(entry(team="search"))), line, b"X-Other: stays")
    assert (head.key_id, head.team, code_of(head)) == ("key-1", "search", "")
    plan = Plan(journal_dir="", upstreams=[UPSTREAM], routes=[RoutePlan(to="up")])
    target = Router(plan).find(head.path, "m")
    assert target is not None
    course = Course(head, "m", target, Pool(UPSTREAM, plan.limits), plan, "")
    assert KEY not in course.lines + course.lines_hiding
    assert b"X-Other: stays" in course.lines


@given(
    st.lists(st.sampled_from([*WAYS, b"X-Api-Key: " + OTHER, b"Authorization: Bearer sk-mine"]), max_size=5)
)
def test_no_key_goes_on_in_any_company(tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]) -> None:
    where = tmp_path_factory.mktemp("policy") / "policy.json"
    head = identified(admission(where, policy(entry()), demands=False), *lines)
    left = b"".join(line for _, line in head.header_lines)
    assert b"sw-" not in left
    assert (b"sk-mine" in left) == any(b"sk-mine" in line for line in lines)


def test_what_a_key_binds_stands_over_the_headers(path: Path) -> None:
    keeper = admission(path, policy(entry(team="search", environment="prod")))
    head = identified(
        keeper,
        b"x-api-key: " + KEY,
        b"x-sizewise-team: finance",
        b"x-sizewise-project: mine",
        b"x-sizewise-environment: test",
    )
    assert (head.team, head.project, head.environment) == ("search", "mine", "prod")


def test_the_header_of_our_own_stands_over_the_others(path: Path) -> None:
    keeper = admission(path, policy(entry()))
    assert code_of(identified(keeper, b"x-sizewise-key: " + OTHER, b"x-api-key: " + KEY)) == "key_unknown"
    mine = identified(keeper, b"x-sizewise-key: " + KEY, b"Authorization: Bearer sk-upstream")
    assert code_of(mine) == ""
    assert [line for _, line in mine.header_lines] == [b"Authorization: Bearer sk-upstream\r\n"]


@pytest.mark.parametrize("lines", [(), (b"Authorization: Bearer sk-1",), (b"x-api-key: sw-short",)])
def test_who_brings_no_key_is_refused_where_one_is_demanded(path: Path, lines: tuple[bytes, ...]) -> None:
    head = identified(admission(path, policy(entry())), *lines)
    assert head.refusal is not None
    assert (head.refusal.status, head.refusal.code) == (401, "key_missing")


def test_who_brings_no_key_passes_where_none_is_demanded(path: Path) -> None:
    head = identified(admission(path, policy(entry()), demands=False), b"Authorization: Bearer sk-1")
    assert (code_of(head), head.key_id) == ("", "")
    assert len(head.header_lines) == 1


@pytest.mark.parametrize("demands", [True, False])
def test_a_key_that_is_not_known_is_refused_even_where_none_is_demanded(path: Path, demands: bool) -> None:
    head = identified(admission(path, policy(entry()), demands=demands), b"x-api-key: " + OTHER)
    assert head.refusal is not None
    assert (head.refusal.status, head.refusal.code) == (401, "key_unknown")


def test_another_secret_knows_no_key(path: Path) -> None:
    foreign = KeyEntry(key_id="key-1", key_hash=hash_key("ab" * 32, KEY))
    assert code_of(identified(admission(path, policy(foreign)), b"x-api-key: " + KEY)) == "key_unknown"


def test_what_looks_like_a_key_is_the_upstreams_where_no_key_was_ever_made(path: Path) -> None:
    head = identified(admission(path, policy(keys_in_use=False), demands=False), b"x-api-key: " + KEY)
    assert code_of(head) == ""
    assert len(head.header_lines) == 1


def test_without_any_policy_nobody_is_let_in_where_keys_are_demanded(path: Path) -> None:
    head = identified(admission(path), b"x-api-key: " + KEY)
    assert head.refusal is not None
    assert (head.refusal.status, head.refusal.code) == (503, "policy_missing")
    assert code_of(identified(admission(path))) == "key_missing"


def test_without_any_policy_calls_go_on_where_keys_are_not_demanded(path: Path) -> None:
    head = identified(admission(path, demands=False), b"x-api-key: " + KEY)
    assert code_of(head) == ""
    assert head.header_lines == []


def test_a_revoked_key_is_news_and_spend_is_not(path: Path) -> None:
    keeper = admission(path, policy(entry(), caps=(cap("1"),)))
    assert not keeper.refresh()
    write_policy(policy(entry(), caps=(cap("2"),)), path)
    assert not keeper.refresh()
    write_policy(policy(caps=(cap("2"),)), path)
    assert keeper.refresh()
    assert code_of(identified(keeper, b"x-api-key: " + KEY)) == "key_unknown"


@pytest.mark.parametrize("trouble", [b"", b"{", b'{"made_at_s": "x"}', b"[]", None])
def test_a_policy_that_is_no_good_changes_nothing(path: Path, trouble: bytes | None) -> None:
    keeper = admission(path, policy(entry()))
    path.unlink()
    if trouble is None:
        assert not keeper.refresh()
    else:
        path.write_bytes(trouble)
        with pytest.raises(ValueError):
            keeper.refresh()
        assert not keeper.refresh()
    assert keeper.made_at_s == 1.0
    assert code_of(identified(keeper, b"x-api-key: " + KEY)) == ""


@pytest.mark.parametrize(
    ("kind", "name", "covered"),
    [
        ("team", "search", True),
        ("team", "finance", False),
        ("project", "index", True),
        ("project", "search", False),
        ("key", "any name", True),
    ],
)
def test_a_cap_covers_those_it_names(path: Path, kind: str, name: str, covered: bool) -> None:
    keeper = admission(path, policy(entry(team="search"), caps=(cap("10", kind=kind, name=name),)))
    head = identified(keeper, b"x-api-key: " + KEY)
    caps = keeper.find_caps(head, head.team, "index")
    assert (caps is not None) == covered
    if caps is not None:
        refusal = find_reached(caps, 400.0)
        assert refusal is not None
        assert (refusal.status, refusal.code) == (429, "cap_reached")
        assert b"retry-after: 600\r\n" in refusal.lines
        assert refusal.details == {
            "cap": f"{kind} {name}",
            "per": "day",
            "spent_usd": "10",
            "limit_usd": "10",
            "free_at": "1970-01-01T00:16:40+00:00",
        }
        assert f"The cap of {kind} {name} is reached: $10 of $10 a day are spent." in refusal.message


def test_a_cap_follows_what_is_spent_and_ends_with_its_window(path: Path) -> None:
    keeper = admission(path, policy(entry(), caps=(cap("9.999999999999"),)))
    caps = keeper.find_caps(head_with(), "search", "")
    assert caps is not None
    assert find_reached(caps, 400.0) is None
    write_policy(policy(entry(), caps=(cap("10.000000000001"),)), path)
    keeper.refresh()
    assert find_reached(caps, 400.0) is not None
    assert find_reached(caps, 999.9) is not None
    assert find_reached(caps, 1000.0) is None  # the policy is stale; the window has ended all the same


def test_looking_is_not_capped_and_what_costs_is_even_if_nobody_reads_it(path: Path) -> None:
    keeper = admission(path, policy(entry(), caps=(cap("10"),)))
    models = head_with(method=b"GET", path=b"/v1/models")
    assert keeper.find_caps(models, "search", "") is None
    assert keeper.find_caps(head_with(path=b"/v1/something/new"), "search", "") is not None


def test_a_browser_gives_its_key_as_a_subprotocol(path: Path) -> None:
    keeper = admission(path, policy(entry(), caps=(cap("10"),)))
    key = b"openai-insecure-api-key." + KEY
    for offered, left in (
        (b"realtime, " + key + b", beta.v1", [b"sec-websocket-protocol: realtime, beta.v1\r\n"]),
        (key + b",realtime", [b"sec-websocket-protocol: realtime\r\n"]),
        (key, []),
    ):
        head = head_with(
            b"Upgrade: websocket",
            b"Connection: Upgrade",
            b"Sec-WebSocket-Protocol: " + offered,
            method=b"GET",
            path=b"/v1/realtime",
        )
        keeper.identify(head)
        assert head.key_id == "key-1"
        assert [line for name, line in head.header_lines if name == b"sec-websocket-protocol"] == left
        assert keeper.find_caps(head, "search", "") is not None  # a tunnel costs, though it begins with a GET


def test_a_header_of_an_answer_holds_no_name(path: Path) -> None:
    """Names are free text: they must not be able to end a line of a head."""
    keeper = admission(path, policy(entry(), caps=(cap("10", name="a\r\nx-evil: 1"),)))
    caps = keeper.find_caps(head_with(), "a\r\nx-evil: 1", "")
    assert caps is not None
    refusal = find_reached(caps, 0.0)
    assert refusal is not None
    assert refusal.lines == b"retry-after: 1000\r\nx-should-retry: false\r\n"


def test_the_file_is_private_and_comes_back_whole(path: Path) -> None:
    written = policy(entry(team="ünï"), caps=(cap("0.000000000001", limit="1e3"),))
    write_policy(written, path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert decode_policy(path.read_bytes()) == written
    assert [file.name for file in path.parent.iterdir()] == ["policy.json"]


def test_the_version_is_that_of_the_content() -> None:
    first, again = policy(entry()), policy(entry())
    assert first.version == again.version != policy().version
    assert policy(entry(), caps=(cap("1"),)).version != policy(entry(), caps=(cap("2"),)).version
