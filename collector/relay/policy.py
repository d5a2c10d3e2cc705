"""Who may call, for whom it is counted, and which cap is reached: what a relay makes of the policy file.

A checked head enters; it leaves bound to the key that came with it, or with a refusal. That is worked out
once a distinct head. A course that a cap covers holds the cap's present state: a call costs one look.

Invariants
- A Sizewise key never reaches an upstream, whichever header it came in.
- What a key binds stands over whatever the request says of itself.
- A policy that can't be read changes nothing: the last one holds, and `made_at_s` tells how old it is. Where
  keys are demanded and no policy was ever read, nobody is let in.
- A cap speaks only of its window: when that has ended it refuses nothing, even if no news came.
"""

import math
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from collector.plan import Plan
from collector.policy import CapEntry, KeyEntry, Policy, decode_policy, hash_key
from collector.relay.request_head import CREDENTIALS, RequestHead

_KEY = re.compile(rb"(?:[Bb][Ee][Aa][Rr][Ee][Rr][ \t]+)?(sw-[A-Za-z0-9_-]{32,200})\Z")
# How a browser, which can't set headers, gives a key to a WebSocket: as one more subprotocol.
_PROTOCOLS = b"sec-websocket-protocol"
_KEY_PROTOCOL = re.compile(rb"openai-insecure-api-key\.(sw-[A-Za-z0-9_-]{32,200})\Z")
_FREE_METHODS = (b"GET", b"HEAD", b"OPTIONS")  # looking costs nothing, so it is not capped


class Refusal(NamedTuple):
    status: int
    code: str
    message: str
    lines: bytes = b""  # further headers of the answer
    details: dict[str, str] | None = None  # further members of the error, for scripts


_HOW = "Send it as Authorization: Bearer sw-..., as x-api-key or as x-sizewise-key."
_MISSING = Refusal(401, "key_missing", f"This relay asks for a Sizewise key. {_HOW}")
_UNKNOWN = Refusal(401, "key_unknown", "This Sizewise key is not known here, or it was revoked.")
_NO_POLICY = Refusal(
    503,
    "policy_missing",
    "Keys can't be checked yet: `sizewise record` has not published them on this host.",
    b"retry-after: 2\r\n",
)


class Cap:
    """One cap's present state; courses hold it, `Admission.refresh` moves it on."""

    __slots__ = ("entry", "reached")

    def __init__(self, entry: CapEntry) -> None:
        self.take(entry)

    def take(self, entry: CapEntry) -> None:
        self.entry = entry
        self.reached = entry.spent_usd >= entry.rule.limit_usd

    def covers(self, key_id: str, team: str, project: str) -> bool:
        rule = self.entry.rule
        if rule.kind == "key":
            return key_id in self.entry.key_ids
        return rule.name == (team if rule.kind == "team" else project)


class Admission:
    def __init__(self, plan: Plan) -> None:
        self.made_at_s = 0.0  # of the policy that holds; 0: none was read yet
        self._demands = plan.require_keys
        self._hash_secret = plan.hash_secret
        self._path = Path(plan.policy_file) if plan.policy_file else None
        self._seen = (0, 0, 0)
        self._policy: Policy | None = None
        self._keys: dict[str, KeyEntry] = {}
        self._key_ids: set[str] = set()
        self._caps: list[Cap] = []

    def refresh(self) -> bool:
        """Read the file if it changed. True: what was worked out for heads and courses no longer holds.

        Raises ValueError for a file that is no policy; it is looked at again when it changes.
        """
        if self._path is None:
            return False
        try:
            found = self._path.stat()
            seen = (found.st_mtime_ns, found.st_ino, found.st_size)
            if seen == self._seen:
                return False
            raw = self._path.read_bytes()
        except OSError:
            return False
        self._seen = seen
        return self._take(decode_policy(raw))

    def _take(self, new: Policy) -> bool:
        old, self._policy = self._policy, new
        self.made_at_s = new.made_at_s
        if old is not None and _outline(old) == _outline(new):
            for cap, entry in zip(self._caps, new.caps, strict=True):
                cap.take(entry)
            return False
        self._keys = {entry.key_hash: entry for entry in new.keys}
        self._key_ids = {entry.key_id for entry in new.keys}
        self._caps = [Cap(entry) for entry in new.caps]
        return True

    def identify(self, head: RequestHead) -> None:
        """Bind the head to its key, and take the key out of what goes upstream."""
        policy = self._policy
        if policy is not None and not policy.keys_in_use and not self._demands:
            return  # there never was a key: what looks like one is the upstream's
        key = _take_key(head)
        if not key:
            head.refusal = _MISSING if self._demands else None
        elif policy is None:
            head.refusal = _NO_POLICY if self._demands else None
        elif (entry := self._keys.get(hash_key(self._hash_secret, key))) is None:
            head.refusal = _UNKNOWN
        else:
            head.key_id = entry.key_id
            head.team = entry.team or head.team
            head.project = entry.project or head.project
            head.environment = entry.environment or head.environment

    def find_caps(self, head: RequestHead, team: str, project: str) -> tuple[Cap, ...] | None:
        """Those that cover a call; None for none."""
        is_free = head.endpoint is None and head.method in _FREE_METHODS and not head.wants_upgrade
        if not self._caps or is_free:
            return None
        return tuple(cap for cap in self._caps if cap.covers(head.key_id, team, project)) or None

    def find_end(self, head: RequestHead, team: str, project: str, now_s: float) -> Refusal | None:
        """Why a WebSocket that was let in may not go on: its key was revoked, or a cap is reached."""
        if head.key_id and self._policy is not None and head.key_id not in self._key_ids:
            return _UNKNOWN
        caps = self.find_caps(head, team, project)
        return find_reached(caps, now_s) if caps else None


def find_reached(caps: tuple[Cap, ...], now_s: float) -> Refusal | None:
    for cap in caps:
        if cap.reached and now_s < cap.entry.ends_at_s:
            return _refuse(cap.entry, now_s)
    return None


def _outline(policy: Policy) -> tuple[object, ...]:
    """All but what is spent."""
    return (
        policy.keys_in_use,
        policy.keys,
        [(entry.rule.kind, entry.rule.name, entry.key_ids) for entry in policy.caps],
    )


def _take_key(head: RequestHead) -> bytes:
    """The key that came along, or b"". x-sizewise-key stands over the others; none of them is passed on."""
    keys = [head.sizewise_key.encode("latin-1")] if head.sizewise_key else []
    kept = []
    for name, line in head.header_lines:
        value = line[len(name) + 2 : -2]
        if name == _PROTOCOLS:
            offered = [word.strip() for word in value.split(b",")]
            others = [word for word in offered if not _KEY_PROTOCOL.match(word)]
            if len(others) < len(offered):
                keys += [match[1] for word in offered if (match := _KEY_PROTOCOL.match(word))]
                kept += [(name, b"%s: %s\r\n" % (name, b", ".join(others)))] if others else []
                continue
        elif name in CREDENTIALS and (match := _KEY.match(value)):
            keys.append(match[1])
            continue
        kept.append((name, line))
    if keys:
        head.header_lines = kept
    return keys[0] if keys else b""


def _refuse(entry: CapEntry, now_s: float) -> Refusal:
    rule = entry.rule
    free_at = datetime.fromtimestamp(entry.ends_at_s, UTC).isoformat(timespec="seconds")
    spent, limit = f"{entry.spent_usd.normalize():f}", f"{rule.limit_usd.normalize():f}"
    message = (
        f"The cap of {rule.kind} {rule.name} is reached: ${spent} of ${limit} a {rule.per} are spent. "
        f"Calls are taken again from {free_at} on."
    )
    # The clients' libraries would otherwise try a 429 again at once, and again.
    lines = b"retry-after: %d\r\nx-should-retry: false\r\n" % max(1, math.ceil(entry.ends_at_s - now_s))
    details = {
        "cap": f"{rule.kind} {rule.name}",
        "per": rule.per,
        "spent_usd": spent,
        "limit_usd": limit,
        "free_at": free_at,
    }
    return Refusal(429, "cap_reached", message, lines, details)
