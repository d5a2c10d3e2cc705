"""Costs fetched from providers' own cost APIs. Enters: provider, days, an admin key. Leaves: the pages as one
JSON text, in the form that invoice_lines.py reads from a file too.

Invariants
- The key goes to the one address asked and nowhere else: redirects are refused, errors don't show it.
- All pages or nothing: half a month would look like money saved.
"""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any
from urllib.parse import urlencode

from collector.errors import SizewiseError

MOST_PAGES = 1000
MOST_BYTES = 64 * 1024 * 1024
PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class CostApi:
    url: str
    path: str
    key_variable: str  # of the environment
    start: str
    end: str
    fixed: tuple[tuple[str, str], ...]
    in_seconds: bool = False

    def headers(self, key: str) -> dict[str, str]:
        if self.in_seconds:
            return {"Authorization": f"Bearer {key}"}
        return {"x-api-key": key, "anthropic-version": "2023-06-01"}

    def instant(self, day: date) -> str:
        at = datetime.combine(day, time(), UTC)
        return str(int(at.timestamp())) if self.in_seconds else f"{at:%Y-%m-%dT%H:%M:%SZ}"


COST_APIS: Mapping[str, CostApi] = {
    "openai": CostApi(
        "https://api.openai.com",
        "/v1/organization/costs",
        "OPENAI_ADMIN_KEY",
        "start_time",
        "end_time",
        (("bucket_width", "1d"), ("group_by", "line_item"), ("group_by", "project_id"), ("limit", "31")),
        in_seconds=True,
    ),
    "anthropic": CostApi(
        "https://api.anthropic.com",
        "/v1/organizations/cost_report",
        "ANTHROPIC_ADMIN_KEY",
        "starting_at",
        "ending_at",
        (("group_by[]", "description"), ("group_by[]", "workspace_id"), ("limit", "31")),
    ),
}


class NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def pull_costs(api: CostApi, key: str, first: date, last: date, *, url: str = "") -> bytes:
    """The UTC days from `first` up to, and not with, `last`."""
    pages: list[str] = []
    page = ""
    while len(pages) < MOST_PAGES:
        asked = [*api.fixed, (api.start, api.instant(first)), (api.end, api.instant(last))]
        query = urlencode([*asked, *([("page", page)] if page else [])])
        address = f"{(url or api.url).rstrip('/')}{api.path}"
        text = fetch(f"{address}?{query}", api.headers(key), address)
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            raise SizewiseError(f"{address} answered with something that is no JSON.") from None
        if not isinstance(found, dict) or not isinstance(found.get("data"), list):
            raise SizewiseError(f"{address} answered without `data`.")
        pages.append(text)
        following = str(found.get("next_page") or "")
        if not found.get("has_more") or not following or following == page:
            return f"[{','.join(pages)}]".encode()
        page = following
    raise SizewiseError(f"{address} has more than {MOST_PAGES} pages: ask for fewer days.")


def fetch(url: str, headers: Mapping[str, str], address: str) -> str:
    if not url.startswith(("https://", "http://")):
        raise SizewiseError(f"{address} is no http or https address.")
    request = urllib.request.Request(url, headers=dict(headers))  # noqa: S310
    opener = urllib.request.build_opener(NoRedirects)
    try:
        with opener.open(request, timeout=PATIENCE_S) as answer:
            content: bytes = answer.read(MOST_BYTES + 1)
    except urllib.error.HTTPError as problem:
        with problem:
            why = {401: ": is it an admin key?", 403: ": is it an admin key?"}.get(problem.code, "")
            raise SizewiseError(f"{address} answered {problem.code}{why or '.'}") from None
    except (urllib.error.URLError, OSError) as problem:
        reason = getattr(problem, "reason", problem)
        raise SizewiseError(f"{address} can't be reached: {reason}.") from None
    if len(content) > MOST_BYTES:
        raise SizewiseError(f"{address} answered with more than {MOST_BYTES // 2**20} MiB.")
    return content.decode("utf-8", "replace")
