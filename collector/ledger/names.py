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

# -- What others write: of each the first name that a span has counts. GenAI (new and older names),
# OpenLLMetry, OpenInference, vLLM.

HEARD_USAGE = {
    "input_tokens": (
        USAGE["input_tokens"], "gen_ai.usage.prompt_tokens", "llm.usage.prompt_tokens",
        "llm.token_count.prompt",
    ),
    "output_tokens": (
        USAGE["output_tokens"], "gen_ai.usage.completion_tokens", "llm.usage.completion_tokens",
        "llm.token_count.completion",
    ),
    "cache_read_tokens": (
        USAGE["cache_read_tokens"], "gen_ai.usage.cache_read_input_tokens",
        "llm.token_count.prompt_details.cache_read",
    ),
    "cache_write_tokens": (
        USAGE["cache_write_tokens"], CACHE_CREATION, "gen_ai.usage.cache_creation_input_tokens",
        "llm.token_count.prompt_details.cache_write",
    ),
    "reasoning_tokens": (
        USAGE["reasoning_tokens"], "gen_ai.usage.reasoning_tokens", "llm.usage.reasoning_tokens",
        "llm.token_count.completion_details.reasoning",
    ),
    "input_audio_tokens": ("llm.token_count.prompt_details.audio",),
    "output_audio_tokens": ("llm.token_count.completion_details.audio",),
}  # fmt: skip
HEARD_TEXTS = {
    "model": ("gen_ai.request.model", "llm.request.model", "llm.model_name", "embedding.model_name",
              "reranker.model_name"),
    "served_model": ("gen_ai.response.model", "llm.response.model"),
    "response_id": ("gen_ai.response.id", "llm.response.id"),
    "service_tier": ("openai.response.service_tier", "gen_ai.openai.response.service_tier"),
    "fingerprint": ("openai.response.system_fingerprint", "gen_ai.openai.response.system_fingerprint",
                    "gen_ai.response.system_fingerprint"),
    "error_type": (ERROR_TYPE,),
    "end_user": ("user.id", "enduser.id", "traceloop.association.properties.user_id"),
    "team": ("sizewise.team", "traceloop.association.properties.team"),
    "project": ("sizewise.project", "traceloop.association.properties.project"),
    "unit": ("sizewise.unit", "traceloop.association.properties.unit"),
    "environment": ("deployment.environment.name", "deployment.environment"),
    "client": ("service.name",),
}  # fmt: skip
HEARD_FINISH = (FINISH_REASONS, "gen_ai.completion.0.finish_reason", "llm.response.finish_reason")
HEARD_STREAM = ("gen_ai.request.stream", "gen_ai.is_streaming", "llm.is_streaming")
HEARD_FIRST_CHUNK = (FIRST_CHUNK, "gen_ai.server.time_to_first_token", "gen_ai.latency.time_to_first_token")
HEARD_STATUS = ("http.response.status_code", "http.status_code")
HEARD_PROVIDER = ("gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system")
HEARD_HOST = ("server.address", "gen_ai.openai.api_base", "llm.openai.api_base")
HEARD_PORT = "server.port"
HEARD_HTTP = ("http.request.method", "http.method")

INFERENCE_KIND = "openinference.span.kind"
LOOP_KIND = "traceloop.span.kind"
REQUEST_TYPE = "llm.request.type"
SERVER_REQUEST_ID = "gen_ai.request.id"  # vLLM's name for the id of its reply
SERVER_QUEUE_S = "gen_ai.latency.time_in_queue"
SERVER_ENGINE_S = "gen_ai.latency.time_in_model_inference"

# What others call an operation that is a call -> ours. All else (agents, tools, chains) is none.
HEARD_OPERATIONS = {
    "chat": "chat", "text_completion": "text_completion", "completion": "text_completion",
    "generate_content": "generate_content", "embeddings": "embeddings", "embedding": "embeddings",
    "rerank": "rerank", "LLM": "chat", "EMBEDDING": "embeddings", "RERANKER": "rerank",
}  # fmt: skip
# What others call a provider -> the price list's name for it.
HEARD_PROVIDERS = {
    "openai": "openai", "anthropic": "anthropic", "azure": "azure", "azure.ai.openai": "azure",
    "az.ai.openai": "azure", "azure.ai.inference": "azure", "az.ai.inference": "azure", "aws": "aws",
    "aws.bedrock": "aws", "bedrock": "aws", "gcp.gemini": "google", "gcp.vertex_ai": "google",
    "gcp.gen_ai": "google", "vertex_ai": "google", "vertexai": "google", "google": "google",
    "gemini": "google", "cohere": "cohere", "mistral_ai": "mistral", "mistralai": "mistral",
    "mistral": "mistral", "groq": "groq", "deepseek": "deepseek", "perplexity": "perplexity",
    "x_ai": "x-ai", "xai": "x-ai", "together": "together", "together_ai": "together",
    "fireworks": "fireworks", "openrouter": "openrouter",
}  # fmt: skip

# Measurements that are kept; others are taken and dropped.
SAMPLED = ("hw.", "vllm:", "vllm.", "DCGM_FI_", "gen_ai.server.")
SAMPLED_BY = ("hw.id", "hw.name", "hw.type", "hw.parent", "network.io.direction", "direction", "model_name",
              "engine", "gen_ai.request.model", "finished_reason", "gpu", "UUID", "modelName", "Hostname",
              "error.type", "state")  # fmt: skip
HOST = ("host.name", "service.instance.id")
