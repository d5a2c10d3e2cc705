from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.text.schema import satisfies

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "minLength": 1}, "age": {"type": "integer", "minimum": 0}},
    "required": ["name"],
    "additionalProperties": False,
}
TREE = {"$defs": {"node": {"type": "array", "items": {"$ref": "#/$defs/node"}}}, "$ref": "#/$defs/node"}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
)


@pytest.mark.parametrize(
    ("value", "schema", "answer"),
    [
        ({"name": "A", "age": 3}, PERSON, True),
        ({"name": "A", "age": 3.0}, PERSON, True),
        ({"name": ""}, PERSON, False),
        ({"age": 3}, PERSON, False),
        ({"name": "A", "age": -1}, PERSON, False),
        ({"name": "A", "age": True}, PERSON, False),
        ({"name": "A", "more": 1}, PERSON, False),
        ([], PERSON, False),
        ([[], [[]]], TREE, True),
        ([[], [1]], TREE, False),
        (1, {"enum": [True, "1"]}, False),
        (1, {"enum": [1.0]}, True),
        (None, {"type": ["string", "null"]}, True),
        (2, {"oneOf": [{"type": "integer"}, {"minimum": 1}]}, False),
        (2, {"anyOf": [{"type": "string"}, {"minimum": 1}]}, True),
        (2, {"not": {"type": "integer"}}, False),
        (0.3, {"multipleOf": 0.1}, True),
        ([1, True], {"uniqueItems": True}, True),
        ([1, 1.0], {"uniqueItems": True}, False),
        ([1, "a", "b"], {"prefixItems": [{"type": "integer"}], "items": {"type": "string"}}, True),
        (["a"], {"prefixItems": [{"type": "integer"}]}, False),
        ("abc", {"maxLength": 2}, False),
        (5, {"exclusiveMaximum": 5}, False),
        ({}, {"minProperties": 1}, False),
        ("anything", True, True),
        ("anything", False, False),
    ],
)
def test_what_satisfies(value: Any, schema: Any, answer: bool) -> None:
    assert satisfies(value, schema) is answer


@pytest.mark.parametrize(
    "schema",
    [
        {"pattern": "^(a+)+$"},
        {"type": "string", "contains": 1},
        {"$ref": "https://elsewhere"},
        {"$ref": "#/missing"},
        {"$ref": "#"},
        {"type": "strange"},
        {"minLength": "two"},
        {"enum": 5},
        "no schema",
        {"not": {"pattern": "x"}},
    ],
)
def test_what_is_not_known_is_neither_true_nor_false(schema: Any) -> None:
    assert satisfies("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!", schema) is None


def test_a_known_fault_outweighs_an_unknown_word() -> None:
    assert satisfies(1, {"pattern": "x", "type": "string"}) is False
    assert satisfies(1, {"anyOf": [{"contains": 1}, {"type": "integer"}]}) is True


@given(VALUES)
def test_a_value_is_itself_and_nothing_breaks(value: Any) -> None:
    assert satisfies(value, {"const": value}) is True
    assert satisfies(value, {"not": {"const": value}}) is False
    for schema in (PERSON, TREE):
        assert satisfies(value, schema) in {True, False}


@given(VALUES, VALUES)
def test_any_schema_gives_an_answer(value: Any, schema: Any) -> None:
    assert satisfies(value, schema) in {True, False, None}
