from hypothesis import given
from hypothesis import strategies as st

from collector.simulator.tokens import count_tokens, seed_dice, speak, split_tokens


@given(st.text())
def test_every_text_is_the_join_of_its_tokens(text: str) -> None:
    assert "".join(split_tokens(text)) == text


@given(st.integers(), st.text(max_size=20), st.integers(0, 300))
def test_what_is_spoken_splits_into_what_it_was_made_of(seed: int, prompt: str, tokens: int) -> None:
    spoken = speak(seed_dice(seed, prompt), tokens)
    assert len(spoken) == tokens
    assert split_tokens("".join(spoken)) == spoken


def test_same_seed_and_prompt_same_words() -> None:
    assert speak(seed_dice(1, "a", "b"), 50) == speak(seed_dice(1, "a", "b"), 50)
    assert speak(seed_dice(1, "a", "b"), 50) != speak(seed_dice(2, "a", "b"), 50)
    assert speak(seed_dice(1, "a", "b"), 50) != speak(seed_dice(1, "ab"), 50)


def test_counts_that_a_reader_can_check() -> None:
    assert split_tokens("Say hello, 12345 x_!") == ["Say", " hello", ",", " 123", "45", " x", "_", "!"]
    assert count_tokens("internationalization") == 3
    assert count_tokens("") == 0
