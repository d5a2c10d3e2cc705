"""What the simulated model says: an Ask enters, Drafts leave, the same ones for the same seed and prompt.

Streamed or not, the tokens are these; a dialect only wraps them.
"""

import json
import random
from typing import Any

import msgspec

from collector.simulator.ask import Ask
from collector.simulator.tokens import seed_dice, speak, split_tokens


class Draft(msgspec.Struct, kw_only=True):
    tokens: list[str]
    finish: str  # stop, length, tool_calls, content_filter
    tool: str = ""  # the function called; then the tokens are its arguments
    reasoning_tokens: int = 0

    @property
    def text(self) -> str:
        return "".join(self.tokens)

    @property
    def output_tokens(self) -> int:
        return len(self.tokens) + self.reasoning_tokens

    def chunks(self, tokens_per_chunk: int) -> list[tuple[str, int]]:
        """Texts to send one by one, and how many tokens each holds."""
        return [
            ("".join(group), len(group))
            for at in range(0, len(self.tokens), tokens_per_chunk)
            if (group := self.tokens[at : at + tokens_per_chunk])
        ]


def draft(ask: Ask, index: int = 0, prompt: str | None = None) -> Draft:
    dice = seed_dice(ask.behaviour.seed, ask.model, ask.prompt if prompt is None else prompt, str(index))
    tool = _choose_tool(ask)
    tokens, finish = _think(ask, dice, tool)
    reasoning = ask.sim.reasoning or 0
    if ask.max_tokens is not None and reasoning + len(tokens) > ask.max_tokens:
        reasoning = min(reasoning, ask.max_tokens)
        tokens, finish = tokens[: ask.max_tokens - reasoning], "length"
    if ask.sim.huge_kb and tokens:
        tokens = ["x" * (1024 * ask.sim.huge_kb) + tokens[0], *tokens[1:]]
    name = tool["name"] if tool else ""
    return Draft(tokens=tokens, finish=ask.sim.finish or finish, tool=name, reasoning_tokens=reasoning)


def _think(ask: Ask, dice: random.Random, tool: dict[str, Any] | None) -> tuple[list[str], str]:
    schema = tool.get("parameters") or tool.get("input_schema") or {} if tool else _find_schema(ask.body)
    if schema is not None:
        return split_tokens(json.dumps(fill_schema(schema, dice))), "tool_calls" if tool else "stop"
    wanted = ask.sim.tokens
    if wanted is None:
        wanted = ask.behaviour.tokens if ask.behaviour.tokens is not None else dice.randrange(16, 65)
        if ask.body.get("ignore_eos") is True and ask.max_tokens is not None:
            wanted = ask.max_tokens
    return speak(dice, wanted), "stop"


def _choose_tool(ask: Ask) -> dict[str, Any] | None:
    """The tool that tool_choice demands; with auto none, unless a directive says so."""
    tools = [tool.get("function", tool) for tool in ask.body.get("tools") or () if isinstance(tool, dict)]
    tools = [tool for tool in tools if "name" in tool]
    choice = ask.body.get("tool_choice", "auto")
    kind = choice.get("type") if isinstance(choice, dict) else choice
    if not tools or kind == "none" or (kind == "auto" and not ask.sim.tool):
        return None
    named = choice.get("function", choice).get("name") if isinstance(choice, dict) else None
    chosen: dict[str, Any] = next((tool for tool in tools if tool["name"] == named), tools[0])
    return chosen


def _find_schema(body: dict[str, Any]) -> dict[str, Any] | None:
    wanted = body.get("response_format") or (body.get("text") or {}).get("format") or {}
    if body.get("output_config"):
        wanted = body["output_config"].get("format") or {}
    if wanted.get("type") == "json_object":
        return {"type": "object", "properties": {"answer": {"type": "string"}}}
    if wanted.get("type") != "json_schema":
        return None
    found: dict[str, Any] = wanted.get("json_schema", wanted).get("schema", {})
    return found


def fill_schema(schema: dict[str, Any], dice: random.Random, root: dict[str, Any] | None = None) -> Any:
    """A value that the JSON schema accepts (the common words of the language)."""
    root = schema if root is None else root
    if "$ref" in schema:
        return fill_schema(_follow(schema["$ref"], root), dice, root)
    for choices in ("anyOf", "oneOf"):
        if schema.get(choices):
            return fill_schema(schema[choices][0], dice, root)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return dice.choice(schema["enum"])
    return _fill_plain(schema, dice, root)


def _fill_plain(schema: dict[str, Any], dice: random.Random, root: dict[str, Any]) -> Any:
    kind = schema.get("type", "object")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        return {name: fill_schema(part, dice, root) for name, part in schema.get("properties", {}).items()}
    if kind == "array":
        return [
            fill_schema(schema.get("items", {"type": "string"}), dice, root)
            for _ in range(schema.get("minItems", 1))
        ]
    if kind in ("integer", "number"):
        low = int(schema.get("minimum", 0))
        number = dice.randint(low, int(schema.get("maximum", low + 100)))
        return number if kind == "integer" else float(number)
    if kind == "string":
        text = "".join(speak(dice, 3)).ljust(schema.get("minLength", 0), "x")
        return text[: schema.get("maxLength", len(text))]
    return None if kind == "null" else dice.random() < 0.5


def _follow(ref: str, root: dict[str, Any]) -> dict[str, Any]:
    found = root
    for step in ref.removeprefix("#/").split("/"):
        found = found[step]
    return found
