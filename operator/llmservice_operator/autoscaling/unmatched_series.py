"""Why a ready service has no usable series: which series or label is missing, and what to set.

The messages stay the same while the cause is the same. Labels are written by others: if a series names another
namespace or none, the message for a service has none of its label values, and only names in ``KNOWN_LABELS``.
"""

from collections.abc import Iterable, Mapping, Sequence

from llmservice_operator.autoscaling.metrics_unavailable import LABELS_MATCH_NO_POD, NO_SERIES, MetricsUnavailable
from llmservice_operator.autoscaling.prometheus_answers import Row, clip
from llmservice_operator.autoscaling.prometheus_queries import (
    KIND,
    OTHER,
    RENAMED,
    RENAMED_METRIC,
    RUNNING_METRIC,
    UNLABELLED,
)
from llmservice_operator.autoscaling.signals import SeriesLabels, ServiceName, UnmatchedSeries

KNOWN_LABELS = (
    "kubernetes_namespace",
    "kubernetes_pod_name",
    "kubernetes_pod",
    "k8s_namespace_name",
    "k8s_pod_name",
    "kube_namespace",
    "kube_pod",
    "namespace_name",
    "pod_name",
    "namespace",
    "pod",
)
"""Labels with which exporters and common configurations name a pod and its namespace."""
CLAIMED_LABELS = ("exported_namespace", "exported_pod")
"""Labels that Prometheus gives to what a pod, or an exporter, states about itself."""
_MOST_LABELS = 32
"""Maximum number of labels in a message."""


def unmatched_series(rows: Iterable[Row], namespace_label: str, pod_label: str) -> tuple[UnmatchedSeries, ...]:
    """The series in the response to UNMATCHED."""
    found = []
    for row in rows:
        labels = {name: value for name, value in row.labels.items() if name not in (KIND, "__name__") and value}
        absent = tuple(label for label in (namespace_label, pod_label) if label not in labels)
        others = (each for each in (*KNOWN_LABELS, *CLAIMED_LABELS) if each not in (namespace_label, pod_label))
        known = tuple(each for each in others if each in labels)
        kind = row.labels.get(KIND) or (UNLABELLED if absent else OTHER)
        shown = {name: value for name, value in row.labels.items() if name not in (KIND, "__name__")}
        found.append(UnmatchedSeries(kind, selector(shown), labels.get(namespace_label, ""), absent, known))
    return tuple(found)


def no_series(
    name: ServiceName,
    unmatched: Sequence[UnmatchedSeries],
    any_engine: bool,
    labels: SeriesLabels,
    scraped: bool | None = None,
) -> MetricsUnavailable:
    """Why Prometheus has nothing of a service that is ready. ``any_engine``: whether it has series of any engine;
    ``scraped``: whether its last scrapes of the pods were successful, None if it does not scrape them."""
    if scraped is False:
        return MetricsUnavailable(
            NO_SERIES,
            f"{name[1]} is ready, but Prometheus can't scrape its pods (up is 0): see the error on its page Targets. "
            "Allow it in networks (chart value networkPolicy.prometheus), and scrape the port metrics with the path "
            "/metrics",
        )
    by_kind = {each.kind: each for each in unmatched if each.namespace in ("", name[0])}
    for kind in (RENAMED,) if scraped else (UNLABELLED, RENAMED, OTHER):
        if kind in by_kind:
            return _explained(name, by_kind[kind], labels)
    if scraped:
        return MetricsUnavailable(
            NO_SERIES,
            f"{name[1]} is ready and Prometheus scrapes its pods (up is 1), but has no {RUNNING_METRIC} of them. Look "
            "for a drop or a rename in metric_relabel_configs of the scrape job (metricRelabelings of a PodMonitor), "
            "and scrape the port metrics with the path /metrics",
        )
    wanted = f'{labels.namespace}="{name[0]}", {labels.pod}="{name[1]}-0"'
    if labels.matchers:
        wanted = f"{wanted}, {labels.matchers}"
    series = f"{RUNNING_METRIC}{{{wanted}}}"
    if not any_engine and not unmatched:
        return MetricsUnavailable(
            NO_SERIES,
            f"{name[1]} is ready, but Prometheus has no series {RUNNING_METRIC} of any engine, so not {series}. Check "
            "that scaling.prometheus.url is the Prometheus that scrapes this cluster, and that headers (the tenant) "
            f"and matchers of scaling.prometheus are right; then that it scrapes pod {name[1]}-0 (page Targets of "
            "Prometheus)",
        )
    return MetricsUnavailable(
        NO_SERIES,
        f"{name[1]} is ready, but Prometheus has no series of its pods ({series}): check that it scrapes pod "
        f"{name[1]}-0 (page Targets of Prometheus) and that no relabeling rule drops the series",
    )


def _explained(name: ServiceName, series: UnmatchedSeries, labels: SeriesLabels) -> MetricsUnavailable:
    # Labels of unrelated series are not shown to every service: the log has them.
    such = f"such as {clip(series.labels)}" if series.namespace else "the operator's log has an example"
    if series.kind == RENAMED:
        return MetricsUnavailable(
            NO_SERIES,
            f"Prometheus has no series {RUNNING_METRIC} of the pods of {name[1]}, but {RENAMED_METRIC} ({such}). "
            "The engines' series must keep their names, with the colon: correct the rule or the exporter (such as an "
            "OpenTelemetry Collector) that renames them, or let Prometheus scrape the pods itself",
        )
    if series.kind == OTHER:
        return MetricsUnavailable(
            LABELS_MATCH_NO_POD,
            f"Prometheus has no series of the pods of {name[1]}, and others of engines in namespace {name[0]} whose "
            f"label {labels.pod} is not the name of a pod of a service, {such}. If they are of {name[1]}, correct the "
            "chart value scaling.prometheus.labels.pod or the relabeling of the scrape job; if not, check that it "
            f"scrapes pod {name[1]}-0 (page Targets of Prometheus)",
        )
    fields = {labels.namespace: "namespace", labels.pod: "pod"}
    missing = " and ".join(series.absent)
    settings = " and ".join(f"scaling.prometheus.labels.{fields[label]}" for label in series.absent)
    return MetricsUnavailable(
        LABELS_MATCH_NO_POD,
        f"Prometheus has series of engines whose labels name no pod of {name[1]}: they have no label {missing} "
        f"({such}). " + _advice(series, settings),
    )


def _advice(series: UnmatchedSeries, settings: str) -> str:
    claimed = [each for each in series.known if each in CLAIMED_LABELS]
    usable = [each for each in series.known if each in KNOWN_LABELS]
    if claimed and not usable:
        return (
            f"Their labels {' and '.join(claimed)} are what the pod or an exporter says, and count for nothing: let "
            "the scrape job attach the labels of the pod that it discovers"
        )
    if usable:
        return (
            f"They have {', '.join(usable)}: if Prometheus attaches these, name them in the chart value {settings}; if "
            "not, correct the relabeling of the scrape job"
        )
    return f"Correct the chart value {settings} or the relabeling of the scrape job"


def selector(labels: Mapping[str, str]) -> str:
    """The labels in PromQL syntax, cut to a length."""
    shown = sorted(labels.items())[:_MOST_LABELS]
    return f"{{{', '.join(f'{clip(name)}={_quoted(value)}' for name, value in shown)}}}"


def _quoted(value: str) -> str:
    escaped = clip(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
