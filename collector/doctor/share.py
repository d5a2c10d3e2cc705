"""The sidecar's own share of a call's time: the same request straight to the upstream and through the relay.

Each round asks three times, in an order that turns: straight, through the relay, straight again. What lies
between the two straight ones is the upstream's own unrest, so that nobody takes it for the relay's share.
All go over connections that stand open; a round in which one had to be made anew is left out.
"""

import json
import time
from collections.abc import Callable
from http.client import HTTPException
from typing import Literal

import msgspec

from collector.doctor.finding import Finding
from collector.doctor.intervals import Estimate, estimate
from collector.doctor.probe import Answer, Probe, describe_failure
from collector.doctor.proof import LedgerShare, judge
from collector.doctor.upstreams import MODELS_PATH, make_body, request_headers
from collector.errors import SizewiseError
from collector.plan import UpstreamPlan

Kind = Literal["models", "completion", "stream"]
Side = Literal["straight", "through", "again"]
SIDES: tuple[Side, ...] = ("straight", "through", "again")
WARM_ROUNDS = 3
LEAST_ROUNDS = 6  # of fewer no median has an interval
TIMEOUT_S = 60.0
Progress = Callable[[str], None]
OURS = {"x-sizewise-environment": "doctor"}  # so that the ledger can tell these calls from others


class RelaySide(msgspec.Struct, frozen=True):
    """How the relay is to be called."""

    address: str
    tls: bool = False
    key: str = ""  # Sizewise's own, where the relay demands one


class Sample(msgspec.Struct):
    kind: Kind
    upstream: str
    model: str = ""
    whole_ms: dict[Side, list[float]] = msgspec.field(default_factory=lambda: {side: [] for side in SIDES})
    content_ms: dict[Side, list[float]] = msgspec.field(default_factory=lambda: {side: [] for side in SIDES})
    left_out: int = 0

    @property
    def rounds(self) -> int:
        return len(self.whole_ms["straight"])


class Share(msgspec.Struct, frozen=True):
    """What a sample comes to, in milliseconds."""

    kind: Kind
    upstream: str
    model: str
    rounds: int
    left_out: int
    added: Estimate  # median of through less the two straight ones' mean
    added_p99: Estimate
    unrest: Estimate  # median of what two straight ones differ by, whichever way
    unrest_p99: Estimate
    straight: Estimate  # median of the straight ones themselves
    added_first: Estimate | None = None  # of the first content of a stream


def prove(
    upstream: UpstreamPlan,
    relay: RelaySide,
    *,
    ledger: LedgerShare | None,
    rounds: int = 200,
    calls: int = 20,
    model: str = "",
    seconds: float = 60.0,
    progress: Progress = lambda _: None,
) -> list[Finding]:
    """`calls` rounds of completions are made only if a model is named: they cost."""
    samples = [measure("models", upstream, relay, rounds, model="", seconds=seconds, progress=progress)]
    if model:
        kinds: tuple[Kind, ...] = ("completion", "stream")
        samples += [measure(kind, upstream, relay, calls, model, seconds, progress) for kind in kinds]
    return judge([summarise(sample) for sample in samples], ledger)


def measure(
    kind: Kind,
    upstream: UpstreamPlan,
    relay: RelaySide,
    rounds: int,
    model: str,
    seconds: float,
    progress: Progress,
) -> Sample:
    """Ends after `rounds`, or when the time is over, if enough were made."""
    sample = Sample(kind, upstream.name, model)
    method, path, body = make_request(kind, upstream, model)
    headers = {**request_headers(upstream), **({"content-type": "application/json"} if body else {})}
    host, _, port = relay.address.rpartition(":")
    there = UpstreamPlan(
        name="relay",
        host=host.strip("[]"),
        port=int(port),
        tls=relay.tls,
        base_path=f"/to/{upstream.name}",
        host_header=relay.address,
    )
    # Where the relay puts the upstream's key in, clients have none of it.
    passed = {name: value for name, value in headers.items() if name not in upstream.headers} | OURS
    if relay.key:
        passed["x-sizewise-key"] = relay.key
    with (
        Probe(upstream, TIMEOUT_S) as straight,
        Probe(there, TIMEOUT_S, trusting=True) as through,
    ):
        give_up_s = time.monotonic() + seconds
        for number in range(-WARM_ROUNDS, rounds):
            if number >= LEAST_ROUNDS and time.monotonic() > give_up_s:
                break
            progress(f"{kind}: {max(number, 0)} of {rounds}")
            answers: dict[Side, Answer] = {}
            for side in turn(number):
                probe, sent = (through, passed) if side == "through" else (straight, headers)
                answers[side] = ask(probe, method, path, sent, body)
            check(answers, upstream.name)
            if number >= 0:
                keep(sample, answers)
    if sample.rounds < LEAST_ROUNDS:
        raise SizewiseError(
            f"Only {sample.rounds} of {rounds} rounds could be compared: the upstream {upstream.name} closes "
            "connections after few replies. Try again with more --rounds."
        )
    return sample


def make_request(kind: Kind, upstream: UpstreamPlan, model: str) -> tuple[str, str, bytes | None]:
    if kind == "models":
        return "GET", MODELS_PATH.get(upstream.api, "/"), None
    path, body = make_body(upstream, model, stream=kind == "stream")
    body.pop("stream_options", None)  # as most clients are: the relay has to ask for the usage, and hide it
    return "POST", path, json.dumps(body).encode()


def turn(number: int) -> tuple[Side, ...]:
    at = number % len(SIDES)
    return SIDES[at:] + SIDES[:at]


def ask(probe: Probe, method: str, path: str, headers: dict[str, str], body: bytes | None) -> Answer:
    try:
        return probe.ask(method, path, headers, body)
    except (OSError, HTTPException) as failure:
        raise SizewiseError(
            f"{probe.plan.name} at {probe.plan.host_header}: {describe_failure(failure)}. "
            "`sizewise doctor` says more."
        ) from None


def check(answers: dict[Side, Answer], upstream: str) -> None:
    """Only like may be compared with like."""
    straight, through = answers["straight"].status, answers["through"].status
    if straight != through:
        raise SizewiseError(
            f"Straight the upstream {upstream} answers with status {straight}, through the relay with "
            f"{through}: these can't be compared. Where the relay demands keys, give one by --key-file."
        )
    if straight >= 400 and straight not in (401, 403, 404):
        raise SizewiseError(
            f"The upstream {upstream} answers with status {straight}: there is nothing to compare."
        )


def keep(sample: Sample, answers: dict[Side, Answer]) -> None:
    if any(answer.connected for answer in answers.values()):
        sample.left_out += 1
        return
    for side, answer in answers.items():
        sample.whole_ms[side].append(answer.whole_ms)
        sample.content_ms[side].append(answer.content_ms)


def summarise(sample: Sample) -> Share:
    times = sample.whole_ms
    added = differences(times)
    unrest = [abs(b - a) for a, b in zip(times["straight"], times["again"], strict=True)]
    stream = sample.kind == "stream"
    return Share(
        kind=sample.kind,
        upstream=sample.upstream,
        model=sample.model,
        rounds=sample.rounds,
        left_out=sample.left_out,
        added=estimate(added, 0.5),
        added_p99=estimate(added, 0.99),
        unrest=estimate(unrest, 0.5),
        unrest_p99=estimate(unrest, 0.99),
        straight=estimate(times["straight"] + times["again"], 0.5),
        added_first=estimate(differences(sample.content_ms), 0.5) if stream else None,
    )


def differences(times: dict[Side, list[float]]) -> list[float]:
    """Through the relay less the mean of the two straight ones around it."""
    triples = zip(times["through"], times["straight"], times["again"], strict=True)
    return [through - (straight + again) / 2 for through, straight, again in triples]
