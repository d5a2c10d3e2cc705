"""Who may read and write: the state's folder and the journal are ours alone, and so is every secret.

"May" is asked for the user that runs the doctor: run it as the user that runs Sizewise.
"""

import os
import stat
from collections.abc import Iterable
from pathlib import Path

import msgspec

from collector.config import Loaded
from collector.doctor.finding import Finding, ok, problem

OTHERS = 0o077


class PathFact(msgspec.Struct, frozen=True):
    what: str  # "the state", "the journal", "a secret"
    setting: str
    path: str
    exists: bool
    mode: int = 0
    uid: int = 0
    writable: bool = True
    readable: bool = True
    is_folder: bool = True
    closed_above: str = ""  # where it is not there: the folder in which it can't be made


def gather(loaded: Loaded) -> list[PathFact]:
    config = loaded.config
    facts = [
        look("the state", "state_dir", config.state_dir),
        look("the journal", "journal.dir", config.journal.dir),
    ]
    secrets = [config.state_dir / "hash_secret"]
    run = config.state_dir / "run"
    secrets += [path for name in ("config.json", "plan.json") for path in sorted(_find(run, name))]
    if loaded.file is not None and _holds_secret(loaded, loaded.file):
        secrets.append(loaded.file)  # files that a setting names are looked at when they are read
    return facts + [look("a secret", "", path) for path in secrets if os.path.lexists(path)]


def look(what: str, setting: str, path: Path) -> PathFact:
    try:
        status = path.stat()
    except FileNotFoundError:
        above = next(folder for folder in path.parents if folder.exists())
        closed = "" if above.is_dir() and _may(above, os.W_OK | os.X_OK) else str(above)
        return PathFact(what, setting, str(path), False, closed_above=closed)
    except (PermissionError, NotADirectoryError):
        closed = next(str(folder) for folder in path.parents if _is_there(folder))
        return PathFact(what, setting, str(path), False, closed_above=closed)
    folder = stat.S_ISDIR(status.st_mode)
    return PathFact(
        what=what,
        setting=setting,
        path=str(path),
        exists=True,
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        writable=_may(path, os.W_OK | os.X_OK if folder else os.W_OK),
        readable=_may(path, os.R_OK),
        is_folder=folder,
    )


def _may(path: Path, bits: int) -> bool:
    return os.access(path, bits, effective_ids=True)


def _is_there(path: Path) -> bool:
    try:
        path.stat()
    except OSError:
        return False
    return True


def _find(run: Path, name: str) -> list[Path]:
    try:
        return list(run.rglob(name))
    except OSError:
        return []


def _holds_secret(loaded: Loaded, file: Path) -> bool:
    config = loaded.config
    secrets = [config.hash_secret, config.database.url]
    for upstream in config.upstreams.values():
        secrets += [upstream.key, *upstream.headers.values()]
    try:
        text = file.read_text("utf-8", "replace")
    except OSError:
        return False
    return any(secret.get_secret_value() and secret.get_secret_value() in text for secret in secrets)


def judge(facts: Iterable[PathFact], uid: int) -> list[Finding]:
    listed = list(facts)
    found = [finding for fact in listed for finding in _judge(fact, uid)]
    if found:
        return found
    there = [fact.path for fact in listed if fact.exists]
    made = [fact.path for fact in listed if not fact.exists]
    said = [f"ours alone: {', '.join(there)}"] if there else []
    said += [f"can be made: {', '.join(made)}"] if made else []
    return [ok("permissions.right", "; ".join(said))]


def _judge(fact: PathFact, uid: int) -> list[Finding]:
    about, path = fact.setting, fact.path
    if not fact.exists:
        if not fact.closed_above:
            return []
        text = f"{path} can't be made: {fact.closed_above} is closed to this user (uid {uid})"
        return [_closed(fact, text, f"chown {uid} {fact.closed_above}", fact.closed_above)]
    if fact.setting and not fact.is_folder:
        text = f"{path} is a file; {fact.what} is kept in a folder"
        return [_closed(fact, text, f"mv {path} {path}.old", path)]
    if fact.setting and not fact.writable:
        text = f"{path} can't be written to by this user (uid {uid}); it belongs to uid {fact.uid}"
        return [
            _closed(
                fact, text, f"run Sizewise (and the doctor) as uid {fact.uid}, or chown -R {uid} {path}", path
            )
        ]
    if not fact.mode & OTHERS:
        return []
    values = {"path": path, "mode": f"{fact.mode:04o}"}
    if fact.what == "a secret":
        if not fact.mode & 0o066:
            return []
        text = f"{path} can be read by others on this machine (mode {fact.mode:04o})"
        why = "It holds a secret (a key, a password, or what keys are hashed with)."
        return [problem("permissions.secret_open", text, why, f"chmod 600 {path}", **values)]
    text = f"{path} is open to others on this machine (mode {fact.mode:04o}; 0700 is meant)"
    if fact.what == "the journal":
        why = "The journal names teams, end users and models of every call."
        return [problem("permissions.journal_open", text, why, f"chmod 700 {path}", about, **values)]
    why = "Others can see what runs here, and whoever can write there can replace it."
    if fact.mode & 0o022:
        return [problem("permissions.state_open", text, why, f"chmod 700 {path}", about, **values)]
    return []  # readable: what is inside is closed by itself, and the embedded database must pass through


def _closed(fact: PathFact, text: str, command: str, path: str) -> Finding:
    variable = "SIZEWISE_" + fact.setting.replace(".", "__").upper()
    why = "Without it nothing starts." if fact.setting == "state_dir" else "Calls would pass unrecorded."
    remedy = f"{command}, or choose another place with `{fact.setting}` or {variable}=/a/folder"
    return problem("permissions.closed", text, why, remedy, fact.setting, path=path)
