import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.text.heuristics import Answer, ToolCall, ends_in_loop, perplexity, read_signs
from collector.text.language import find_language
from collector.text.refusals import PHRASES, is_refusal

REFUSALS = {
    "en": "I’m sorry, but I can’t help with that.",
    "de": "Es tut mir leid, aber dabei kann ich Ihnen nicht helfen.",
    "fr": "Désolé, mais je ne peux pas répondre à cette demande.",
    "es": "Lo siento, pero no puedo ayudarte con eso.",
    "it": "Mi dispiace, ma non posso aiutarti con questa richiesta.",
    "pt": "Desculpe, mas não posso ajudar com isso.",
    "nl": "Het spijt me, maar daar kan ik je niet mee helpen.",
    "pl": "Przykro mi, ale nie mogę w tym pomóc.",
    "tr": "Üzgünüm, bu konuda yardımcı olamam.",
    "ru": "Извините, но я не могу помочь с этим.",
    "zh": "抱歉,我无法提供这方面的帮助。",
    "ja": "申し訳ありませんが、そのご依頼にはお応えできません。",
    "ko": "죄송하지만 그 요청은 도와드릴 수 없습니다.",
    "ar": "آسف، لا أستطيع مساعدتك في ذلك.",
    "hi": "क्षमा करें, मैं इसमें आपकी मदद नहीं कर सकता।",
}
HELPFUL = [
    "I can't help but notice how well this fits: here is the plan you asked for.",
    "Sorry for the delay! Here is the summary.",
    "Sure, here is the code you asked for.",
    "Das kann man nicht oft genug sagen: Übung macht den Meister.",
    "La réponse est 42.",
    "The patient said: 'no puedo dormir'. " * 2,
    "我可以帮助你。",
]
TEXTS = {
    "en": "The cost of the call is shown on the page, and it is not what you would have paid for this.",
    "de": "Der Preis wird auf der Seite gezeigt, und er ist nicht das, was sie für die Anfrage zahlen.",
    "fr": "Le prix est dans la page, et ce n'est pas une erreur que vous pouvez corriger avec les données.",
    "es": "El precio está en la página, y no es lo que los usuarios pagan por las llamadas con una clave.",
    "it": "Il prezzo è nella pagina, ma non sono questi i dati che gli utenti vedono con una chiave.",
    "ru": "Цена указана на странице.",
    "zh": "价格显示在页面上。",
    "ja": "価格はページに表示されています。",
    "ko": "가격은 페이지에 표시됩니다.",
    "ar": "السعر معروض في الصفحة.",
}


@pytest.mark.parametrize("language", REFUSALS)
def test_refusals_in_each_language(language: str) -> None:
    assert is_refusal(REFUSALS[language])
    assert not is_refusal("x" * 300 + REFUSALS[language])


def test_every_language_with_phrases_is_tested() -> None:
    assert REFUSALS.keys() == PHRASES.keys()


@pytest.mark.parametrize("text", HELPFUL)
def test_help_is_no_refusal(text: str) -> None:
    assert not is_refusal(text)


@pytest.mark.parametrize("language", TEXTS)
def test_languages(language: str) -> None:
    assert find_language(TEXTS[language]) == language


@pytest.mark.parametrize(
    "text", ["", "42", "ok", "for i in range(3): print(i)", "```python\nthe of and to in is that it\n```"]
)
def test_what_is_no_language_stays_unknown(text: str) -> None:
    assert find_language(text) == ""


def test_a_switch_of_language() -> None:
    assert read_signs(Answer(TEXTS["de"], prompt=TEXTS["en"])).switched_language is True
    assert read_signs(Answer(TEXTS["en"], prompt=TEXTS["en"])).switched_language is False
    assert read_signs(Answer("42", prompt=TEXTS["en"])).switched_language is None


def test_a_good_answer_has_no_fault_and_what_was_not_asked_is_unknown() -> None:
    signs = read_signs(Answer(TEXTS["en"], finish_reason="stop"))
    assert (signs.error, signs.empty, signs.truncated, signs.refused, signs.repetitive) == (False,) * 5
    assert (signs.bad_json, signs.bad_schema, signs.bad_tool_call, signs.perplexity) == (None,) * 4


def test_an_error_is_one_fault() -> None:
    signs = read_signs(Answer("", failed=True))
    assert signs.error is True
    assert set(signs[1:]) == {None}


@pytest.mark.parametrize(
    ("reason", "truncated"),
    [("length", True), ("max_tokens", True), ("stop", False), ("tool_calls", False), ("", None)],
)
def test_truncation(reason: str, truncated: bool | None) -> None:
    assert read_signs(Answer("x", finish_reason=reason)).truncated is truncated


def test_empty_is_not_empty_with_a_tool_call() -> None:
    assert read_signs(Answer(" \n")).empty is True
    signs = read_signs(Answer("", tool_calls=[ToolCall("f", "{}")], wants_json=True))
    assert (signs.empty, signs.bad_json, signs.refused) == (False, None, None)


@pytest.mark.parametrize(
    ("text", "schema", "bad_json", "bad_schema"),
    [
        ('{"a": 1}', {"type": "object"}, False, False),
        ('{"a": 1}', {"type": "array"}, False, True),
        ('{"a": 1}', {"pattern": "x"}, False, None),
        ('{"a": 1}', None, False, None),
        ('{"a": NaN}', None, True, None),
        ('```json\n{"a": 1}\n```', {"type": "object"}, True, True),
        ("[" * 100_000, None, True, None),
        ("", None, True, None),
    ],
)
def test_json(text: str, schema: Any, bad_json: bool | None, bad_schema: bool | None) -> None:
    signs = read_signs(Answer(text, wants_json=True, schema=schema))
    assert (signs.bad_json, signs.bad_schema) == (bad_json, bad_schema)


TOOLS = {"find": {"type": "object", "required": ["q"]}, "free": None}


@pytest.mark.parametrize(
    ("calls", "tools", "bad"),
    [
        ([ToolCall("find", '{"q": 1}')], TOOLS, False),
        ([ToolCall("free", "")], TOOLS, False),
        ([ToolCall("find", "{}")], TOOLS, True),
        ([ToolCall("find", '{"q":')], TOOLS, True),
        ([ToolCall("find", "[1]")], TOOLS, True),
        ([ToolCall("made_up", "{}")], TOOLS, True),
        ([ToolCall("find", '{"q": 1}'), ToolCall("find", "{}")], TOOLS, True),
        ([ToolCall("find", '{"q": 1}')], None, None),
        ([ToolCall("find", "{")], None, True),
        ([], TOOLS, None),
    ],
)
def test_tool_calls(calls: list[ToolCall], tools: Any, bad: bool | None) -> None:
    assert read_signs(Answer("", tool_calls=calls, tools=tools)).bad_tool_call is bad


@pytest.mark.parametrize(
    ("text", "repetitive"),
    [
        ("Here is what I found. " + "the same again and " * 40, True),
        ("我觉得很好" * 60, True),
        ("aaaaaaaa" * 30, True),
        ("A table\n" + "-" * 400, False),
        (TEXTS["en"], False),
        (" ".join(f"line {n} is about the number {n * 7}" for n in range(60)), False),
        (
            " ".join(["yes we can do this now or", "later when it is done so"][n % 2] for n in range(60))
            + " end",
            True,
        ),
    ],
)
def test_repetition(text: str, repetitive: bool) -> None:
    assert read_signs(Answer(text)).repetitive is repetitive


@given(
    st.text(min_size=1, max_size=40).filter(lambda text: any(one.isalnum() for one in text)),
    st.text(max_size=60),
)
def test_a_loop_is_found_behind_anything(piece: str, before: str) -> None:
    piece = piece.strip() + "x"
    assert ends_in_loop(before + piece * max(4, math.ceil(120 / len(piece))))


@given(st.text(max_size=400), st.text(max_size=100))
def test_no_text_breaks_it(text: str, prompt: str) -> None:
    signs = read_signs(Answer(text, prompt=prompt, wants_json=True))
    assert signs.length_chars == len(text)


def test_perplexity() -> None:
    assert perplexity([math.log(0.5)] * 3) == pytest.approx(2)
    assert perplexity([]) is None
    assert perplexity([float("-inf"), float("nan")]) is None
    assert perplexity([-1e9]) == pytest.approx(math.exp(700))
