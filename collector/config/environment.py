"""`SIZEWISE_*` variables as a source of the configuration.

`SIZEWISE_RELAY__LISTEN` is `relay.listen`; lists and tables are written as JSON; `..._FILE` names a file that
holds the value. Every variable is matched against the model, since a mistyped one would otherwise be ignored
in silence. An empty variable counts as not given: compose files pass those on for whatever is unset.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel

from collector.config.model import Config
from collector.config.sources import Key, Origin, Problem, Source, did_you_mean, read_secret_file

PREFIX = "SIZEWISE_"
NOT_SETTINGS = {"SIZEWISE_CONFIG", "SIZEWISE_POSTGRES_USER"}  # the second is read by collector.store
ALIASES = {"SIZEWISE_DATABASE_URL": "SIZEWISE_DATABASE__URL"}


def read_environment(environ: Mapping[str, str], names: Mapping[str, str] | None = None) -> Source:
    """`names`: how upstreams are called in the file, by their upper-case form without punctuation."""
    source = Source()
    for variable in sorted(environ):
        if variable.startswith(PREFIX) and variable not in NOT_SETTINGS and environ[variable]:
            _read_variable(variable, environ[variable], names or {}, source)
    return source


def variable_form(name: str) -> str:
    """vllm-8b -> VLLM_8B: no shell takes a dash in a variable's name."""
    return "".join(c if c.isalnum() else "_" for c in name).upper()


def _read_variable(variable: str, text: str, names: Mapping[str, str], source: Source) -> None:
    origin = Origin(variable=variable)
    canonical = variable
    for alias, whole in ALIASES.items():
        if variable in {alias, alias + "_FILE"}:
            canonical = variable.replace(alias, whole)
    key, leaf = _resolve(canonical, names)
    from_file = False
    if key is None and canonical.endswith("_FILE"):
        key, leaf = _resolve(canonical.removesuffix("_FILE"), names)
        from_file = True
    if key is None:
        hint = _hint(canonical) or "`sizewise config show` lists all settings"
        source.problems.append(Problem(variable, "", f"no such setting; {hint}", origin))
        return
    try:
        value = read_secret_file(Path(text), source) if from_file else text
    except (OSError, UnicodeDecodeError) as problem:
        source.problems.append(Problem(variable, text, f"can't be read: {problem}", origin))
        return
    if not _place(source.values, key, _parse(value, leaf)):
        source.problems.append(Problem(variable, "", "another variable sets the whole of it already", origin))
    source.origins[key] = origin


def _hint(variable: str) -> str:
    """Compared without the prefix, which would make everything look alike."""
    known = [name.removeprefix(PREFIX) for name in _all_variables()]
    return did_you_mean(variable.removeprefix(PREFIX), known).replace(
        "did you mean ", f"did you mean {PREFIX}"
    )


def _parse(text: str, annotation: Any) -> Any:
    """Text, save where a list or a table is wanted; what isn't JSON then is left to the model to refuse."""
    if _is_text(annotation):
        is_path = annotation is Path or Path in get_args(annotation)
        return str(Path(text).expanduser().absolute()) if is_path else text
    try:
        return json.loads(text)
    except ValueError:
        return text


def _place(values: dict[Any, Any], key: Key, value: Any) -> bool:
    for part in key[:-1]:
        below = values.setdefault(part, {})
        if not isinstance(below, dict):
            return False
        values = below
    if isinstance(value, dict) and key[-1] in values:
        return False
    values[key[-1]] = value
    return True


def _resolve(variable: str, names: Mapping[str, str]) -> tuple[Key | None, Any]:
    """The key a variable stands for and its annotation; None when the model has no such key."""
    parts = variable.removeprefix(PREFIX).split("__")
    annotation: Any = Config
    key: list[str] = []
    for part in parts:
        model = _model_of(annotation)
        if model is not None:
            name = part.lower()
            if name not in model.model_fields:
                return None, None
            annotation = model.model_fields[name].annotation
        elif get_origin(annotation) is dict and part:
            name = names.get(part, part.lower()) if key == ["upstreams"] else part.lower().replace("_", "-")
            annotation = _unwrap(get_args(annotation)[1])
        else:
            return None, None
        key.append(name)
    return tuple(key), annotation


def _unwrap(annotation: Any) -> Any:
    return get_args(annotation)[0] if hasattr(annotation, "__metadata__") else annotation


def _model_of(annotation: Any) -> type[BaseModel] | None:
    options = get_args(annotation) if get_origin(annotation) in {Union, UnionType} else (annotation,)
    for option in options:
        if isinstance(option, type) and issubclass(option, BaseModel):
            return option
    return None


def _is_text(annotation: Any) -> bool:
    if get_origin(annotation) in {Union, UnionType}:
        return all(_is_text(option) for option in get_args(annotation) if option is not NoneType)
    return _model_of(annotation) is None and get_origin(annotation) not in {dict, list}


def _all_variables(model: type[BaseModel] = Config, prefix: str = PREFIX) -> Iterator[str]:
    for name, info in model.model_fields.items():
        variable = prefix + name.upper()
        section = _model_of(info.annotation)
        yield variable
        if section is not None:
            yield from _all_variables(section, variable + "__")
