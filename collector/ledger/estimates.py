"""Tokens of calls that reported none: the client left early, the engine died, the server never says.

Enters: calls. Leaves: the same calls, those without a usage completed where there is a basis for it: how many
characters and bytes make a token in calls of the same model that did report. Pure; what was learned is kept
by the recorder, in the transaction of the calls that it was learned from.

Invariants
- Nothing is estimated of a call that failed before it generated, or that nothing is known to compare with.
- What was reported stays as it is; only absent counts are filled in, and the call says how.
- Every reported call is guessed before it is learned from: that is how far off estimates are, and a model
  whose guesses are off by half is not guessed at all.
"""

from operator import attrgetter

import msgspec

from collector.call import Call, Usage, UsageSource

LEAST_CALLS = 20
MOST_MODELS = 4096  # clients choose their names
LONGEST_NAME = 160
SANE = 10**9  # what claims more teaches nothing, and must not burst a sum
FAR = 4  # a request so many times larger than any that taught something is like none of them
WITHOUT_OUTPUT = {"embeddings", "rerank", "moderations"}
not_text = attrgetter("input_image_tokens", "input_audio_tokens", "images", "audio_seconds")
TEXT_ALONE = (None,) * 4

Key = tuple[str, str, str, str]  # tenant, provider, model as asked for, operation


class Ratios(msgspec.Struct):
    """Sums over reported calls of one model; fields are columns."""

    input_calls: int = 0
    request_bytes: int = 0
    input_tokens: int = 0
    most_request_bytes: int = 0
    output_calls: int = 0
    content_chars: int = 0
    output_tokens: int = 0
    event_calls: int = 0
    input_tests: int = 0
    input_actual: int = 0
    input_guessed: int = 0
    input_off: int = 0
    output_tests: int = 0
    output_actual: int = 0
    output_guessed: int = 0
    output_off: int = 0

    def merge(self, other: "Ratios") -> None:
        most = max(self.most_request_bytes, other.most_request_bytes)
        for field in self.__struct_fields__:
            setattr(self, field, getattr(self, field) + getattr(other, field))
        self.most_request_bytes = most

    def guess_input(self, call: Call) -> int | None:
        if self.input_calls < LEAST_CALLS or call.request_bytes > FAR * self.most_request_bytes:
            return None
        return scaled(call.request_bytes, self.input_tokens, self.request_bytes)

    def guess_output(self, call: Call) -> int | None:
        if self.output_calls < LEAST_CALLS:
            return None
        if self.counts_events:
            return call.content_events
        return scaled(call.content_chars, self.output_tokens, self.content_chars)

    @property
    def counts_events(self) -> bool:
        """Every reported call had as many events as tokens (or one less: the last token is no text)."""
        return self.event_calls == self.output_calls

    def trusts_input(self) -> bool:
        return self.input_tests < LEAST_CALLS or 2 * self.input_off <= self.input_actual

    def trusts_output(self) -> bool:
        return self.output_tests < LEAST_CALLS or 2 * self.output_off <= self.output_actual


class Estimator:
    def __init__(self) -> None:
        self._known: dict[Key, Ratios] = {}
        self._fresh: dict[Key, Ratios] = {}

    def load(self, known: dict[Key, Ratios]) -> None:
        self._known, self._fresh = known, {}

    def begin(self) -> None:
        """A batch that did not get through is read again, and must not be learned from twice."""
        self._fresh = {}

    def fresh(self) -> list[tuple[Key, Ratios]]:
        """What the present batch adds, by key, so that two writers never wait for each other crosswise."""
        return sorted(self._fresh.items())

    def settle(self) -> None:
        for key, ratios in self._fresh.items():
            known = self._known.get(key)
            if known is None:
                self._known[key] = ratios
            else:
                known.merge(ratios)
        self._fresh = {}

    def complete(self, call: Call) -> Call:
        """Learns from a call that reported; fills in one that didn't."""
        usage = call.usage
        if call.outcome == "ok" and usage is not None and usage.input_tokens is not None:
            if call.usage_source == "reported":
                self._learn(call, usage)
            if usage.output_tokens is not None or call.operation in WITHOUT_OUTPUT:
                return call
        return self._estimate(call)

    def _learn(self, call: Call, usage: Usage) -> None:
        key = key_of(call)
        known, fresh = self._known.get(key), self._fresh.get(key)
        if fresh is None:
            full = known is None and len(self._known) + len(self._fresh) >= MOST_MODELS
            if full or not fits_key(key):
                return
            fresh = self._fresh[key] = Ratios()
        tokens = usage.input_tokens or 0
        others = not_text(usage)
        is_text = others == TEXT_ALONE or not any(others)
        if is_text and 0 < call.request_bytes < SANE and 0 < tokens < SANE:
            guess = None if known is None else known.guess_input(call)
            if guess is not None:
                fresh.input_tests += 1
                fresh.input_actual += tokens
                fresh.input_guessed += guess
                fresh.input_off += abs(guess - tokens)
            fresh.input_calls += 1
            fresh.request_bytes += call.request_bytes
            fresh.input_tokens += tokens
            fresh.most_request_bytes = max(fresh.most_request_bytes, call.request_bytes)
        tokens = usage.output_tokens or 0
        if 0 < call.content_chars < SANE and 0 < tokens < SANE:
            guess = None if known is None else known.guess_output(call)
            if guess is not None:
                fresh.output_tests += 1
                fresh.output_actual += tokens
                fresh.output_guessed += guess
                fresh.output_off += abs(guess - tokens)
            fresh.output_calls += 1
            fresh.content_chars += call.content_chars
            fresh.output_tokens += tokens
            fresh.event_calls += 0 <= tokens - call.content_events <= 1

    def _estimate(self, call: Call) -> Call:
        if not has_generated(call):
            return call
        ratios = self._known.get(key_of(call))
        usage = call.usage or Usage()
        found: dict[str, int] = {}
        how: list[str] = []
        source: UsageSource = "derived"
        if usage.output_tokens is None and call.operation not in WITHOUT_OUTPUT:
            output = ratios.guess_output(call) if ratios and ratios.trusts_output() else None
            if ratios is None or output is None:
                return call
            found["output_tokens"] = output
            how.append("output counted by events" if ratios.counts_events else "output by its characters")
            source = "derived" if ratios.counts_events else "estimated"
        if usage.input_tokens is None:
            tokens = ratios.guess_input(call) if ratios and ratios.trusts_input() else None
            if tokens is None:
                return call
            found["input_tokens"] = tokens
            how.append("input by its bytes")
            source = "estimated"
        if not found:
            return call
        problem = f"{source}: {', '.join(how)}; {call.usage_problem or 'no usage was reported'}"
        usage = msgspec.structs.replace(usage, **found)
        return msgspec.structs.replace(call, usage=usage, usage_source=source, usage_problem=problem)


def has_generated(call: Call) -> bool:
    """Whether there is something to count. A refusal, an error status, a client that left first: no."""
    if call.outcome == "refused" or call.status >= 400 or call.usage_source == "estimated":
        return False
    if call.operation in WITHOUT_OUTPUT:
        return call.outcome == "ok" and call.request_bytes > 0
    return call.content_chars > 0 and call.content_events > 0


def key_of(call: Call) -> Key:
    return call.tenant, call.provider, call.model, call.operation


def fits_key(key: Key) -> bool:
    """Whether it can be a key of the table as it is: cut short, two might become one."""
    return all(len(text) <= LONGEST_NAME and "\0" not in text for text in key)


def scaled(amount: int, tokens: int, base: int) -> int:
    """amount x tokens / base in integers, half up."""
    return (2 * amount * tokens + base) // (2 * base)
