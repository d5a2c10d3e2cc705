"""Heads of requests: what is refused, and that what passes means the same behind the relay as before it."""

from contextlib import suppress

import httptools
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from collector.plan import Plan, RoutePlan, UpstreamPlan
from collector.relay.courses import Course
from collector.relay.request_head import CREDENTIALS, HOP_BY_HOP, HeadRefused, RequestHead, parse_request_head
from collector.relay.routes import Router
from collector.relay.server import Heads
from collector.relay.upstream import Pool

UPSTREAM = UpstreamPlan(name="up", host="127.0.0.1", port=1, host_header="up.example", base_path="/base")
PLAN = Plan(journal_dir="", upstreams=[UPSTREAM], routes=[RoutePlan(to="up")])


def post(*lines: bytes, target: bytes = b"/v1/chat/completions") -> bytes:
    return b"\r\n".join([b"POST %s HTTP/1.1" % target, b"Host: sizewise.test", *lines, b"", b""])


def forward(raw: bytes, model: str = "m", upstream: UpstreamPlan = UPSTREAM) -> bytes:
    """The request line and headers that the upstream gets, without the body's framing."""
    head = parse_request_head(raw)
    plan = Plan(journal_dir="", upstreams=[upstream], routes=[RoutePlan(to="up")])
    target = Router(plan).find(head.path, model)
    assert target is not None
    return Course(head, model, target, Pool(upstream, plan.limits), plan, "").lines


def names_of(lines: bytes) -> list[bytes]:
    return [line.split(b":")[0] for line in lines.split(b"\r\n")[1:-1]]


REFUSED = {
    "both lengths": post(b"Content-Length: 5", b"Transfer-Encoding: chunked"),
    "both lengths, the other way round": post(b"Transfer-Encoding: chunked", b"Content-Length: 5"),
    "two equal lengths": post(b"Content-Length: 5", b"Content-Length: 5"),
    "two different lengths": post(b"Content-Length: 5", b"content-length: 6"),
    "a list of lengths": post(b"Content-Length: 5, 5"),
    "a length with a plus": post(b"Content-Length: +5"),
    "a length with a minus": post(b"Content-Length: -5"),
    "a length with a space inside": post(b"Content-Length: 5 5"),
    "a length in hex": post(b"Content-Length: 0x5"),
    "a length with an underscore": post(b"Content-Length: 1_0"),
    "a length in other digits": post("Content-Length: ٥".encode()),
    "an empty length": post(b"Content-Length:"),
    "a blank length": post(b"Content-Length:  ", b"X: y"),
    "a length beyond 64 bits": post(b"Content-Length: 18446744073709551621"),
    "a length of 16 digits": post(b"Content-Length: 1000000000000000"),
    "chunked twice in one line": post(b"Transfer-Encoding: chunked, chunked"),
    "chunked twice": post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
    "chunked and identity": post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"),
    "xchunked": post(b"Transfer-Encoding: xchunked"),
    "chunkedx": post(b"Transfer-Encoding: chunkedx"),
    "chunked and a vertical tab": post(b"Transfer-Encoding: chunked\x0b"),
    "a form feed before chunked": post(b"Transfer-Encoding: \x0cchunked"),
    "quoted chunked": post(b'Transfer-Encoding: "chunked"'),
    "chunked with a parameter": post(b"Transfer-Encoding: chunked;q=1"),
    "identity": post(b"Transfer-Encoding: identity"),
    "gzip, chunked": post(b"Transfer-Encoding: gzip, chunked"),
    "an empty transfer encoding": post(b"Transfer-Encoding:"),
    "an empty transfer encoding and a length": post(b"Transfer-Encoding:", b"Content-Length: 5"),
    "a comma before chunked": post(b"Transfer-Encoding: ,chunked"),
    "a space before the colon": post(b"Transfer-Encoding : chunked"),
    "a tab before the colon": post(b"Transfer-Encoding\t: chunked"),
    "a space before a name": post()[:-2] + b" Transfer-Encoding: chunked\r\n\r\n",
    "a space before the first name": b"GET / HTTP/1.1\r\n Host: a\r\nHost: b\r\n\r\n",
    "a control byte before a name": post(b"\x01Transfer-Encoding: chunked"),
    "a byte beyond ASCII in a name": post(b"Transfer-Encoding\xff: chunked"),
    "no name": post(b": chunked"),
    "no colon": post(b"Transfer-Encoding chunked"),
    "a folded header": post(b"Transfer-Encoding:", b" chunked"),
    "a header folded by a tab": post(b"X: a", b"\tTransfer-Encoding: chunked"),
    "a bare line feed": post(b"X: a\nTransfer-Encoding: chunked"),
    "a bare carriage return": post(b"X: a\rTransfer-Encoding: chunked"),
    "two carriage returns": post(b"X: a\r"),
    "a NUL in a value": post(b"X: a\0b"),
    "a NUL in a name": post(b"X\0: a"),
    "a control byte in a value": post(b"X: a\x01b"),
    "DEL in a value": post(b"X: a\x7f"),
    "no Host": b"GET / HTTP/1.1\r\nX: y\r\n\r\n",
    "two Hosts": post(b"Host: sizewise.test"),
    "two different Hosts in HTTP/1.0": b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
    "a Host with a path": b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "a Host with a user": b"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n",
    "a Host with a space": b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
    "a Host with a comma and a space": b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n",
    "an absolute target": post(target=b"http://sizewise.test/v1/chat/completions"),
    "an absolute target of another host": post(target=b"http://169.254.169.254/latest"),
    "an authority as target": post(target=b"sizewise.test:80"),
    "a target without a slash": post(target=b"v1/chat/completions"),
    "an asterisk": b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    "a fragment": post(target=b"/v1#x"),
    "a space in the target": post(target=b"/v1 /x"),
    "a control byte in the target": post(target=b"/v1\x01"),
    "DEL in the target": post(target=b"/v1\x7f"),
    "bytes beyond ASCII in the target": post(target="/ü".encode()),
    "two dots": post(target=b"/to/up/../other/v1"),
    "two dots at the end": post(target=b"/to/up/.."),
    "one dot": post(target=b"/to/./up"),
    "encoded dots": post(target=b"/to/up/%2e%2E/other"),
    "a dot and an encoded one": post(target=b"/to/up/.%2e/other"),
    "dots between encoded slashes": post(target=b"/to/up/v1%2f..%2Fadmin"),
    "dots behind a backslash": post(target=b"/to/up/v1\\..\\admin"),
    "dots before a parameter": post(target=b"/to/up/v1/..;x/admin"),
    "CONNECT": b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n",
    "CONNECT to a path": b"CONNECT /x HTTP/1.1\r\nHost: a\r\n\r\n",
    "TRACE": b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n",
    "TRACK": b"TRACK / HTTP/1.1\r\nHost: a\r\n\r\n",
    "a method in lower case": b"get / HTTP/1.1\r\nHost: a\r\n\r\n",
    "a space before the method": b" GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "two spaces": b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
    "a tab": b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "a space behind the version": b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
    "HTTP/0.9": b"GET /\r\n\r\n",
    "HTTP/1.2": b"GET / HTTP/1.2\r\nHost: a\r\n\r\n",
    "HTTP/2's preface": b"PRI * HTTP/2.0\r\n\r\n",
    "HTTP/2.0": b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
    "http in lower case": b"GET / http/1.1\r\nHost: a\r\n\r\n",
    "RTSP": b"DESCRIBE /x RTSP/1.0\r\nHost: a\r\n\r\n",
    "ICE": b"SOURCE / ICE/1.0\r\nHost: a\r\n\r\n",
    "no version": b"GET / HTTP\r\nHost: a\r\n\r\n",
    "TE in HTTP/1.0": b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    "both in HTTP/1.0": b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
    "an unknown expectation": post(b"Expect: 200-ok", b"Content-Length: 5"),
    "a TLS hello": b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\r\n\r\n",
    "nothing": b"\r\n\r\n",
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_could_be_read_in_two_ways_is_refused(case: str) -> None:
    with pytest.raises(HeadRefused) as refused:
        parse_request_head(REFUSED[case])
    assert 400 <= refused.value.status < 600
    assert refused.value.message.endswith(".")


def test_a_refused_head_is_refused_again() -> None:
    heads = Heads()
    assert heads.read(post(b"Content-Length: 5"))[1] == 5
    for case in ("both lengths", "two equal lengths", "two different lengths"):
        for _ in range(2):
            with pytest.raises(HeadRefused):
                heads.read(REFUSED[case])


def test_equal_heads_share_one_but_not_their_length() -> None:
    heads = Heads()
    first, five = heads.read(post(b"Content-Length: 5"))
    second, ten = heads.read(post(b"Content-Length: 10"))
    assert first is second
    assert (five, ten) == (5, 10)
    assert heads.read(post(b"Content-length: 5"))[0] is not first


def test_the_length_may_stand_among_spaces() -> None:
    assert Heads().read(post(b"Content-Length: \t 007 "))[1] == 7


def test_the_framing_is_read() -> None:
    head = parse_request_head(post(b"Transfer-Encoding: Chunked "))
    assert head.chunked
    assert head.content_length is None
    assert head.has_body
    assert not parse_request_head(post()).has_body


@pytest.mark.parametrize(
    ("raw", "stays"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", True),
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Close\r\n\r\n", False),
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: x, close\r\n\r\n", False),
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", True),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", False),
    ],
)
def test_who_wants_to_stay(raw: bytes, stays: bool) -> None:
    assert parse_request_head(raw).keep_alive is stays


def test_headers_keep_their_order_and_their_case() -> None:
    lines = forward(post(b"X-B: 1", b"x-A:2", b"ACCEPT: */*  ", b"X-B: 3", b"X-Empty:"))
    assert lines == (
        b"POST /base/v1/chat/completions HTTP/1.1\r\nhost: up.example\r\n"
        b"X-B: 1\r\nx-A: 2\r\nACCEPT: */*\r\nX-B: 3\r\nX-Empty: \r\n"
    )


def test_what_is_between_client_and_relay_stays_there() -> None:
    dropped = [
        b"Connection: keep-alive, X-Named , close", b"Keep-Alive: timeout=5", b"X-Named: 1", b"TE: trailers",
        b"Proxy-Connection: x", b"Proxy-Authorization: Basic x", b"Trailer: X-T", b"Upgrade: h2c",
        b"HTTP2-Settings: x", b"x-sizewise-team: a", b"X-SizeWise-Anything: b", b"x_sizewise_team: c",
        b"Transfer_Encoding: chunked", b"Content_Length: 3", b"X_Api_Key: d", b"Expect: 100-continue",
    ]  # fmt: skip
    assert names_of(forward(post(*dropped, b"X-Kept: 1", b"With_Line: 2"))) == [
        b"host",
        b"X-Kept",
        b"With_Line",
    ]


def test_a_client_cant_take_away_what_the_upstream_needs() -> None:
    lines = forward(
        post(b"Connection: authorization, content-type", b"Authorization: k", b"Content-Type: a/b")
    )
    assert names_of(lines) == [b"host", b"Authorization", b"Content-Type"]


@pytest.mark.parametrize("name", sorted(CREDENTIALS))
def test_an_injected_key_replaces_every_credential_of_the_client(name: bytes) -> None:
    upstream = UpstreamPlan(
        name="up", host="h", port=1, host_header="h", headers={"Authorization": "Bearer ours", "x-extra": "1"}
    )
    lines = forward(post(name.upper() + b": theirs", b"X-Extra: theirs", b"Cookie: c"), upstream=upstream)
    assert b"theirs" not in lines
    assert names_of(lines) == [b"host", b"Cookie", b"authorization", b"x-extra"]


def test_who_calls_and_for_whom() -> None:
    head = parse_request_head(
        post(
            b"X-Sizewise-Team: blue", b"x-sizewise-project: p", b"x-sizewise-environment: e",
            b"x-sizewise-user: u", b"x-sizewise-unit: n", b"User-Agent: " + b"a" * 200, b"X-Request-Id: r",
            b"Idempotency-Key: i", b"traceparent: 00-" + b"ab" * 16 + b"-" + b"cd" * 8 + b"-01",
        )
    )  # fmt: skip
    assert (head.team, head.project, head.environment, head.user, head.unit) == ("blue", "p", "e", "u", "n")
    assert (head.client, head.request_id, head.idempotency_key) == ("a" * 120, "r", "i")
    assert (head.trace_id, head.parent_span_id) == (b"\xab" * 16, b"\xcd" * 8)


@pytest.mark.parametrize(
    "value",
    [
        b"00-" + b"0" * 32 + b"-" + b"cd" * 8 + b"-01",
        b"00-" + b"ab" * 16 + b"-" + b"0" * 16 + b"-01",
        b"ff-" + b"ab" * 16 + b"-" + b"cd" * 8 + b"-01",
        b"00-" + b"AB" * 16 + b"-" + b"cd" * 8 + b"-01",
        b"nonsense",
    ],
)
def test_a_traceparent_that_is_none_is_not_believed(value: bytes) -> None:
    assert parse_request_head(post(b"traceparent: " + value)).trace_id == b""


# -- whatever bytes come ---------------------------------------------------------------------------------

NAMES = st.sampled_from(
    b"Host Content-Length content-length Transfer-Encoding Connection X-A x-sizewise-team Expect Upgrade"
    b" Content_Length Transfer-Encoding\t X\x0bY Authorization TE Accept".split(b" ")
)
VALUES = st.sampled_from(
    [b"a", b"5", b"0", b"chunked", b"Chunked", b"chunked, chunked", b"identity", b"close", b"x-a", b"upgrade",
     b"", b" ", b"+5", b"a\x0b", b"\xff", b"100-continue", b"a\r\n b", b"a\nb", b"a\rb", b"a\0"]
)  # fmt: skip
TARGETS = st.sampled_from(
    [b"/", b"/v1/messages?a=b", b"/a/../b", b"*", b"http://a/", b"/\xff", b"/a#b", b"/a b", b"//a", b"/%2e"]
)
HEADERS = st.lists(st.tuples(NAMES, st.sampled_from([b": ", b":", b" : ", b":\t"]), VALUES), max_size=6)
HEADS = st.builds(
    lambda method, target, version, host, headers, ending: (
        b" ".join((method, target, version))
        + b"\r\n"
        + host
        + b"".join(b"".join(header) + ending for header in headers)
        + b"\r\n"
    ),
    st.sampled_from([b"GET", b"POST", b"HEAD", b"OPTIONS", b"TRACE", b"get", b"SOURCE"]),
    TARGETS,
    st.sampled_from([b"HTTP/1.1", b"HTTP/1.0", b"HTTP/1.1", b"HTTP/2.0", b"ICE/1.0"]),
    st.sampled_from([b"Host: a\r\n", b"Host: a\r\n", b""]),
    HEADERS,
    st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n"]),
)


class Heard:
    """A head as llhttp understands it."""

    def __init__(self, raw: bytes) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.target = b""
        self.complete = 0
        self.parser = httptools.HttpRequestParser(self)
        with suppress(httptools.HttpParserUpgrade):
            self.parser.feed_data(raw)
        self.method = self.parser.get_method()

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        self.complete += 1

    def values(self, wanted: bytes) -> list[bytes]:
        return [value for name, value in self.headers if name.lower() == wanted]


def check(raw: bytes) -> RequestHead | None:
    """Refused, or llhttp understands the same, both what came and what goes on."""
    try:
        head = parse_request_head(raw)
    except HeadRefused:
        return None
    before, after = Heard(raw), Heard(forward(raw) + b"\r\n")
    assert before.complete == after.complete == 1
    assert before.method == after.method == head.method
    assert before.target == head.path + head.query
    assert after.target == b"/base" + before.target or before.target.startswith(b"/to/")
    named = {
        t.strip().lower() for n, v in before.headers if n.lower() == b"connection" for t in v.split(b",")
    }
    kept = [header for header in before.headers if header[0].lower() not in HOP_BY_HOP | named]
    kept = [header for header in kept if not header[0].lower().replace(b"_", b"-").startswith(b"x-sizewise-")]
    kept = [header for header in kept if header[0].lower() != b"content_length"]
    essential = [h for h in before.headers if h[0].lower() == b"authorization" and b"authorization" in named]
    assert after.headers[0] == (b"host", b"up.example")
    assert after.headers[1:] == kept or essential
    return head


@given(HEADS)
def test_a_head_means_the_same_behind_the_relay(raw: bytes) -> None:
    check(raw)


@given(st.binary(max_size=60), st.data())
def test_no_bytes_make_it_stumble(noise: bytes, data: st.DataObject) -> None:
    good = post(b"Content-Length: 5", b"X-A: b")
    at = data.draw(st.integers(0, len(good) - 6))
    raw = good[:at] + noise + good[at + data.draw(st.integers(0, 2)) :]
    assume(raw.find(b"\r\n\r\n") == len(raw) - 4)
    check(raw)
