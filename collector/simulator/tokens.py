"""Text to tokens and back: the simulator's own, simple, exact tokenizer, and the words it speaks.

A token is, in this order: up to 8 letters, or up to 3 digits, or one other sign, each with one space before
it if there is one; else one character of white space. Every text splits into tokens that join to the same
text, and what is generated splits into just the tokens it was made of, so that a count taken from the text
equals the count in `usage`, streamed or not.
"""

import random
import re
from hashlib import blake2b

_TOKEN = re.compile(r" ?[^\W\d_]{1,8}| ?\d{1,3}| ?_| ?[^\w\s]|\s")

# At most 8 letters each, or they would split in two.
_VOCABULARY = """
time people way water word number part sound work place year day thing man world life hand house
light head story river night sea city tree farm wind rock space hour music color table book
letter mile car road rain rule state street order north south wave glass field summer winter
spring answer question reason result value cost price model token call server cache memory batch
queue signal shape measure small large quick slow early late warm cold bright quiet plain exact
simple common open clear whole and but for with from into over under after before because while
when where which that this these
"""
_WORDS = tuple(_VOCABULARY.split())
_OPENERS = tuple(word.capitalize() for word in _WORDS)
_FOLLOWERS = tuple(" " + word for word in _WORDS)


def split_tokens(text: str) -> list[str]:
    return _TOKEN.findall(text)


def count_tokens(text: str) -> int:
    return len(_TOKEN.findall(text))


def token_numbers(text: str) -> list[int]:
    """A stable number for each token, for /tokenize."""
    return [
        int.from_bytes(blake2b(token.encode(), digest_size=2).digest(), "big") for token in split_tokens(text)
    ]


def seed_dice(seed: int, *parts: str) -> random.Random:
    """Dice that fall the same way for the same seed and the same prompt, in any process."""
    digest = blake2b("\0".join((str(seed), *parts)).encode(), digest_size=8).digest()
    return random.Random(int.from_bytes(digest, "big"))  # noqa: S311 - text, not secrets


def speak(dice: random.Random, tokens: int) -> list[str]:
    """So many tokens of sentences; the last one is a full stop when there is room for it."""
    spoken: list[str] = []
    opening = True
    left_in_sentence = 0
    while len(spoken) < tokens:
        if opening:
            spoken.append((" " if spoken else "") + dice.choice(_OPENERS))
            left_in_sentence, opening = dice.randrange(4, 12), False
        elif left_in_sentence > 0:
            spoken.append(dice.choice(_FOLLOWERS))
            left_in_sentence -= 1
        else:
            spoken.append(".")
            opening = True
    if tokens > 1:
        spoken[-1] = "." if spoken[-2] != "." else "!"
    return spoken
