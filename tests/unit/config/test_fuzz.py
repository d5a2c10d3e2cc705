"""Whatever stands in the file or in a variable: a Config or a ConfigError, never anything else."""

import json
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from collector.config import load_config, make_plan
from collector.config.environment import _all_variables
from collector.config.model import Config
from collector.errors import ConfigError

SOME = ["listen", "workers", "url", "key", "to", "headers", "key_file", "a", "", "limits", "dir"]
KEYS = st.sampled_from([*Config.model_fields, *SOME])
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)


def trees(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(leaves, lambda b: st.lists(b, max_size=3) | st.dictionaries(KEYS, b, max_size=4))


TREES = trees(LEAVES | st.dates())
VALUES = st.text(st.characters(codec="ascii"), max_size=20) | trees(LEAVES).map(json.dumps)
VARIABLES = st.sampled_from(sorted(_all_variables()))


def load(text: str, **variables: str) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".yaml", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        with suppress(ConfigError):
            make_plan(load_config(Path(file.name), environ=variables).config)


@given(st.dictionaries(KEYS, TREES, max_size=5))
def test_any_tree(tree: dict[str, Any]) -> None:
    load(yaml.safe_dump(tree))


@given(st.text(alphabet="abkey:-[]{}&*!<>|#'\"%@` \n\t,?01.~", max_size=60))
def test_any_text(text: str) -> None:
    load(text)


@given(VARIABLES, VALUES)
def test_any_variable(name: str, value: str) -> None:
    load("", **{name: value})


@given(VARIABLES, st.text("ABC_", min_size=1, max_size=12))
def test_any_name_below_a_variable(name: str, more: str) -> None:
    load("", **{name + more: "1", f"{name}__{more}": "{}"})
