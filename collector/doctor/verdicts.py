"""What the facts about the upstreams mean; kept apart from looking, which is long enough."""

from collections.abc import Sequence

from collector.doctor.finding import Finding, ok, problem, shown_ms, shown_seconds, warning
from collector.doctor.upstreams import UpstreamFact, UsageFact

CERTIFICATE_BAD_S, CERTIFICATE_SCARCE_S = 3 * 86_400.0, 21 * 86_400.0
SERVER_APIS = {"openai", "anthropic"}  # those whose lists of models can be told apart


def judge(facts: Sequence[UpstreamFact], now_s: float) -> list[Finding]:
    return [finding for fact in facts for finding in _judge(fact, now_s)]


def _judge(fact: UpstreamFact, now_s: float) -> list[Finding]:
    if fact.failure:
        return [_judge_failure(fact)]
    found = [_judge_answer(fact)]
    if fact.certificate_ends_s is not None:
        found += _judge_certificate(fact, fact.certificate_ends_s - now_s)
    if fact.metrics:
        found.append(_judge_metrics(fact))
    found += [_judge_usage(fact, one) for one in fact.usage or ()]
    return found


def _judge_failure(fact: UpstreamFact) -> Finding:
    text = f"{fact.url}: {fact.failure}"
    setting = f"upstreams.{fact.name}"
    if fact.is_tls_failure:
        why = "The relay refuses it as well: each call there ends in a 502."
        remedy = (
            f"if the certificate is your own authority's, name that with `{setting}.ca_file`; "
            "else have the server's certificate renewed, or its name corrected"
        )
        return problem("upstreams.tls", text, why, remedy, fact.name)
    why = "Each call there ends in a 502 or 504."
    return problem("upstreams.unreachable", text, why, f"start it, or mend `{setting}.url`", fact.name)


def _judge_answer(fact: UpstreamFact) -> Finding:
    setting, status = f"upstreams.{fact.name}", fact.status
    values = {
        "status": status,
        "connect_ms": round(fact.connect_ms, 3),
        "api": fact.answers_as,
        "models": len(fact.models),
    }
    connected = f"connected in {shown_ms(fact.connect_ms)}"
    if status in (401, 403):
        if not fact.has_key:
            text = f"{fact.url} asks for a key, which clients bring along; {connected}"
            return ok("upstreams.wants_key", text, fact.name, **values)
        text = f"{fact.url} refuses the configured key (status {status})"
        why = "The relay puts that key into every call there: all of them are refused."
        remedy = f"mend `{setting}.key` (or the file that `{setting}.key_file` names), then `sizewise reload`"
        return problem("upstreams.key_refused", text, why, remedy, fact.name, **values)
    if status in (404, 405):
        if fact.base_path.rstrip("/").endswith("/v1"):
            text = f"{fact.url} has no {fact.base_path}/v1/models (status {status})"
            why = "Clients' paths begin with /v1 already: each call goes to /v1/v1/... and fails."
            remedy = f"write `{setting}.url` without its last /v1"
            return problem("upstreams.base_path", text, why, remedy, fact.name, **values)
        text = f"{fact.url} answers, but has no list of models (status {status}); {connected}"
        why = "Whether this is the right server, and which API it speaks, can't be told."
        remedy = f"see that /v1/... lies under `{setting}.url`; try `sizewise doctor --call`"
        return warning("upstreams.no_models", text, why, remedy, fact.name, **values)
    if status >= 400 or status < 200 or status in range(300, 400):
        text = f"{fact.url} answers with status {status}"
        why = "It may be overloaded, still loading its model, or another server than was meant."
        remedy = f"see that server's log; see that `{setting}.url` is right"
        make = problem if status >= 500 else warning
        return make("upstreams.error", text, why, remedy, fact.name, **values)
    if {fact.answers_as, fact.api} <= SERVER_APIS and fact.answers_as != fact.api:
        text = f"{fact.url} answers like the API of {fact.answers_as}, but `{setting}.api` is {fact.api}"
        why = "Keys would be sent in the wrong header, and default routes go astray."
        return warning(
            "upstreams.other_api", text, why, f"set `{setting}.api: {fact.answers_as}`", fact.name, **values
        )
    if not fact.answers_as:
        text = f"{fact.url} answers, but not with a list of models; {connected}"
        why = "Whether this is the right server can't be told."
        remedy = f"see that `{setting}.url` is right; try `sizewise doctor --call`"
        return warning("upstreams.no_models", text, why, remedy, fact.name, **values)
    text = f"{fact.url} answers as {fact.answers_as} with {len(fact.models)} models; {connected}"
    return ok("upstreams.answers", text, fact.name, **values)


def _judge_certificate(fact: UpstreamFact, left_s: float) -> list[Finding]:
    left = shown_seconds(left_s)
    values = {"seconds_left": round(left_s)}
    if left_s > CERTIFICATE_SCARCE_S:
        return [ok("upstreams.certificate", f"its certificate is good for {left}", fact.name, **values)]
    why = "When it ends, the relay refuses the connection and each call there fails."
    make = problem if left_s < CERTIFICATE_BAD_S else warning
    text = f"its certificate ends in {left}"
    remedy = "have it renewed; see why that did not happen by itself"
    return [make("upstreams.certificate", text, why, remedy, fact.name, **values)]


def _judge_metrics(fact: UpstreamFact) -> Finding:
    setting = f"`upstreams.{fact.name}.metrics`"
    why = "Its queue, cache and load are not known, and so neither is the cost of its idle time."
    if fact.metrics_failure or fact.metrics_status != 200:
        said = fact.metrics_failure or f"status {fact.metrics_status}"
        text = f"its metrics at {fact.metrics} can't be read: {said}"
        return warning("upstreams.metrics", text, why, f"mend {setting}, or leave it out", fact.name)
    if fact.metrics_missing:
        text = f"its metrics at {fact.metrics} lack {', '.join(fact.metrics_missing)}"
        remedy = f"see that {setting} names the metrics of a vLLM server"
        return warning("upstreams.metric_names", text, why, remedy, fact.name, missing=fact.metrics_missing)
    return ok("upstreams.metrics", f"its metrics at {fact.metrics} have the names that are read", fact.name)


def _judge_usage(fact: UpstreamFact, one: UsageFact) -> Finding:
    how = "streamed" if one.stream else "in one piece"
    values = {"model": fact.called_model, "stream": one.stream, "status": one.status}
    if one.said:
        tokens = f"{one.input_tokens} tokens in, {one.output_tokens} out"
        text = f"a completion of {fact.called_model}, {how}, tells its usage: {tokens}"
        return ok("upstreams.usage", text, fact.name, **values)
    if one.status >= 400 or not one.status:
        said = f"status {one.status}" if one.status else one.reason
        why = "Whether it tells its usage is not known."
        remedy = f"name a model that it has with --model; or see `upstreams.{fact.name}.key`"
        text = f"a completion of {fact.called_model}, {how}, was not answered: {said}"
        return warning("upstreams.call_failed", text, why, remedy, fact.name, **values)
    text = f"a completion of {fact.called_model}, {how}, told no usage"
    text += f": {one.reason}" if one.reason else ""
    why = "Without tokens there is no cost: such calls are in no total."
    remedy = (
        f"set `upstreams.{fact.name}.asks_usage: true`; if it is, have the server tell it "
        "(vLLM: --enable-force-include-usage)"
    )
    return warning("upstreams.no_usage", text, why, remedy, fact.name, **values)
