"""What a model needs and what that costs a month: parameters, precision, load and prices in, dollars out.

Pure; money is Decimal. Weights in memory = parameters x bytes a parameter, in GB of 10^9 bytes. GPUs are
sized by the peak, the 99th percentile of five-minute loads, never by the mean: a mean of a third of the peak
would rent a third of what is needed. Only measured throughput decides how many replicas carry the load;
where it is not known, the number of replicas isn't either.
"""

import math
import re
from collections.abc import Iterable, Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import NamedTuple

from collector.errors import SizewiseError
from collector.sizing.instances import Instance

HOURS_A_MONTH = 730
DAYS_A_MONTH = 30  # of a plan by tokens a day
BYTES = {name: Decimal(size) for name, size in (
    ("fp32", "4"), ("bf16", "2"), ("fp16", "2"), ("fp8", "1"), ("int8", "1"), ("int4", "0.5"),
)}  # fmt: skip
ROOM = Decimal("1.2")  # KV cache and activations, beside the weights: the least that serves anybody
USABLE = Decimal("0.9")  # of a GPU's memory, as vLLM takes it by default
BUSY = Decimal("0.7")  # of the throughput measured at the SLO: more, and queues grow

# Published costs of self-hosting per 1,000 output tokens, for a first idea only.
PUBLISHED_PER_1K_USD = {
    Decimal(7): (Decimal("0.0002"), Decimal("0.0002")),
    Decimal(30): (Decimal("0.001"), Decimal("0.001")),
    Decimal(70): (Decimal("0.004"), Decimal("0.006")),
}


class Fleet(NamedTuple):
    """Instances to rent for one model, and the arithmetic that leads there."""

    instance: Instance
    per_replica: int  # instances that hold one copy of the model
    replicas: int
    spares: int
    copies: int  # regions x redundancy
    month_usd: Decimal

    @property
    def instances(self) -> int:
        return (self.replicas + self.spares) * self.per_replica * self.copies


def read_billions(text: str) -> Decimal:
    """ "llama-3.1-70b" has 70: the last number before a b."""
    found = re.findall(r"(?<![\w.])(\d+(?:\.\d+)?)b(?![a-z])", text.lower().replace("_", "-"))
    if len(set(found)) != 1 or Decimal(found[0]) <= 0:
        raise SizewiseError(f"{text!r} doesn't say how many parameters: name it like 70b, or llama-3.1-8b")
    return Decimal(found[0])


def read_tokens(text: str) -> int:
    """ "100M", "2.5B", "80k" or a plain number."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([kmbKMB]?)", text.strip().replace(",", "").replace("_", ""))
    scale = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9}
    tokens = Decimal(found[1]) * scale[found[2].lower()] if found else Decimal(0)
    if tokens <= 0 or tokens != int(tokens):
        raise SizewiseError(f"{text!r} is no number of tokens: write 100M, 2.5B, 80k or 123456")
    return int(tokens)


def weights_gb(billions: Decimal, precision: str) -> Decimal:
    if precision.lower() not in BYTES:
        raise SizewiseError(f"precision {precision!r} is not known: {', '.join(BYTES)}")
    return billions * BYTES[precision.lower()]


def month_usd(instance: Instance, count: int = 1) -> Decimal:
    return cents(instance.hourly_usd * HOURS_A_MONTH * count)


def instances_for(instance: Instance, billions: Decimal, precision: str) -> int:
    """How many of them hold one copy; models are cut evenly over GPUs."""
    need = weights_gb(billions, precision) * ROOM
    return max(1, math.ceil(need / (instance.memory_gb * USABLE)))


def peak_load(loads: Sequence[Decimal]) -> Decimal:
    """The 99th percentile (nearest rank, so never below what was seen) of five-minute loads."""
    if not loads:
        raise SizewiseError("no load was measured yet: GPUs can't be sized by nothing")
    return sorted(loads)[math.ceil(Decimal("0.99") * len(loads)) - 1]


def replicas_for(peak_tokens_s: Decimal, replica_tokens_s: Decimal) -> int:
    """ceil(peak / (0.7 x the throughput of one replica at the SLO)), and never none."""
    if replica_tokens_s <= 0 or peak_tokens_s < 0:
        raise SizewiseError("throughput must be above 0 and the peak not below 0 tokens a second")
    return max(1, math.ceil(peak_tokens_s / (BUSY * replica_tokens_s)))


def plan_fleet(
    instance: Instance,
    billions: Decimal,
    precision: str,
    *,
    replicas: int = 1,
    spares: int = 0,
    copies: int = 1,
) -> Fleet:
    per_replica = instances_for(instance, billions, precision)
    total = (replicas + spares) * per_replica * copies
    return Fleet(instance, per_replica, replicas, spares, copies, month_usd(instance, total))


def cheapest_fleet(
    instances: Iterable[Instance], billions: Decimal, precision: str, *, spares: int = 0, copies: int = 1
) -> Fleet | None:
    """On the cheapest instance that holds a whole copy; one spread over several machines is for people."""
    fleets = [
        plan_fleet(one, billions, precision, spares=spares, copies=copies)
        for one in instances
        if instances_for(one, billions, precision) == 1
    ]
    return min(fleets, key=lambda fleet: fleet.month_usd, default=None)


def month_by_tokens(tokens_a_day: int, per_1k_usd: Decimal) -> Decimal:
    return cents(Decimal(tokens_a_day) * DAYS_A_MONTH / 1000 * per_1k_usd)


def published_month(tokens_a_day: int, billions: Decimal) -> tuple[Decimal, Decimal] | None:
    """Low and high by published costs per token; None for sizes that nobody published."""
    rates = PUBLISHED_PER_1K_USD.get(billions)
    if rates is None:
        return None
    return month_by_tokens(tokens_a_day, rates[0]), month_by_tokens(tokens_a_day, rates[1])


def break_even_tokens(bill_usd: Decimal, api_per_million_usd: Decimal) -> int:
    """Tokens a month above which a server at this bill costs less than the API."""
    if api_per_million_usd <= 0:
        raise SizewiseError("an API that costs nothing has no break-even")
    return math.ceil(bill_usd / api_per_million_usd * 1_000_000)


def roi(benefits_usd: Decimal, cost_usd: Decimal) -> Decimal | None:
    """(benefits - cost) / cost; None where nothing was paid."""
    return (benefits_usd - cost_usd) / cost_usd if cost_usd else None


def cents(usd: Decimal) -> Decimal:
    return usd.quantize(Decimal("0.01"), ROUND_HALF_UP)
