"""Where values come from: the YAML file with its line numbers, and the `SIZEWISE_*` variables.

Out of each: one nested dict of raw values, where every leaf stands (`Origin`), and the problems found on the
way. Nothing is raised for a bad value, because all problems are to be shown at once. Nothing here knows what
a value should be, except that variables are matched against the model's keys (a mistyped one would otherwise
be ignored in silence).
"""

import difflib
import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

Key = tuple[str | int, ...]
VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
PATH_KEYS = {"state_dir", "dir", "data_dir", "ca_file", "cert", "cert_key", "client_ca"}


@dataclass(frozen=True)
class Origin:
    """Where a value stands: a line of the file, a variable, the command line, or nowhere (a default)."""

    file: Path | None = None
    line: int = 0
    variable: str = ""
    text: str = "default"

    def __str__(self) -> str:
        if self.file:
            return f"{self.file}:{self.line}"
        return self.variable or self.text


@dataclass(frozen=True)
class Problem:
    key: str
    value: str  # as shown; masked for a secret, empty where there is none to show
    what: str
    origin: Origin

    def __str__(self) -> str:
        shown = f" = {self.value}" if self.value else ""
        where = "" if str(self.origin) == self.key else f" ({self.origin})"
        return f"{self.key}{shown}{where}: {self.what}"


@dataclass
class Source:
    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[Key, Origin] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def dotted(key: Key) -> str:
    text = ""
    for part in key:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def did_you_mean(wrong: str, allowed: Iterable[str]) -> str:
    close = difflib.get_close_matches(wrong, list(allowed), n=1, cutoff=0.6)
    return f"did you mean {close[0]}?" if close else ""


def find_origin(origins: Mapping[Key, Origin], key: Key) -> Origin:
    """Of the key itself, else of the nearest thing around it that stands somewhere."""
    for end in range(len(key), 0, -1):
        if key[:end] in origins:
            return origins[key[:end]]
    return Origin()


def read_secret_file(path: Path, source: Source) -> str:
    """Without the last line end, which editors add. Raises OSError or UnicodeDecodeError."""
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        source.warnings.append(f"{path} holds a secret and others can read it: chmod 600 {path}")
    return path.read_text().rstrip("\r\n")


def read_yaml(path: Path, environ: Mapping[str, str]) -> Source:
    return _YamlReader(path, environ).read()


class _YamlReader:
    def __init__(self, path: Path, environ: Mapping[str, str]) -> None:
        self.path = path
        self.environ = environ
        self.source = Source()
        self.loader: yaml.SafeLoader

    def read(self) -> Source:
        try:
            text = self.path.read_text()
            self.loader = yaml.SafeLoader(text)
            root = self.loader.get_single_node()
        except yaml.MarkedYAMLError as problem:
            mark = problem.problem_mark or problem.context_mark
            self._refuse((), "", f"not YAML: {problem.problem or problem.context}", mark)
        except (OSError, ValueError, yaml.YAMLError) as problem:
            self._refuse((), "", f"can't be read: {problem}", None)
        else:
            if isinstance(root, yaml.MappingNode):
                self.source.values = self._walk(root, (), frozenset())
            elif root is not None and root.value not in ("", "~", "null"):
                self._refuse((), "", "allowed is a mapping of sections (KEY: VALUE)", root.start_mark)
        return self.source

    def _walk(self, node: yaml.Node, key: Key, above: frozenset[int]) -> Any:
        self.source.origins[key] = Origin(self.path, node.start_mark.line + 1)
        if id(node) in above:
            return self._refuse(key, "", "an alias that contains itself", node.start_mark)
        above = above | {id(node)}
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, key, above)
        if isinstance(node, yaml.SequenceNode):
            return [self._walk(item, (*key, i), above) for i, item in enumerate(node.value)]
        return self._scalar(node, key)

    def _mapping(self, node: yaml.MappingNode, key: Key, above: frozenset[int]) -> dict[str, Any]:
        seen: dict[str, int] = {}
        for name_node, _ in node.value:
            name = str(name_node.value)
            if name in seen and name != "<<":
                what = f"given twice in one mapping (first in line {seen[name]})"
                self._refuse((*key, name), "", what, name_node.start_mark)
            seen.setdefault(name, name_node.start_mark.line + 1)
        try:
            self.loader.flatten_mapping(node)
        except yaml.MarkedYAMLError as problem:
            self._refuse(key, "", f"not YAML: {problem.problem}", problem.problem_mark)
        found: dict[str, Any] = {}
        for name_node, value_node in node.value:
            name = str(name_node.value)
            value = self._walk(value_node, (*key, name), above)
            self.source.origins[(*key, name)] = Origin(self.path, name_node.start_mark.line + 1)
            if value is not None:  # `relay:` with nothing below it is as good as not there
                found[name] = value
        if "key_file" in found and len(key) == 2 and key[0] == "upstreams":
            self._read_key_file(found, key)
        return found

    def _scalar(self, node: yaml.Node, key: Key) -> Any:
        try:
            value = self.loader.construct_object(node)
        except (yaml.YAMLError, ValueError):
            return self._refuse(key, "", "not a value that YAML can hold without a tag", node.start_mark)
        if not isinstance(value, str):
            return value
        value = VARIABLE.sub(lambda match: self._variable(match[1], key, node), value)
        is_path = key and (key[-1] in PATH_KEYS or key == ("relay", "tls", "key") or key[-2:-1] == ("books",))
        if value and is_path:
            return str(self._path(value))
        return value

    def _variable(self, name: str, key: Key, node: yaml.Node) -> str:
        if name not in self.environ:
            self._refuse(key, f"${{{name}}}", f"the variable {name} is not set", node.start_mark)
        return self.environ.get(name, "")

    def _path(self, text: str) -> Path:
        """Relative to the file that names it, wherever the command was started."""
        return (self.path.absolute().parent / Path(text).expanduser()).absolute()

    def _read_key_file(self, found: dict[str, Any], key: Key) -> None:
        named = found.pop("key_file")
        origin = self.source.origins[(*key, "key_file")]
        where = dotted((*key, "key_file"))
        if not isinstance(named, str):
            self.source.problems.append(Problem(where, repr(named), "allowed is the path of a file", origin))
            return
        if found.get("key"):
            self.source.problems.append(Problem(where, "", "`key` is given too: keep one of them", origin))
            return
        try:
            found["key"] = read_secret_file(self._path(named), self.source)
        except (OSError, UnicodeDecodeError) as problem:
            self.source.problems.append(Problem(where, named, f"can't be read: {problem}", origin))
        self.source.origins[(*key, "key")] = origin

    def _refuse(self, key: Key, value: str, what: str, mark: Any) -> None:
        line = mark.line + 1 if mark else 1
        name = dotted(key) or str(self.path.name)
        self.source.problems.append(Problem(name, value, what, Origin(self.path, line)))
