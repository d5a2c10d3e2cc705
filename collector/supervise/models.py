"""Asks an upstream which model it serves, so that the command shown to try next can be copied as it is."""

import json
import urllib.request
from contextlib import suppress

from collector.config import Config
from collector.config.effective import plan_upstream

TIMEOUT_S = 1.5
BY_PROVIDER = {"openai": "gpt-4o-mini", "anthropic": "claude-haiku-4-5", "mistral": "mistral-small-latest"}
UNKNOWN = "MODEL"


def find_model(config: Config) -> str:
    """For the upstream that takes whatever no other route took. Never raises, and waits little."""
    name = next((route.to for route in reversed(config.routes)), "")
    upstream = config.upstreams.get(name)
    if upstream is None:
        return UNKNOWN
    plan = plan_upstream(name, upstream)
    if plan.provider in BY_PROVIDER:
        return BY_PROVIDER[plan.provider]
    with suppress(Exception):
        request = urllib.request.Request(upstream.url.rstrip("/") + "/v1/models", headers=plan.headers)  # noqa: S310
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as reply:  # noqa: S310 - http(s), checked
            return str(json.loads(reply.read(1_000_000))["data"][0]["id"])
    return UNKNOWN
