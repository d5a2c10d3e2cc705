"""Where a request goes: the first route that matches, or the upstream that the path names."""

from hypothesis import given
from hypothesis import strategies as st

from collector.plan import Plan, RoutePlan, UpstreamPlan
from collector.relay.routes import Router, Target

UPSTREAMS = [
    UpstreamPlan(name="a", host="a", port=1),
    UpstreamPlan(name="b", host="b", port=1, base_path="/api"),
]


def find(path: bytes, model: str, *routes: RoutePlan) -> Target | None:
    return Router(Plan(journal_dir="", upstreams=UPSTREAMS, routes=list(routes))).find(path, model)


def name_of(target: Target | None) -> str:
    return target.upstream.name if target else ""


def test_the_first_match_wins() -> None:
    routes = [
        RoutePlan(to="a", model="llama-*"),
        RoutePlan(to="b", path="/v1/messages"),
        RoutePlan(to="a", name="rest", team="t", project="p", environment="e"),
    ]
    assert name_of(find(b"/v1/messages", "llama-3", *routes)) == "a"
    assert name_of(find(b"/v1/messages", "claude", *routes)) == "b"
    rest = find(b"/v1/embeddings", "", *routes)
    assert rest is not None
    assert (rest.upstream.name, rest.route, rest.team, rest.project, rest.environment) == (
        "a", "rest", "t", "p", "e",
    )  # fmt: skip


def test_no_route_is_no_target() -> None:
    assert find(b"/v1/x", "gpt", RoutePlan(to="a", model="llama-*")) is None
    assert find(b"/v1/x", "", RoutePlan(to="a", model="?*")) is None
    assert find(b"/v1/x", "gpt") is None


def test_patterns_match_whole_and_mind_the_case() -> None:
    route = RoutePlan(to="a", model="gpt-[45]")
    assert name_of(find(b"/", "gpt-4", route)) == "a"
    assert find(b"/", "gpt-4o", route) is None
    assert find(b"/", "GPT-4", route) is None
    assert find(b"/", "gpt-4\n", route) is None


def test_a_route_is_counted_under_its_name_or_its_pattern() -> None:
    for route, name in (
        (RoutePlan(to="a", name="n", model="m*"), "n"),
        (RoutePlan(to="a", model="m*", path="/*"), "m*"),
        (RoutePlan(to="a", path="/*"), "/*"),
        (RoutePlan(to="a"), "default"),
    ):
        target = find(b"/x", "mm", route)
        assert target is not None
        assert target.route == name


def test_a_path_can_name_its_upstream() -> None:
    for path, seen in (
        (b"/to/b/v1/chat/completions", b"/api/v1/chat/completions"),
        (b"/to/b", b"/api/"),
        (b"/to/b/", b"/api/"),
    ):
        target = find(path, "llama-3", RoutePlan(to="a"))
        assert target is not None
        assert (target.upstream.name, target.path, target.route) == ("b", seen, "to/b")
    for path in (b"/to/", b"/to/c/v1", b"/to//v1", b"/to/B/v1", b"/to/\xff/v1"):
        assert find(path, "llama-3", RoutePlan(to="a")) is None
    assert name_of(find(b"/tools", "m", RoutePlan(to="a"))) == "a"


def test_what_is_remembered_is_bounded() -> None:
    router = Router(Plan(journal_dir="", upstreams=UPSTREAMS, routes=[RoutePlan(to="a")]))
    for number in range(10_000):
        router.find(b"/files/%d" % number, "m")
    assert len(router._remembered) <= 4096


@given(st.binary(max_size=30), st.text(max_size=30))
def test_every_path_and_model_is_looked_up_twice_alike(path: bytes, model: str) -> None:
    router = Router(
        Plan(
            journal_dir="", upstreams=UPSTREAMS, routes=[RoutePlan(to="a", model="[a-m]*"), RoutePlan(to="b")]
        )
    )
    first = router.find(b"/" + path, model)
    assert router.find(b"/" + path, model) is first
    if not path.startswith(b"to/"):
        assert name_of(first) == ("a" if model and "a" <= model[0] <= "m" else "b")
