"""Requests are read whatever their types, and spliced without touching another byte."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.apis import RequestFacts, read_request, read_request_prefix, splice_usage

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
MEMBERS = st.lists(
    st.tuples(st.sampled_from(["messages", "n", "\u00e9", "user", 'a"b\\']), VALUES), max_size=5
)
SPACE = st.sampled_from(["", " ", "\n\t", "\r\n  "])
OPTIONS = st.sampled_from(
    [None, "null", "{}", "{ }", '{"include_usage":false}', '{"x":[{}],"include_usage" : null}']
)


def spell(members, space):
    """JSON with odd whitespace and, where a key comes twice, both."""
    parts = [f"{json.dumps(key)}{space}:{space}{value}" for key, value in members]
    text = space + "{" + space + f"{space},{space}".join(parts) + space + "}" + space
    return text.encode()


def test_what_a_request_says():
    body = (
        b'{"model":"m","messages":[{"model":"no"}],"stream":true,'
        b'"stream_options":{"include_usage":true},"user":"u"}'
    )
    assert read_request(body) == RequestFacts("m", True, True, True, "u")


@pytest.mark.parametrize(
    ("body", "end_user"),
    [
        (b'{"metadata":{"user_id":"a"}}', "a"),
        (b'{"user":"u","safety_identifier":"s"}', "s"),
        (b'{"user":null,"metadata":{"user_id":7}}', ""),
        (b'{"metadata":"odd","user":"u"}', "u"),
    ],
)
def test_on_whose_behalf(body, end_user):
    assert read_request(body).end_user == end_user


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "the body is empty"),
        (b"{nope", "the body is not valid JSON"),
        (b"[1]", "the body is not a JSON object"),
        (b'{"model":7,"stream":true}', "model can't be read"),
        (b'{"model":"m","stream":"yes"}', "stream can't be read"),
        (b"[" * 100_000, "the body is nested too deeply to read"),
    ],
)
def test_what_cannot_be_read_is_said(body, problem):
    assert read_request(body).problem == problem


def test_the_rest_is_kept_when_one_value_is_odd():
    facts = read_request(b'{"model":"m","stream":true,"stream_options":"odd"}')
    assert (facts.model, facts.stream, facts.has_stream_options) == ("m", True, True)
    assert splice_usage(b'{"stream_options":"odd"}', facts) is None


@given(st.binary(max_size=80))
def test_no_bytes_raise(body):
    facts = read_request(body)
    splice_usage(body, facts)
    splice_usage(body, RequestFacts(stream=True, has_stream_options=True))
    read_request_prefix(body)


@given(MEMBERS, SPACE, st.booleans(), st.booleans(), OPTIONS, st.randoms())
def test_a_spliced_body_differs_by_the_option_alone(members, space, ascii_only, empty, options, random):
    spelled = [(key, json.dumps(value, ensure_ascii=ascii_only)) for key, value in members]
    spelled.append(("stream", "true"))
    if options is not None:
        spelled.append(("stream_options", options))
    random.shuffle(spelled)
    body = spell(spelled, space)
    facts = read_request(body)
    expected = json.loads(body)
    expected["stream_options"] = {**(expected.get("stream_options") or {}), "include_usage": True}
    if facts.problem:  # "user" drew a value that is no name: such a body is left alone
        assert splice_usage(body, facts) is None
        return
    spliced = splice_usage(body, facts)
    assert spliced is not None
    assert json.loads(spliced) == expected
    assert count_added(body, spliced) <= len(b',"stream_options":{"include_usage":true}')


def count_added(body, spliced):
    """How many bytes of the spliced body lie between what both begin with and what both end with."""
    start = 0
    while start < len(body) and body[start] == spliced[start]:
        start += 1
    rest, end = body[start:], 0
    while end < len(rest) and rest[-1 - end] == spliced[-1 - end]:
        end += 1
    return len(spliced) - start - end


@pytest.mark.parametrize(
    "body",
    [
        b'{"stream":false}',
        b'{"stream":true,"stream_options":{"include_usage":true}}',
        b'{"stream":true,"stream_options":[]}',
        b'{"stream":true,"stream_options":{"include_usage":"no"}}',
        b'{"stream":true,"stream_options":null,"stream_options":{}}',
        b'{"stream":true,"stream_options":{"include_usage":false,"include_usage":false}}',
    ],
)
def test_left_alone(body):
    assert splice_usage(body, read_request(body)) is None


def test_empty_objects_get_no_comma():
    assert splice_usage(b" { }", RequestFacts(stream=True)) == b' {"stream_options":{"include_usage":true} }'


@pytest.mark.parametrize(
    ("prefix", "model", "stream"),
    [
        (b'{"model":"m","stream":true,"messages":[{"con', "m", True),
        (b'{"messages":[{"model":"inner","stream":true}],"model":"m"  ,"x', "m", False),
        (b'{"messages":[{"content":"\\"model\\":\\"no\\" ]}{","model":"no"}', "", False),
        (b'{"messages":"cut \\"model\\": \\"no\\", ', "", False),
        (b'{"x":"cut\\', "", False),
        (b'{"x":"cut\\"', "", False),
        (b'{"a":1.5e3,"b":null,"mod\\u0065l":"m","str', "m", False),
        (b'{"model":"cut', "", False),
        (b'{"model":7,"stream":"x"}', "", False),
        (b"", "", False),
        (b"[", "", False),
    ],
)
def test_a_prefix_says_what_its_own_members_say(prefix, model, stream):
    facts = read_request_prefix(prefix)
    assert (facts.model, facts.stream) == (model, stream)
    assert facts.problem


@given(MEMBERS, SPACE, st.integers(0, 400))
def test_a_prefix_never_finds_another_model(members, space, length):
    spelled = [(key, json.dumps({"model": "inner", "x": value})) for key, value in members]
    body = spell([*spelled, ("model", '"own"'), ("stream", "true")], space)
    assert read_request_prefix(body[:length]).model in ("", "own")
    assert read_request_prefix(body).model == "own"
    assert read_request_prefix(body).stream
