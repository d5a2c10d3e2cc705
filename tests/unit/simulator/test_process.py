"""The simulator as a process, its log file, and what it counts."""

import json
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from collector.simulator import start_simulator


def fetch(url: str, body: dict[str, object] | None = None, method: str | None = None) -> bytes:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        url, data=data, method=method, headers={"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as reply:
        read: bytes = reply.read()
        return read


def ask(tokens: int) -> dict[str, object]:
    return {"model": "tiny-llama", "messages": [{"role": "user", "content": f"[[sim: tokens={tokens}]]"}]}


def test_a_process_names_its_port_keeps_its_log_and_ends_clean(tmp_path: Path) -> None:
    log = tmp_path / "truth.jsonl"
    command = [sys.executable, "-m", "collector.simulator", "--quiet", "--log", str(log), "--seed", "3"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        url = f"http://127.0.0.1:{json.loads(process.stdout.readline())['port']}"
        reply = json.loads(fetch(url + "/v1/chat/completions", ask(5)))
        assert log.read_bytes() == fetch(url + "/sim/log")
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        assert process.stderr.read() == b""
    [entry] = [json.loads(line) for line in log.read_text().splitlines()]
    assert entry["id"] == reply["id"]
    assert entry["completion_tokens"] == 5 == reply["usage"]["completion_tokens"]


def test_the_log_can_be_read_on_and_cleared() -> None:
    with start_simulator() as simulator:
        for tokens in (1, 2, 3):
            fetch(simulator.url + "/v1/chat/completions", ask(tokens))
        later = [json.loads(line) for line in fetch(simulator.url + "/sim/log?after=1").splitlines()]
        assert [entry["completion_tokens"] for entry in later] == [2, 3]
        fetch(simulator.url + "/sim/log", method="DELETE")
        assert simulator.entries() == []


def test_counters_are_the_sum_of_the_log() -> None:
    with start_simulator() as simulator:
        for tokens in (1, 20, 300):
            fetch(simulator.url + "/v1/chat/completions", ask(tokens))
        fetch(simulator.url + "/v1/chat/completions", ask(9) | {"max_tokens": 4})
        fetch(simulator.url + "/v1/embeddings", {"model": "tiny-llama", "input": "one two"})
        entries = simulator.entries()
        families = text_string_to_metric_families(fetch(simulator.url + "/metrics").decode())
        samples = {
            (sample.name, sample.labels.get("finished_reason"), sample.labels.get("le")): sample.value
            for family in families
            for sample in family.samples
        }
    assert samples["vllm:prompt_tokens_total", None, None] == sum(e.prompt_tokens for e in entries)
    assert (
        samples["vllm:generation_tokens_total", None, None]
        == 325
        == sum(e.completion_tokens for e in entries)
    )
    assert samples["vllm:request_success_total", "stop", None] == 4
    assert samples["vllm:request_success_total", "length", None] == 1
    assert samples["vllm:request_generation_tokens_bucket", None, "20.0"] == 4
    assert samples["vllm:e2e_request_latency_seconds_count", None, None] == 5


def test_the_same_seed_says_the_same() -> None:
    said = []
    for seed in (1, 1, 2):
        with start_simulator(seed=seed) as simulator:
            reply = json.loads(fetch(simulator.url + "/v1/chat/completions", ask(30)))
            said.append(reply["choices"][0]["message"]["content"])
    assert said[0] == said[1] != said[2]
