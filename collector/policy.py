"""The policy: which keys there are and how much of each cap is spent; `record` publishes it, relays read it.

One small file, replaced atomically, readable by its owner alone. It holds hashes of keys, never a key.
"""

import hashlib
import hmac
import os
from decimal import Decimal
from pathlib import Path
from typing import Literal

import msgspec

CapKind = Literal["key", "team", "project"]
CapPeriod = Literal["day", "month"]


class CapRule(msgspec.Struct, frozen=True, kw_only=True):
    """A limit as the configuration sets it. `name` of a key: its name or its id."""

    kind: CapKind
    name: str
    per: CapPeriod
    limit_usd: Decimal


class KeyEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A key that is good, and for whom its calls are counted; "" binds nothing."""

    key_id: str
    key_hash: str
    team: str = ""
    project: str = ""
    environment: str = ""


class CapEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A cap in its present window. After the window's end it says nothing any more."""

    rule: CapRule
    key_ids: list[str] = []  # of a key's cap: the keys that share it, revoked ones included
    spent_usd: Decimal = Decimal(0)
    starts_at_s: float = 0.0
    ends_at_s: float = 0.0


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    made_at_s: float  # when the ledger was read for it
    version: str = ""  # a digest of everything below
    keys_in_use: bool = False  # a key was ever made, even if all are revoked by now
    keys: list[KeyEntry] = []
    caps: list[CapEntry] = []


def hash_key(hash_secret: str, key: bytes) -> str:
    """HMAC-SHA256, keyed by the fleet's secret (hex): who reads the database can't try keys against it."""
    return hmac.digest(bytes.fromhex(hash_secret), key, "sha256").hex()


def with_version(policy: Policy) -> Policy:
    plain = msgspec.structs.replace(policy, made_at_s=0.0, version="")
    digest = hashlib.sha256(msgspec.json.encode(plain)).hexdigest()[:16]
    return msgspec.structs.replace(policy, version=digest)


def write_policy(policy: Policy, path: Path) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(policy))
    temporary.replace(path)


def decode_policy(raw: bytes) -> Policy:
    """Raises ValueError."""
    return msgspec.json.decode(raw, type=Policy)
