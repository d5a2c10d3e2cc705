"""Requests that are forms (multipart/form-data): a recording to be transcribed, a picture to be changed.

The body enters; the facts of its small fields leave. The boundary is the body's own first line; the parts
between are passed over, never copied. Never raises.
"""

import re

from collector.apis.request import MAX_NAME, RequestFacts, read_request

_MAX_PARTS = 64
_MAX_VALUE = 1000
_NAME = re.compile(rb'\bname="([^"\r\n]{1,64})"')


def read_form(body: bytes) -> RequestFacts:
    """The facts of a form, whole or its beginning; of a JSON body as of any other."""
    if not body.startswith(b"--"):
        return read_request(body)
    end = body.find(b"\r\n", 0, 200)
    if end < 0:
        return RequestFacts(problem="the form's boundary can't be read")
    boundary, facts = b"\r\n" + body[:end], RequestFacts()
    fields: dict[bytes, str] = {}
    at = end + 2
    for _ in range(_MAX_PARTS):
        head_end = body.find(b"\r\n\r\n", at, at + 4096)
        value_end = body.find(boundary, head_end) if head_end >= 0 else -1
        if value_end < 0:
            break
        name = _NAME.search(body, at, head_end)
        start = head_end + 4
        if name is not None and 0 <= value_end - start <= _MAX_VALUE:
            fields.setdefault(name.group(1), body[start:value_end].decode("utf-8", "replace"))
        at = value_end + len(boundary) + 2
    facts.model = fields.get(b"model", "")[:MAX_NAME]
    facts.stream = fields.get(b"stream", "").strip().lower() in ("true", "1")
    facts.end_user = fields.get(b"user", "")[:MAX_NAME]
    return facts
