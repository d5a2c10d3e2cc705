"""Keys and caps as an operator meets them: made, used, revoked; spent up, refused, free again tomorrow."""

import http.client
import json
import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from benchmarks.harness.product import Product, simulated_upstreams, upstreams_config, wait_until
from benchmarks.harness.verdict import read_log
from collector.ledger.policy import PolicyPublisher
from collector.policy import CapRule

UPSTREAM_KEY = "sk-the-upstreams-own"
CAP_USD = Decimal("0.0001")
CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def error(self) -> dict[str, Any]:
        return dict(self.body["error"])


def zone_at_noon() -> str:
    """A zone in which no day ends while these tests run."""
    hours = 12 - datetime.now(UTC).hour
    return f"Etc/GMT{-hours:+d}" if hours else "UTC"


@pytest.fixture
def product(open_dir: Path, truth: Path) -> Iterator[Product]:
    """Holds the upstream's key, so whoever reaches it spends with that."""
    with simulated_upstreams(truth, "--api-key", UPSTREAM_KEY) as url:
        config = upstreams_config(url)
        for upstream in config["upstreams"].values():
            upstream["key"] = UPSTREAM_KEY
        config["relay"] = {"require_keys": True, "workers": 2}
        config["reporting"] = {"timezone": zone_at_noon()}
        config["caps"] = [{"team": "spenders", "usd_per_day": str(CAP_USD)}]
        with Product(open_dir, config) as running:
            yield running


def make_key(product: Product, *words: str) -> dict[str, Any]:
    done = product.run("keys", "create", *words, "--json")
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def ask(product: Product, path: str = CHAT, tokens: int = 20, **headers: str) -> Answer:
    model = "claude-haiku-4-5" if path == MESSAGES else "gpt-4o-mini"
    body = {"model": model, "max_tokens": 500, "messages": [{"role": "user", "content": "x"}]}
    wanted = {name.replace("_", "-"): value for name, value in headers.items()}
    connection = http.client.HTTPConnection(product.relay, timeout=30)
    connection.request("POST", path, json.dumps(body), {"x-sim": f"tokens={tokens}", **wanted})
    reply = connection.getresponse()
    found = Answer(reply.status, {k.lower(): v for k, v in reply.getheaders()}, json.loads(reply.read()))
    connection.close()
    return found


def await_status(product: Product, status: int, **headers: str) -> Answer:
    """Both workers must have heard: so many in a row."""

    def look() -> Answer | None:
        answers = [ask(product, **headers) for _ in range(8)]
        return answers[0] if all(answer.status == status for answer in answers) else None

    return wait_until(f"every answer is {status}", look, 15, 0.1)


def test_a_key_is_made_used_and_revoked(product: Product, truth: Path) -> None:
    assert ask(product).error["code"] in {"key_missing", "policy_missing"}
    made = make_key(product, "--team", "search", "--project", "index", "--name", "ci")
    key = made["key"]
    await_status(product, 200, authorization=f"Bearer {key}", x_sizewise_team="finance")
    assert ask(product, MESSAGES, x_api_key=key).status == 200
    assert ask(product, x_sizewise_key=key).status == 200

    missing = ask(product, x_sizewise_team="search")
    assert (missing.status, missing.error["type"]) == (401, "authentication_error")
    assert missing.error["code"] == "key_missing"
    unknown = ask(product, MESSAGES, x_api_key="sw-" + "x" * 43)
    assert (unknown.status, unknown.body["type"], unknown.error["code"]) == (401, "error", "key_unknown")
    assert ask(product, authorization=f"Bearer {UPSTREAM_KEY}").status == 401

    served = len(read_log(truth))
    wait_until("all is recorded", lambda: product.query("SELECT count(*) FROM calls") == [(served,)], 15)
    found = product.query("SELECT DISTINCT team, project, key_id, outcome FROM calls")
    assert found == [("search", "index", made["key_id"], "ok")]

    assert product.run("keys", "revoke", made["key_id"]).returncode == 0
    revoked = await_status(product, 401, authorization=f"Bearer {key}")
    assert revoked.error["code"] == "key_unknown"
    shown = json.loads(product.run("keys", "list", "--json").stdout)["keys"]
    assert [(one["key_id"], one["state"], one["last4"]) for one in shown] == [
        (made["key_id"], "revoked", key[-4:])
    ]
    kept = b"".join(path.read_bytes() for path in product.state_dir.rglob("*") if path.is_file())
    assert key.encode() not in kept
    assert key.encode() not in truth.read_bytes()


def test_a_cap_is_reached_and_free_again_the_next_day(product: Product) -> None:
    spender = f"Bearer {make_key(product, '--team', 'spenders')['key']}"
    other = f"Bearer {make_key(product, '--team', 'savers')['key']}"
    await_status(product, 200, authorization=other)
    assert ask(product, tokens=400, authorization=spender, x_sizewise_team="savers").status == 200

    refused = await_status(product, 429, authorization=spender)
    assert (refused.error["code"], refused.error["type"]) == ("cap_reached", "rate_limit_error")
    assert refused.error["cap"] == "team spenders"
    assert Decimal(refused.error["limit_usd"]) == CAP_USD <= Decimal(refused.error["spent_usd"])
    assert 3600 < int(refused.headers["retry-after"]) <= 86400
    assert refused.headers["x-should-retry"] == "false"
    assert ask(product, MESSAGES, authorization=spender).body["type"] == "error"
    assert ask(product, authorization=other).status == 200
    told = "SELECT count(*) FROM calls WHERE outcome = 'refused' AND error_type = 'cap_reached'"
    wait_until("refusals are in the ledger", lambda: product.query(told)[0][0] >= 9, 15)
    ((spent,),) = product.query("SELECT sum(cost_usd) FROM calls WHERE team = 'spenders'")

    def is_told() -> bool:
        return Decimal(ask(product, authorization=spender).error["spent_usd"]) == spent

    wait_until("the relay tells what the ledger holds", is_told, 15, 0.2)

    record = product.wait_for("record")
    os.kill(record, signal.SIGSTOP)  # its clock says today; ours says tomorrow
    try:
        rule = CapRule(kind="team", name="spenders", per="day", limit_usd=CAP_USD)
        tomorrow = PolicyPublisher(
            product.database_url,
            product.state_dir / "run" / "policy.json",
            tenant="default",
            rules=[rule],
            clock=lambda: datetime.now(UTC) + timedelta(days=1),
        )
        assert tomorrow.publish()
        tomorrow.disconnect()
        await_status(product, 200, authorization=spender)
    finally:
        os.kill(record, signal.SIGCONT)
    await_status(product, 429, authorization=spender)
