"""/metrics in vLLM's names: counters, gauges and histograms per model, as text for Prometheus.

As in vLLM, tokens of an aborted request stay in the counters, but it is no success. Tokens of a whole reply
are counted when it ends, those of a stream as they come.
"""

from bisect import bisect_left
from collections import defaultdict

_SECONDS_FIRST = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0,
    80.0, 160.0, 640.0, 2560.0,
)  # fmt: skip
_SECONDS_WHOLE = (
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0,
    960.0, 1920.0, 7680.0,
)  # fmt: skip
_TOKENS = (
    1.0,
    2.0,
    5.0,
    10.0,
    20.0,
    50.0,
    100.0,
    200.0,
    500.0,
    1000.0,
    2000.0,
    5000.0,
    10000.0,
    20000.0,
    50000.0,
)
_REASONS = ("stop", "length", "abort", "error", "repetition")
_HISTOGRAMS = {
    "request_prompt_tokens": (_TOKENS, "Number of prefill tokens processed."),
    "request_generation_tokens": (_TOKENS, "Number of generation tokens processed."),
    "time_to_first_token_seconds": (_SECONDS_FIRST, "Histogram of time to first token in seconds."),
    "e2e_request_latency_seconds": (_SECONDS_WHOLE, "Histogram of e2e request latency in seconds."),
}


class _Histogram:
    def __init__(self, bounds: tuple[float, ...]):
        self.bounds, self.counts, self.sum = bounds, [0] * (len(bounds) + 1), 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


class _Model:
    def __init__(self) -> None:
        self.running = 0
        self.prompt_tokens = self.cached_tokens = self.generation_tokens = self.aborted = 0
        self.finished: dict[str, int] = dict.fromkeys(_REASONS, 0)
        self.histograms = {name: _Histogram(bounds) for name, (bounds, _) in _HISTOGRAMS.items()}


class Metrics:
    def __init__(self) -> None:
        self._models: dict[str, _Model] = defaultdict(_Model)

    def start(self, model: str) -> None:
        self._models[model].running += 1

    def prefill(self, model: str, prompt_tokens: int, cached_tokens: int) -> None:
        counts = self._models[model]
        counts.prompt_tokens += prompt_tokens
        counts.cached_tokens += cached_tokens

    def generate(self, model: str, tokens: int) -> None:
        self._models[model].generation_tokens += tokens

    def abort(self, model: str) -> None:
        self._models[model].running -= 1
        self._models[model].aborted += 1

    def finish(
        self,
        model: str,
        reason: str,
        *,
        prompt_tokens: int,
        tokens: int,
        first_s: float | None,
        whole_s: float,
    ) -> None:
        counts = self._models[model]
        counts.running -= 1
        counts.finished[reason if reason in counts.finished else "stop"] += 1
        counts.histograms["request_prompt_tokens"].observe(prompt_tokens)
        counts.histograms["request_generation_tokens"].observe(tokens)
        if first_s is not None:
            counts.histograms["time_to_first_token_seconds"].observe(first_s)
        counts.histograms["e2e_request_latency_seconds"].observe(whole_s)

    def expose(self) -> bytes:
        lines: list[str] = []
        self._expose(
            lines,
            "num_requests_running",
            "gauge",
            "Number of requests in model execution batches.",
            "running",
        )
        lines += _head("num_requests_waiting", "gauge", "Number of requests waiting to be processed.")
        lines += [f"{_name('num_requests_waiting', model)} 0.0" for model in self._models]
        lines += _head("kv_cache_usage_perc", "gauge", "KV-cache usage. 1 means 100 percent usage.")
        lines += [
            f"{_name('kv_cache_usage_perc', model)} {min(1.0, counts.running / 256)}"
            for model, counts in self._models.items()
        ]
        for name, help_text, attribute in (
            (
                "prefix_cache_queries",
                "Prefix cache queries, in terms of number of queried tokens.",
                "prompt_tokens",
            ),
            ("prefix_cache_hits", "Prefix cache hits, in terms of number of cached tokens.", "cached_tokens"),
            ("prompt_tokens", "Number of prefill tokens processed.", "prompt_tokens"),
            ("prompt_tokens_cached", "Number of cached prompt tokens (local + external).", "cached_tokens"),
            ("generation_tokens", "Number of generation tokens processed.", "generation_tokens"),
        ):
            self._expose(lines, f"{name}_total", "counter", help_text, attribute)
        lines += _head("request_success_total", "counter", "Count of successfully processed requests.")
        for model, counts in self._models.items():
            lines += [
                f"{_name('request_success_total', model, finished_reason=reason)} {float(count)}"
                for reason, count in counts.finished.items()
            ]
        for name, (_, help_text) in _HISTOGRAMS.items():
            lines += _head(name, "histogram", help_text)
            for model, counts in self._models.items():
                lines += _expose_histogram(name, model, counts.histograms[name])
        lines += [
            "# HELP sim:requests_aborted_total Requests whose client went away.",
            "# TYPE sim:requests_aborted_total counter",
        ]
        lines += [
            f'sim:requests_aborted_total{{model_name="{model}"}} {c.aborted}'
            for model, c in self._models.items()
        ]
        return ("\n".join(lines) + "\n").encode()

    def _expose(self, lines: list[str], name: str, kind: str, help_text: str, attribute: str) -> None:
        lines += _head(name, kind, help_text)
        lines += [f"{_name(name, model)} {float(getattr(c, attribute))}" for model, c in self._models.items()]


def _head(name: str, kind: str, help_text: str) -> list[str]:
    return [f"# HELP vllm:{name} {help_text}", f"# TYPE vllm:{name} {kind}"]


def _name(name: str, model: str, **labels: str) -> str:
    labels = {"engine": "0", "model_name": model.translate(_ESCAPES), **labels}
    inside = ",".join(f'{key}="{value}"' for key, value in sorted(labels.items()))
    return f"vllm:{name}{{{inside}}}"


def _expose_histogram(name: str, model: str, histogram: _Histogram) -> list[str]:
    lines, total = [], 0
    for bound, count in zip((*map(str, histogram.bounds), "+Inf"), histogram.counts, strict=True):
        total += count
        lines.append(f"{_name(name + '_bucket', model, le=bound)} {float(total)}")
    lines.append(f"{_name(name + '_count', model)} {float(total)}")
    lines.append(f"{_name(name + '_sum', model)} {histogram.sum}")
    return lines


_ESCAPES = str.maketrans({'"': r"\"", "\\": r"\\", "\n": r"\n"})
