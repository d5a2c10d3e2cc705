"""Scores that others published, as evidence: what may be compared, and what may not.

Enters: scores of both models, each with who scored them and where it was said. Leaves: the difference on the
evaluators they have in common, the worst of them. Pure.

Results of different evaluators are never compared: 84 % by one against 82 % by another says nothing, even if
both are called accuracy. Published evidence is weaker than pairs of one's own and is labelled so.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple


class Published(NamedTuple):
    model: str
    score: Decimal  # between 0 and 1
    evaluator: str  # "manual", "OpenLLM v1", ...: exactly the same name is the same evaluator
    source: str


class Comparison(NamedTuple):
    difference: Decimal | None  # candidate - incumbent; None: they have no evaluator in common
    evaluator: str
    sentence: str


def compare_published(incumbent: Sequence[Published], candidate: Sequence[Published]) -> Comparison:
    """The worst difference of those that may be taken, since the benign one is easily chosen."""
    pairs = [(new, old) for new in candidate for old in incumbent if new.evaluator == old.evaluator]
    if not pairs:
        who = [sorted({one.evaluator for one in side}) for side in (incumbent, candidate)]
        names = " and by ".join(", ".join(side) or "nobody" for side in who)
        return Comparison(None, "", f"no evaluator scored both (they were scored by {names}): not comparable")
    new, old = min(pairs, key=lambda pair: pair[0].score - pair[1].score)
    difference = new.score - old.score
    return Comparison(
        difference,
        new.evaluator,
        f"{100 * difference:+.1f} points by {new.evaluator}: {new.model} {percent(new.score)} "
        f"({new.source}), {old.model} {percent(old.score)} ({old.source}); published, not measured here",
    )


def percent(score: Decimal) -> str:
    return f"{100 * score:.1f} %"
