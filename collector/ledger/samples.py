"""Measurements that came by OTLP as rows of `samples`. Pure: a request enters, samples leave.

What is kept is on a list of names (hardware, vLLM, model servers): an application's own metrics are taken
and dropped. Of a histogram its count and its sum are kept, which give the mean between any two samples.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, Metric

from collector.ledger import names
from collector.ledger.heard import plain_attributes
from collector.ledger.sightings import first, text

LATEST_US = 2**62  # no point of a clock that went mad
DELTA = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA


class Sample(NamedTuple):
    name: str
    series: str
    at_us: int
    host: str
    kind: str  # gauge, sum, delta
    value: float


def read_samples(request: ExportMetricsServiceRequest) -> tuple[list[Sample], int]:
    """The samples, and how many data points were none."""
    samples: list[Sample] = []
    bad = 0
    for resource in request.resource_metrics:
        about = plain_attributes(resource.resource.attributes)
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                if metric.name.startswith(names.SAMPLED):
                    for sample in read_metric(metric, about):
                        if is_sound(sample):
                            samples.append(sample)
                        else:
                            bad += 1
    return samples, bad


def is_sound(sample: Sample) -> bool:
    return math.isfinite(sample.value) and 0 < sample.at_us < LATEST_US


def read_metric(metric: Metric, about: Mapping[str, Any]) -> Iterator[Sample]:
    form, host = metric.WhichOneof("data"), text(first(about, names.HOST))
    if form is None:
        return
    data = getattr(metric, form)
    temporality = getattr(data, "aggregation_temporality", None)
    kind = "gauge" if temporality is None else "delta" if temporality == DELTA else "sum"
    for point in data.data_points:
        given = plain_attributes(point.attributes)
        series = name_series({**about, **given})
        at_us = point.time_unix_nano // 1000
        if form in ("gauge", "sum"):
            value = point.as_int if point.WhichOneof("value") == "as_int" else point.as_double
            yield Sample(metric.name, series, at_us, host, kind, float(value))
        else:
            yield Sample(f"{metric.name}.count", series, at_us, host, kind, float(point.count))
            if form == "summary" or point.HasField("sum"):
                yield Sample(f"{metric.name}.sum", series, at_us, host, kind, float(point.sum))


def name_series(given: Mapping[str, Any]) -> str:
    """What tells one series from another: few names, so that nobody's labels fill the table."""
    pairs = [(name, given[name]) for name in (*names.SAMPLED_BY, *names.HOST) if given.get(name) is not None]
    return ",".join(f"{name}={str(value)[:120]}" for name, value in sorted(set(pairs)))
