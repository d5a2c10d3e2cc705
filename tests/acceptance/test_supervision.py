"""The supervisor from outside: killed, told to stop, told to reload, started twice."""

import http.client
import random
from pathlib import Path

import pytest

from benchmarks.harness.kills import Stage, kill_supervisor
from benchmarks.harness.load import Load
from benchmarks.harness.product import Product, is_alive, wait_until
from benchmarks.harness.verdict import judge

SEED = 60


class Stream:
    """A streamed chat that takes its time, read by a raw client."""

    def __init__(self, product: Product, *, tokens: int, gap_ms: int, model: str = "gpt-4o-mini") -> None:
        self._connection = http.client.HTTPConnection(product.relay, timeout=30)
        body = f'{{"model":"{model}","stream":true,"messages":[{{"role":"user","content":"x"}}]}}'
        wish = {"x-sim": f"tokens={tokens} gap_ms={gap_ms}"}
        self._connection.request("POST", "/v1/chat/completions", body, wish)
        self._reply = self._connection.getresponse()
        assert self._reply.status == 200
        self.begin = self._reply.readline()

    def read_on(self) -> bytes:
        rest = self._reply.read()
        self._connection.close()
        return self.begin + rest


def ask(product: Product, model: str = "gpt-4o-mini") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(product.relay, timeout=30)
    body = f'{{"model":"{model}","messages":[{{"role":"user","content":"x"}}]}}'
    connection.request("POST", "/v1/chat/completions", body)
    reply = connection.getresponse()
    found = reply.status, reply.read()
    connection.close()
    return found


def test_a_killed_supervisor_takes_its_children_along_and_a_new_one_goes_on(
    fragile: Product, client_log: Path, truth: Path
) -> None:
    """kill_supervisor waits until the children have ended: none is left to fight with the next ones."""
    stage = Stage(fragile, client_log)
    for number in range(2):
        kill_supervisor(stage, random.Random(SEED + number))
    verdict = judge(fragile, client_log, truth)
    assert verdict.is_good, (verdict, verdict.lost, verdict.doubled, verdict.wrong)
    assert verdict.ended


def test_told_to_stop_under_load_it_lets_streams_end_and_leaves_nothing_behind(
    fragile: Product, client_log: Path, truth: Path
) -> None:
    pids = fragile.all_pids()
    with Load(fragile.relay, client_log, seed=SEED, options=("--may-be-refused",)):
        stream = Stream(fragile, tokens=30, gap_ms=30)
        supervisor = fragile.begin_stop()
        body = stream.read_on()
        assert supervisor.wait(30) == 0
    assert body.endswith(b"data: [DONE]\n\n")
    assert not any(map(is_alive, pids))
    assert ", 0 bytes wait" in fragile.log(), "record left before everything was recorded"
    fragile.start()
    calls = fragile.query("SELECT outcome FROM calls WHERE trace_id IS NULL")
    assert calls == [("ok",)], "the stream's call is not in the ledger"
    verdict = judge(fragile, client_log, truth)
    assert not verdict.lost
    assert not verdict.doubled
    assert len(verdict.wrong) == 1, "only the stream, which the other client did not make"


def test_a_good_configuration_is_taken_over_without_a_break(fragile: Product) -> None:
    stream = Stream(fragile, tokens=40, gap_ms=30)
    pid = fragile.pid("relay")
    upstreams = fragile.config["upstreams"]
    fragile.config["routes"].insert(0, {"model": "renamed", "to": "second", "team": "fresh"})
    fragile.config["upstreams"] = {**upstreams, "second": upstreams["openai"]}
    fragile.write_config()
    ran = fragile.run("reload")
    assert ran.returncode == 0, ran.stderr
    assert ask(fragile, "renamed")[0] == 200
    assert stream.read_on().endswith(b"data: [DONE]\n\n"), "the stream under way was cut"
    find = "SELECT upstream, team FROM calls WHERE model = 'renamed'"
    assert wait_until("it is in the ledger", lambda: fragile.query(find), 10, 0.1) == [("second", "fresh")]
    assert fragile.pid("relay") == pid


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("routes", [{"to": "nowhere"}], "nowhere"),
        ("relay", {"worker": 3}, "relay.worker"),
        ("web", {"listen": "127.0.0.1:1"}, "web.listen"),
    ],
)
def test_a_bad_configuration_changes_nothing_and_says_why(
    product: Product, key: str, value: object, named: str
) -> None:
    before, good = product.all_pids(), product.config[key]
    product.config[key] = value
    product.write_config()
    try:
        ran = product.run("reload")
    finally:
        product.config[key] = good
        product.write_config()
    assert ran.returncode in (1, 2)
    assert named in ran.stderr
    assert product.all_pids() == before
    assert ask(product)[0] == 200


def test_a_second_one_is_refused(product: Product) -> None:
    ran = product.run("up")
    assert ran.returncode == 1
    assert "running already" in ran.stderr
    assert str(product.pid("supervisor")) in ran.stderr
    assert ask(product)[0] == 200
    assert product.is_ready()
