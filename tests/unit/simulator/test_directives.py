import pytest

from collector.simulator.directives import DirectiveError, Directives, find_directives, parse_directives


def test_words_become_values() -> None:
    wishes = parse_directives("tokens=64 gap_ms=2.5 usage=none crlf=1 gzip=force status=429")
    assert (wishes.tokens, wishes.gap_ms, wishes.usage) == (64, 2.5, "none")
    assert (wishes.crlf, wishes.gzip, wishes.status) == (True, "force", 429)


def test_the_later_text_wins_word_by_word() -> None:
    wishes = parse_directives("tokens=1 cached=5", "tokens=2")
    assert (wishes.tokens, wishes.cached) == (2, 5)


def test_no_text_no_wishes() -> None:
    assert parse_directives("", "  ") == Directives()


@pytest.mark.parametrize(
    "text",
    ["tokns=3", "tokens", "tokens=", "tokens=-1", "tokens=many", "usage=some", "status=200", "crlf=2", "=3"],
)
def test_what_is_not_known_is_refused_with_what_is(text: str) -> None:
    with pytest.raises(DirectiveError, match=r"allowed: .*tokens=N.*usage=every\|last\|none\|with_choices"):
        parse_directives(text)


def test_directives_are_found_in_prompts() -> None:
    assert find_directives("a [[sim: tokens=3]] b [[sim:cached=2]]") == [" tokens=3", "cached=2"]
    assert find_directives("nothing [[other: x]]") == []
