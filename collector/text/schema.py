"""Does a value satisfy a JSON schema? A schema and a value come in; True, False or None (unknown) leave.

Pure. It knows the words that structured outputs and tools use. A word that it doesn't know makes the answer
unknown, never true; what fails by the words it knows is false all the same. `pattern` counts as unknown on
purpose: a regular expression out of a request could keep this process busy for ever. `format` is an
annotation, as the standard has it by default.
"""

import math
from collections.abc import Callable, Iterable
from itertools import combinations
from typing import Any

Known = bool | None
DEEPEST = 64
ANNOTATIONS = {
    *("title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly", "format"),
    *("$schema", "$id", "$comment", "$defs", "definitions", "$anchor", "contentEncoding", "contentMediaType"),
}


def satisfies(value: Any, schema: Any) -> Known:
    return check(value, schema, schema, 0)


def check(value: Any, schema: Any, root: Any, depth: int) -> Known:
    if isinstance(schema, bool):
        return schema
    if not isinstance(schema, dict) or depth > DEEPEST:
        return None
    try:
        return every(
            RULES[word](value, schema, root, depth + 1) if word in RULES else None
            for word in schema
            if word not in ANNOTATIONS
        )
    except (TypeError, ValueError, ArithmeticError, AttributeError):
        return None  # the schema itself is wrong: nothing is said of the value


def every(answers: Iterable[Known]) -> Known:
    """False if one is false, unknown if one is unknown, else true."""
    found = set(answers)
    return False if False in found else None if None in found else True


def some(answers: Iterable[Known]) -> Known:
    found = set(answers)
    return True if True in found else None if None in found else False


def is_type(value: Any, name: str) -> Known:
    if name == "integer":
        return is_number(value) and math.isfinite(value) and value == int(value)
    if name == "number":
        return is_number(value)
    kinds = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}
    return isinstance(value, kinds[name]) if name in kinds else None


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def same(one: Any, other: Any) -> bool:
    """JSON's equality: 1 is 1.0, but true is not 1."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def follow(path: str, root: Any) -> Any:
    """The schema at a local reference such as #/$defs/Item."""
    if path != "#" and not path.startswith("#/"):
        raise ValueError(path)
    found = root
    for step in path[2:].split("/") if path != "#" else ():
        found = found[step.replace("~1", "/").replace("~0", "~")]
    return found


def check_reference(value: Any, schema: Any, root: Any, depth: int) -> Known:
    try:
        return check(value, follow(schema["$ref"], root), root, depth)
    except (LookupError, TypeError, ValueError):
        return None


def check_type(value: Any, schema: Any, root: Any, depth: int) -> Known:
    names = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return some(is_type(value, name) for name in names)


def check_properties(value: Any, schema: Any, root: Any, depth: int) -> Known:
    if not isinstance(value, dict):
        return True
    known = schema["properties"]
    return every(check(value[name], known[name], root, depth) for name in known if name in value)


def check_other_properties(value: Any, schema: Any, root: Any, depth: int) -> Known:
    if not isinstance(value, dict):
        return True
    if "patternProperties" in schema:
        return None
    rest = [name for name in value if name not in schema.get("properties", {})]
    return every(check(value[name], schema["additionalProperties"], root, depth) for name in rest)


def check_items(value: Any, schema: Any, root: Any, depth: int) -> Known:
    if not isinstance(value, list):
        return True
    rest = value[len(schema.get("prefixItems", ())) :]
    return every(check(one, schema["items"], root, depth) for one in rest)


def check_first_items(value: Any, schema: Any, root: Any, depth: int) -> Known:
    if not isinstance(value, list):
        return True
    pairs = zip(value, schema["prefixItems"], strict=False)
    return every(check(one, own, root, depth) for one, own in pairs)


def check_one_of(value: Any, schema: Any, root: Any, depth: int) -> Known:
    answers = [check(value, one, root, depth) for one in schema["oneOf"]]
    if answers.count(True) > 1:
        return False
    return None if None in answers else answers.count(True) == 1


def check_not(value: Any, schema: Any, root: Any, depth: int) -> Known:
    answer = check(value, schema["not"], root, depth)
    return None if answer is None else not answer


def compare(
    word: str, kind: Callable[[Any], bool], holds: Callable[[Any, Any], bool]
) -> Callable[..., Known]:
    """A rule that speaks of one kind of values only, and lets all others pass."""
    return lambda value, schema, root, depth: not kind(value) or holds(value, schema[word])


def is_multiple(value: Any, step: Any) -> bool:
    ratio = value / step
    return bool(math.isclose(ratio, round(ratio), rel_tol=1e-12, abs_tol=1e-12))


def is_unique(value: list[Any], wanted: bool) -> bool:
    return not wanted or not any(same(one, other) for one, other in combinations(value[:1000], 2))


def of(kind: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, kind)


RULES: dict[str, Callable[..., Known]] = {
    "$ref": check_reference,
    "type": check_type,
    "enum": lambda value, schema, root, depth: any(same(value, one) for one in schema["enum"]),
    "const": lambda value, schema, root, depth: same(value, schema["const"]),
    "properties": check_properties,
    "additionalProperties": check_other_properties,
    "required": compare("required", of(dict), lambda value, names: all(name in value for name in names)),
    "items": check_items,
    "prefixItems": check_first_items,
    "allOf": lambda value, schema, root, depth: every(
        check(value, one, root, depth) for one in schema["allOf"]
    ),
    "anyOf": lambda value, schema, root, depth: some(
        check(value, one, root, depth) for one in schema["anyOf"]
    ),
    "oneOf": check_one_of,
    "not": check_not,
    "minimum": compare("minimum", is_number, lambda value, least: value >= least),
    "maximum": compare("maximum", is_number, lambda value, most: value <= most),
    "exclusiveMinimum": compare("exclusiveMinimum", is_number, lambda value, least: value > least),
    "exclusiveMaximum": compare("exclusiveMaximum", is_number, lambda value, most: value < most),
    "multipleOf": compare("multipleOf", is_number, is_multiple),
    "minLength": compare("minLength", of(str), lambda value, least: len(value) >= least),
    "maxLength": compare("maxLength", of(str), lambda value, most: len(value) <= most),
    "minItems": compare("minItems", of(list), lambda value, least: len(value) >= least),
    "maxItems": compare("maxItems", of(list), lambda value, most: len(value) <= most),
    "uniqueItems": compare("uniqueItems", of(list), is_unique),
    "minProperties": compare("minProperties", of(dict), lambda value, least: len(value) >= least),
    "maxProperties": compare("maxProperties", of(dict), lambda value, most: len(value) <= most),
}
