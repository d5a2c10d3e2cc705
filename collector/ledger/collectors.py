"""The exporter to the user's own OpenTelemetry collector: the `otel` section enters, an SDK exporter leaves.

The configuration goes before the OTEL_EXPORTER_OTLP_* variables, which the SDK reads for what isn't given.
"""

from opentelemetry.sdk.trace.export import SpanExporter

from collector.config.model import Otel
from collector.errors import ConfigError

TRACES = "/v1/traces"


def make_exporter(otel: Otel) -> SpanExporter:
    """Raises ConfigError where the protocol's extra is not installed."""
    headers = {name.lower(): value.get_secret_value() for name, value in otel.headers.items()}
    return over_grpc(otel, headers) if otel.protocol == "grpc" else over_http(otel, headers)


def over_http(otel: Otel, headers: dict[str, str]) -> SpanExporter:
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter(
        traces_url(otel.endpoint),
        headers=headers,
        timeout=otel.timeout_s,
        compression=Compression.Gzip,
        certificate_file=str(otel.ca_file) if otel.ca_file else None,
    )


def traces_url(endpoint: str) -> str:
    base = endpoint.rstrip("/")
    return base if base.endswith(TRACES) else base + TRACES


def over_grpc(otel: Otel, headers: dict[str, str]) -> SpanExporter:
    try:
        import grpc
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    except ImportError:
        raise ConfigError(
            "otel.protocol: grpc needs what is not installed: pip install 'sizewise[otlp]', or set it to http"
        ) from None
    secure = otel.endpoint.startswith("https:")
    roots = otel.ca_file.read_bytes() if otel.ca_file else None
    return OTLPSpanExporter(
        otel.endpoint,
        insecure=not secure,
        credentials=grpc.ssl_channel_credentials(roots) if secure else None,
        headers=headers,
        timeout=otel.timeout_s,
        compression=grpc.Compression.Gzip,
    )
