"""What was measured of the sidecar's share, as findings: each kind of request, the ledger's, a verdict."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from collector.doctor.finding import Finding, ok, shown_ms, warning
from collector.doctor.intervals import Estimate

if TYPE_CHECKING:
    from collector.doctor.share import Share

TITLES = {"models": "list of models", "completion": "completion", "stream": "streamed completion"}
LITTLE_MS, LITTLE_SHARE = 2.0, 0.05


class LedgerShare(msgspec.Struct, frozen=True):
    """The relay's own measure of the last hour's calls."""

    calls: int
    relay_p50_ms: float | None = None
    relay_p99_ms: float | None = None
    duration_p50_ms: float | None = None


def judge(shares: Sequence["Share"], ledger: LedgerShare | None) -> list[Finding]:
    return [*(_judge_share(share) for share in shares), _judge_ledger(ledger), verdict(shares[-1])]


def _judge_share(share: "Share") -> Finding:
    first = f"; to its first content {_plus(share.added_first)}" if share.added_first else ""
    out = f"; {share.left_out} rounds left out, which needed a new connection" if share.left_out else ""
    text = (
        f"{TITLES[share.kind]}, {share.rounds} pairs: the relay adds {_plus(share.added)}, "
        f"99 % of the time at most {_tail(share.added_p99)}{first}; two straight requests differ by "
        f"{shown_ms(share.unrest.value)} (99 %: {shown_ms(share.unrest_p99.value)}){out}"
    )
    return ok(f"prove.{share.kind}", text, share.upstream, **values_of(share))


def _judge_ledger(ledger: LedgerShare | None) -> Finding:
    if ledger is None:
        return ok("prove.ledger", "the ledger can't be asked what the relay measured itself")
    if not ledger.calls or ledger.relay_p50_ms is None:
        return ok("prove.ledger", "no call of the last hour is in the ledger", calls=0)
    text = (
        f"by its own clock the relay worked {shown_ms(ledger.relay_p50_ms)} on a call of the last hour "
        f"(median of {ledger.calls:,}; 99 %: {shown_ms(ledger.relay_p99_ms or 0)}), "
        f"of {shown_ms(ledger.duration_p50_ms or 0)} from end to end"
    )
    return ok("prove.ledger", text, **msgspec.structs.asdict(ledger))


def verdict(share: "Share") -> Finding:
    """One plain sentence, of the sample that is most like a real call."""
    added, straight = share.added, share.straight.value
    pairs = f"median of {share.rounds} pairs, {_range(added)}"
    rest = f"the upstream takes {shown_ms(straight)} of the {shown_ms(straight + max(added.value, 0))}"
    if added.low is None or added.low <= 0:
        least = "No share of the sidecar can be told from the upstream's own unrest"
        text = f"{least}: it adds {shown_ms(added.value)} to a call ({pairs}); {rest}."
    else:
        text = f"The sidecar adds {shown_ms(added.value)} to a call ({pairs}); {rest}."
    values = values_of(share)
    surely = added.low or 0.0
    if surely <= max(LITTLE_MS, LITTLE_SHARE * straight):
        return ok("prove.verdict", text, **values)
    why = "A sidecar should cost nearly nothing; here its share can be felt."
    remedy = "see whether the machine is short of processor time (`top`), and raise `relay.workers`"
    return warning("prove.verdict", text, why, remedy, **values)


def _plus(added: Estimate) -> str:
    return f"{shown_ms(added.value)} ({_range(added)})"


def _range(found: Estimate) -> str:
    low = shown_ms(found.low) if found.low is not None else "?"
    high = shown_ms(found.high) if found.high is not None else "?"
    return f"{low} to {high}"


def _tail(found: Estimate) -> str:
    """A tail's upper bound needs hundreds of pairs; without one, that is said."""
    beyond = f"surely below {shown_ms(found.high)}" if found.high is not None else "too few pairs to be sure"
    return f"{shown_ms(found.value)} ({beyond})"


def values_of(share: "Share") -> dict[str, Any]:
    return {name: value for name, value in msgspec.to_builtins(share).items() if value is not None}
