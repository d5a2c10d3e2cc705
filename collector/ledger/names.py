"""Every OpenTelemetry name that Sizewise writes or reads, in one place: the GenAI conventions are still in
development and are renamed often. `sizewise.*` is ours, for what no convention has a name for.

Field of Call -> name of the attribute. A field that has its default is left out of a span, and reading a
span gives the default back; so the tables serve both ways.
"""

from opentelemetry.semconv.schemas import Schemas

from collector.call import Usage

SCHEMA_URL = str(Schemas.V1_42_0.value)

# Left out when they are "", 0 or False.
PLAIN = {
    "tenant": "sizewise.tenant",
    "team": "sizewise.team",
    "project": "sizewise.project",
    "route": "sizewise.route",
    "environment": "deployment.environment.name",
    "key_id": "sizewise.key_id",
    "unit": "sizewise.unit",
    "client": "user_agent.original",
    "upstream": "sizewise.upstream",
    "api": "sizewise.api",
    "provider": "gen_ai.provider.name",
    "operation": "sizewise.operation",
    "zone": "sizewise.zone",
    "model": "gen_ai.request.model",
    "served_model": "gen_ai.response.model",
    "service_tier": "sizewise.service_tier",
    "fingerprint": "sizewise.fingerprint",
    "outcome": "sizewise.outcome",
    "usage_source": "sizewise.usage.source",
    "usage_problem": "sizewise.usage.problem",
    "reported_cost_usd": "sizewise.cost.reported",
    "stream": "gen_ai.request.stream",
    "status": "http.response.status_code",
    "attempts": "sizewise.attempts",
    "end_user": "user.id",
    "idempotency_key": "sizewise.idempotency_key",
    "request_id": "sizewise.request_id",
    "response_id": "gen_ai.response.id",
    "path": "url.path",
    "usage_hidden": "sizewise.usage.hidden",
    "request_bytes": "http.request.body.size",
    "response_bytes": "http.response.body.size",
    "content_events": "sizewise.content_events",
    "content_chars": "sizewise.content_chars",
}

# Left out when they are None: zero is something else.
TIMES = {
    "connect_us": "sizewise.connect_us",
    "first_byte_us": "sizewise.first_byte_us",
    "first_content_us": "sizewise.first_content_us",
    "relay_us": "sizewise.relay_us",
    "gap_p50_us": "sizewise.gap_p50_us",
    "gap_p99_us": "sizewise.gap_p99_us",
    "queue_us": "sizewise.queue_us",
    "engine_us": "sizewise.engine_us",
}
CONVENTIONAL_USAGE = {
    "input_tokens": "gen_ai.usage.input_tokens",
    "output_tokens": "gen_ai.usage.output_tokens",
    "cache_read_tokens": "gen_ai.usage.cache_read.input_tokens",
    "cache_write_tokens": "gen_ai.usage.cache_write.input_tokens",
    "reasoning_tokens": "gen_ai.usage.reasoning.output_tokens",
}
USAGE = {field: CONVENTIONAL_USAGE.get(field, f"sizewise.usage.{field}") for field in Usage.__struct_fields__}

CACHE_CREATION = "gen_ai.usage.cache_creation.input_tokens"  # what cache_write was called before
OPERATION = "gen_ai.operation.name"
FINISH_REASONS = "gen_ai.response.finish_reasons"
FIRST_CHUNK = "gen_ai.response.time_to_first_chunk"  # seconds
ERROR_TYPE = "error.type"
SOURCE_ID = "sizewise.source_id"
CALL_ID = "sizewise.call_id"
COST = "sizewise.cost_usd"  # a decimal string: OTLP has no decimals and drops them in silence
PRICE_STATE = "sizewise.price.state"
PRICE_ID = "sizewise.price.id"

# Our operation -> gen_ai.operation.name.
OPERATIONS = {"messages": "chat", "responses": "chat", "chat": "chat", "text_completion": "text_completion"}
