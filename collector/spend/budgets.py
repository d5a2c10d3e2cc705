"""When a budget needs somebody: hours of spend and the plan come in, at most one Burn leaves. Pure.

The plan is the month's budget spread over the hours as spend usually falls on them, so that a Monday morning
is not taken for a fire. A page is for money that burns now: over plan by a share of the whole month's budget,
more than these 28 days ever saw, and still going on. A ticket is for a month that slips away more slowly. A
forecast ticket waits for a second day: a projection that is over once may have seen a busy Monday.

Sparse keys (spend in fewer than six of ten hours) are only judged over a day, against a higher bar.
Tickets are for teams: the caller sums a team's keys and asks once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from collector.spend.windows import Hours, is_sparse, last_sum, most_before

PAGE_RULES = ((1, Decimal("0.02")), (6, Decimal("0.05")))  # hours, over plan by this share of the budget
TICKET_RULES = ((24, Decimal("0.07")), (72, Decimal("0.10")))
SPARSE_PAGE_RULES = ((24, Decimal("0.05")),)
SPARSE_TICKET_RULES = ((24, Decimal("0.07")),)
ABOVE_MOST = Decimal("1.3")
ABOVE_MOST_SPARSE_PAGE = Decimal(2)
ABOVE_MOST_SPARSE_TICKET = Decimal("1.6")
LAST_HOUR_TIMES = Decimal(2)
LAST_SIX_TIMES = Decimal("1.5")
DAYS_RUNNING = 2


@dataclass(frozen=True, slots=True)
class Burn:
    severity: Literal["page", "ticket"]
    window_h: int
    spent_usd: Decimal
    plan_usd: Decimal
    budget_usd: Decimal

    @property
    def over_usd(self) -> Decimal:
        return self.spent_usd - self.plan_usd


def find_burn(hours: Hours, plan: Sequence[Decimal], budget_usd: Decimal) -> Burn | None:
    """`plan` stands for the same hours as `hours`, or at least for the last 72 of them."""
    if budget_usd <= 0:
        return None
    sparse = is_sparse(hours)
    for window_h, share in SPARSE_PAGE_RULES if sparse else PAGE_RULES:
        above = ABOVE_MOST_SPARSE_PAGE if sparse else ABOVE_MOST
        found = over_plan("page", window_h, share, hours, plan, budget_usd)
        if found and exceeds(hours, window_h, above) and runs(hours, plan, 1, LAST_HOUR_TIMES):
            return found
    for window_h, share in SPARSE_TICKET_RULES if sparse else TICKET_RULES:
        found = over_plan("ticket", window_h, share, hours, plan, budget_usd)
        unusual = not sparse or exceeds(hours, window_h, ABOVE_MOST_SPARSE_TICKET)
        if found and unusual and runs(hours, plan, 6, LAST_SIX_TIMES):
            return found
    return None


def over_plan(
    severity: Literal["page", "ticket"],
    window_h: int,
    share: Decimal,
    hours: Hours,
    plan: Sequence[Decimal],
    budget_usd: Decimal,
) -> Burn | None:
    burn = Burn(severity, window_h, last_sum(hours, window_h), last_sum(plan, window_h), budget_usd)
    return burn if burn.over_usd >= share * budget_usd else None


def exceeds(hours: Hours, window_h: int, times: Decimal) -> bool:
    """More than the past held. Where there is no past yet, the budget alone decides."""
    most = most_before(hours, window_h)
    return most is None or last_sum(hours, window_h) > times * most


def runs(hours: Hours, plan: Sequence[Decimal], length_h: int, times: Decimal) -> bool:
    return last_sum(hours, length_h) > times * last_sum(plan, length_h)


def spread_budget(budget_usd: Decimal, weights: Sequence[Decimal]) -> list[Decimal]:
    """The budget over a month's hours by their weights (what such hours usually cost); evenly without any."""
    whole = sum(weights, Decimal(0))
    if whole <= 0:
        return [budget_usd / len(weights) for _ in weights]
    return [budget_usd * weight / whole for weight in weights]


def forecast_over(tenths_usd: Sequence[Decimal | None], budget_usd: Decimal) -> bool:
    """A ticket: the lower end of the 80 % interval (P10) was over the budget on the last two days running."""
    last = tenths_usd[-DAYS_RUNNING:]
    return len(last) == DAYS_RUNNING and all(one is not None and one > budget_usd for one in last)
