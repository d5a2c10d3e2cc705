"""Sizewise's own keys in the ledger: made, listed and revoked. The key itself is seen only when it is made.

Invariants
- What is stored is a hash keyed by the fleet's secret, and the key's last four characters to know it by.
- A row is never deleted, so that a key's calls can be told for as long as they are kept; revoking is final.
"""

import secrets
from datetime import datetime
from typing import Any

import msgspec
from psycopg import Connection
from psycopg.rows import class_row

from collector.policy import hash_key
from collector.store.sql import query

PREFIX = "sw-"
RANDOM_BYTES = 32  # 43 characters
MARK_OF = b"sizewise: which secret"


class StoredKey(msgspec.Struct, kw_only=True):
    key_id: str
    name: str
    team: str
    project: str
    environment: str
    last4: str
    secret_mark: str  # of the hash secret it was hashed with: relays with another one don't know the key
    created_at: datetime
    revoked_at: datetime | None


def make_key() -> str:
    return PREFIX + secrets.token_urlsafe(RANDOM_BYTES)


def mark_of_secret(hash_secret: str) -> str:
    """Tells one hash secret from another without giving it away."""
    return hash_key(hash_secret, MARK_OF)[:12]


def add_key(
    connection: Connection[Any],
    key: str,
    *,
    hash_secret: str,
    tenant: str,
    team: str,
    project: str = "",
    environment: str = "",
    name: str = "",
) -> StoredKey:
    values = {
        "key_id": f"key-{secrets.token_hex(5)}",
        "tenant": tenant,
        "key_hash": hash_key(hash_secret, key.encode()),
        "secret_mark": mark_of_secret(hash_secret),
        "last4": key[-4:],
        "name": name,
        "team": team,
        "project": project,
        "environment": environment,
    }
    with connection.cursor(row_factory=class_row(StoredKey)) as cursor:
        return cursor.execute(query("keys_add"), values).fetchall()[0]


def list_keys(connection: Connection[Any], tenant: str) -> list[StoredKey]:
    """Revoked ones too; the oldest first."""
    with connection.cursor(row_factory=class_row(StoredKey)) as cursor:
        return cursor.execute(query("keys_all"), {"tenant": tenant}).fetchall()


def revoke_key(connection: Connection[Any], tenant: str, key_id: str) -> StoredKey | None:
    """None: there is no such key. One that was revoked before keeps the time of that."""
    values = {"tenant": tenant, "key_id": key_id}
    with connection.cursor(row_factory=class_row(StoredKey)) as cursor:
        return cursor.execute(query("keys_revoke"), values).fetchone()
