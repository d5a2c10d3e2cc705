"""Readers of each API, without IO: bytes enter, facts leave; they never raise."""

from collector.apis.endpoints import Endpoint, find_endpoint, read_whole
from collector.apis.reading import Reading
from collector.apis.replies import error_body, stream_error_event
from collector.apis.request import RequestFacts, read_request, read_request_prefix, splice_usage
from collector.apis.sse import StreamReader

__all__ = [
    "Endpoint",
    "Reading",
    "RequestFacts",
    "StreamReader",
    "error_body",
    "find_endpoint",
    "read_request",
    "read_request_prefix",
    "read_whole",
    "splice_usage",
    "stream_error_event",
]
