"""Sizewise's own keys and caps: does the relay hear of them. record publishes them as a file on this host."""

from pathlib import Path
from typing import Any

import msgspec

from collector.doctor.finding import Finding, ok, problem, shown_seconds, warning
from collector.plan import Plan
from collector.policy import decode_policy

STALE_AFTER_S = 60.0  # record looks every ten seconds in any case


class KeysFact(msgspec.Struct, frozen=True):
    demanded: bool
    file: str
    failure: str = ""  # why the file can't be read; "" where it was
    made_at_s: float = 0.0
    keys: int = 0
    ever: bool = False  # a key was ever made
    caps: int = 0


def gather(plan: Plan) -> KeysFact | None:
    """None where nothing is to be published."""
    if not plan.policy_file:
        return None
    fact = KeysFact(plan.require_keys, plan.policy_file)
    try:
        policy = decode_policy(Path(plan.policy_file).read_bytes())
    except OSError as failure:
        return msgspec.structs.replace(fact, failure=failure.strerror or str(failure))
    except ValueError as failure:
        return msgspec.structs.replace(fact, failure=str(failure))
    return msgspec.structs.replace(
        fact,
        made_at_s=policy.made_at_s,
        keys=len(policy.keys),
        ever=policy.keys_in_use,
        caps=len(policy.caps),
    )


def judge(fact: KeysFact, now_s: float) -> list[Finding]:
    remedy = "see that record runs on this host and reaches the database (`sizewise up`)"
    if fact.failure:
        text = f"keys and caps are not published here: {fact.file}: {fact.failure}"
        if not fact.demanded:
            why = "Calls pass, but keys bind nobody and no cap holds."
            return [warning("keys.not_published", text, why, remedy)]
        why = "The relay demands keys and knows none: each call is refused."
        return [problem("keys.not_published", text, why, remedy)]
    age_s = now_s - fact.made_at_s
    values: dict[str, Any] = {
        "keys": fact.keys,
        "caps": fact.caps,
        "age_s": round(age_s),
        "demanded": fact.demanded,
    }
    if age_s > STALE_AFTER_S and (fact.demanded or fact.ever or fact.caps):
        text = f"what the relay knows of keys and caps is {shown_seconds(age_s)} old"
        why = "A key revoked since still passes, a new one does not, and caps don't see what is spent."
        return [warning("keys.stale", text, why, remedy, **values)]
    if fact.demanded and not fact.keys:
        text = "the relay demands Sizewise keys, and there are none"
        why = "Each call is refused."
        return [problem("keys.none", text, why, "`sizewise keys create --team NAME`", **values)]
    demanded = "demanded" if fact.demanded else "not demanded"
    age = shown_seconds(max(0.0, age_s))
    text = f"{fact.keys} keys and {fact.caps} caps, published {age} ago; keys are {demanded}"
    return [ok("keys.published", text, **values)]
