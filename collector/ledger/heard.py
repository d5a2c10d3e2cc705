"""OTLP as it comes: bodies in protobuf or JSON enter, requests of the protocol leave, and answers go back.

Invariant: what can't be read is refused whole with a text that says why; nothing of it is taken.
"""

import base64
import json
import re
import zlib
from typing import Any, Literal, NamedTuple

from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from collector.errors import SizewiseError

Form = Literal["application/x-protobuf", "application/json"]
PROTOBUF: Form = "application/x-protobuf"
JSON: Form = "application/json"
MOST_BYTES = 8 * 1024 * 1024  # of a body as it comes
MOST_UNPACKED_BYTES = 32 * 1024 * 1024
BODY_BYTES = "allowed are 8 MiB as sent and 32 MiB unpacked: let the exporter send smaller batches"

# google.rpc.Code, as far as it is said here.
INVALID_ARGUMENT, RESOURCE_EXHAUSTED, INTERNAL, UNAVAILABLE = 3, 8, 13, 14

# OTLP's JSON writes ids in hexadecimal digits where protobuf's JSON has base64.
IDS = {"traceId": 32, "spanId": 16, "parentSpanId": 16}
HEX = re.compile(r"[0-9a-fA-F]+\Z")


class Unreadable(SizewiseError):  # noqa: N818 - it names the thing that is refused
    """The body is refused with this HTTP status."""

    def __init__(self, status: int, code: int, text: str) -> None:
        super().__init__(text)
        self.status, self.code = status, code


def read_form(content_type: str) -> Form:
    kind = content_type.partition(";")[0].strip().lower()
    if kind == PROTOBUF:
        return PROTOBUF
    if kind == JSON:
        return JSON
    text = f"the content type {kind[:80]!r} is not read here; allowed are {PROTOBUF} and {JSON}"
    raise Unreadable(415, INVALID_ARGUMENT, text)


def unpack(body: bytes, encoding: str) -> bytes:
    """Bounded: a small body may unpack to a large one."""
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding != "gzip":
        text = f"the content encoding {encoding[:80]!r} is not read here; allowed is gzip, or none"
        raise Unreadable(415, INVALID_ARGUMENT, text)
    stream = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        unpacked = stream.decompress(body, MOST_UNPACKED_BYTES)
    except zlib.error as problem:
        raise Unreadable(400, INVALID_ARGUMENT, f"the body is no gzip: {problem}") from None
    if stream.unconsumed_tail:
        raise Unreadable(413, RESOURCE_EXHAUSTED, f"the body is too large unpacked; {BODY_BYTES}")
    if not stream.eof:
        raise Unreadable(400, INVALID_ARGUMENT, "the body's gzip breaks off")
    return unpacked


def read_traces(body: bytes, form: Form) -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    read_message(body, form, request)
    return request


def read_metrics(body: bytes, form: Form) -> ExportMetricsServiceRequest:
    request = ExportMetricsServiceRequest()
    read_message(body, form, request)
    return request


def read_message(body: bytes, form: Form, request: Message) -> None:
    try:
        if form == PROTOBUF:
            request.ParseFromString(body)
            return
        found = json.loads(body)
        if not isinstance(found, dict):
            raise ValueError("a request is an object")
        with_base64_ids(found)
        json_format.ParseDict(found, request, ignore_unknown_fields=True)
    except (DecodeError, json_format.ParseError, ValueError, TypeError, RecursionError) as problem:
        text = " ".join(str(problem).split())[:200]
        raise Unreadable(400, INVALID_ARGUMENT, f"the body is no OTLP in {form}: {text}") from None


def with_base64_ids(found: Any) -> None:
    """In place. Raises ValueError for an id that is none."""
    if isinstance(found, list):
        for one in found:
            with_base64_ids(one)
    elif isinstance(found, dict):
        for name, value in found.items():
            if name in IDS and isinstance(value, str):
                if value and not (len(value) == IDS[name] and HEX.match(value)):
                    raise ValueError(f"{name} {value[:40]!r} is not {IDS[name]} hexadecimal digits")
                found[name] = base64.b64encode(bytes.fromhex(value)).decode()
            elif isinstance(value, dict | list):
                with_base64_ids(value)


class Answer(NamedTuple):
    status: int
    body: bytes
    form: Form


def answer_traces(form: Form, rejected: int = 0, text: str = "") -> Answer:
    response = ExportTraceServiceResponse()
    if rejected:
        response.partial_success.rejected_spans = rejected
        response.partial_success.error_message = text
    return Answer(200, write(response, form), form)


def answer_metrics(form: Form, rejected: int = 0, text: str = "") -> Answer:
    response = ExportMetricsServiceResponse()
    if rejected:
        response.partial_success.rejected_data_points = rejected
        response.partial_success.error_message = text
    return Answer(200, write(response, form), form)


def answer_problem(form: Form, status: int, code: int, text: str) -> Answer:
    return Answer(status, write(Status(code=code, message=text), form), form)


def write(message: Message, form: Form) -> bytes:
    if form == PROTOBUF:
        return bytes(message.SerializeToString())
    return str(json_format.MessageToJson(message, indent=None)).encode()


def plain_attributes(pairs: Any) -> dict[str, Any]:
    """The attributes that are texts, numbers, truths or lists of these; nobody here asks for others."""
    return {pair.key: plain_value(pair.value) for pair in pairs if isinstance(pair, KeyValue)}


def plain_value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [plain_value(one) for one in value.array_value.values]
    if kind in ("string_value", "int_value", "double_value", "bool_value"):
        return getattr(value, kind)
    return None
