"""Every metric that dashboards, rules and alerts may use, with its labels: those of the project, of the pinned vLLM (as
recorded from it), of dcgm-exporter and of the kubelet."""

import re
from collections.abc import Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.parser import text_string_to_metric_families

from llmservice_operator import metrics
from llmservice_operator.autoscaling import external_metrics
from llmservice_operator.batches import metrics as batches

ROOT = Path(__file__).parents[2]
RECORDED = ROOT / "tests" / "fixtures" / "metrics"
ENGINE_NAMES = RECORDED / "engine-names.txt"
LUA = ROOT / "operator" / "llmservice_operator" / "gateway" / "lua"

TARGET_LABELS = frozenset({"namespace", "pod", "instance", "job", "exported_namespace", "exported_pod"})
"""Labels that Prometheus adds to the series of a scraped pod, or keeps beside its own."""
_OF_SERVICES = frozenset({"llmservice_namespace", "llmservice"})


def _registered(registry: CollectorRegistry) -> Iterator[tuple[str, frozenset[str]]]:
    for collector in list(registry._collector_to_names):
        labels = frozenset(getattr(collector, "_labelnames", ()))
        for family in collector.describe() if hasattr(collector, "describe") else ():
            if isinstance(collector, Histogram):
                yield from ((f"{family.name}_{part}", labels) for part in ("sum", "count"))
                yield f"{family.name}_bucket", labels | {"le"}
            else:
                yield f"{family.name}_total" if family.type == "counter" else family.name, labels


def _of_services() -> Iterator[tuple[str, frozenset[str]]]:
    percentile = external_metrics.PERCENTILE_LABEL
    yield external_metrics.LOAD, _OF_SERVICES
    yield from ((name, _OF_SERVICES | {percentile}) for name in external_metrics.LATENCIES.values())
    for name in (external_metrics.COST_PER_HOUR, external_metrics.COST_PER_MILLION_TOKENS):
        yield name, _OF_SERVICES | {external_metrics.CURRENCY_LABEL}
    yield external_metrics.CONDITION, _OF_SERVICES | {"type", "status", "reason"}
    yield external_metrics.REPLICAS, _OF_SERVICES | {"state"}
    target = _OF_SERVICES | {external_metrics.LATENCY_LABEL, percentile}
    yield from ((external_metrics.TARGET, target), (external_metrics.OBJECTIVE, target | {"le"}))


def _of_gateway() -> Iterator[tuple[str, frozenset[str]]]:
    text = "\n".join(path.read_text() for path in sorted(LUA.glob("*.lua")))
    for name in re.findall(r"llmservice_gateway_[a-z_]+", text):
        yield name, frozenset({"namespace", "service", "pod", "code", "reason", "result", "replicas"})


def _recorded() -> Iterator[tuple[str, frozenset[str]]]:
    for line in ENGINE_NAMES.read_text().splitlines():
        name, _, labels = line.partition(" ")
        yield name, frozenset(labels.split(",")) - {""}
    for page in ("dcgm.txt", "kubelet.txt"):
        for family in text_string_to_metric_families((RECORDED / page).read_text()):
            for sample in family.samples:
                yield sample.name, frozenset(sample.labels)


KNOWN = dict(
    [
        *_registered(metrics.REGISTRY),
        *_registered(batches.REGISTRY),
        *_of_services(),
        *_of_gateway(),
        *_recorded(),
    ]
)
"""Labels by the name of a sample (NAME_bucket, NAME_total)."""


def names_of(page: str) -> str:
    """The samples of a page in the form of `engine-names.txt`: a name and its labels in each line."""
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return "".join(f"{name} {','.join(sorted(labels))}".rstrip() + "\n" for name, labels in sorted(found.items()))
