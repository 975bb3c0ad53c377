"""Metrics of files and batches."""

from prometheus_client import CollectorRegistry, Counter, Gauge

REGISTRY = CollectorRegistry()
LINES = Counter(
    "llmservice_batches_lines_total",
    "Lines that have a result: answered, failed (an error of the service), unanswered (cancelled or expired).",
    ["result"],
    registry=REGISTRY,
)
REPEATED = Counter(
    "llmservice_batches_repeated_lines_total", "Lines that are sent again, by reason.", ["reason"], registry=REGISTRY
)
IN_WORK = Gauge("llmservice_batches_lines_in_work", "Lines that were sent and have no answer yet.", registry=REGISTRY)
BATCHES_ENDED = Counter(
    "llmservice_batches_ended_total", "Batches that ended, by status.", ["status"], registry=REGISTRY
)
