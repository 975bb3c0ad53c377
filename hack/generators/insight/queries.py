"""Parts of PromQL that dashboards and rules share.

An engine's series has the labels `namespace` and `pod` of its pod, whose name is that of the service and a number. The
operator's series of services have `llmservice_namespace` and `llmservice`, and those that alerts trust also have the
operator's own namespace.
"""

from __future__ import annotations

INTERVAL = "$__rate_interval"
"""Grafana's variable: the panel's step, at least four scrapes."""
SERVICE = "namespace, llmservice"
"""The two labels by which results are summed up."""

PODS = 'namespace=~"$namespace", pod=~"$service-[0-9]+"'
"""The pods of the services that a dashboard shows."""
SERVICES = 'llmservice_namespace=~"$namespace", llmservice=~"$service"'
"""The same for the operator's series of services."""
OPERATOR = 'namespace=~"$operator_namespace"'
"""The operator's own series."""


def by_service(expression: str, *more: str, how: str = "sum") -> str:
    """The sum (or max, ...) by namespace, service and further labels of series of engines."""
    labels = ", ".join((SERVICE, *more))
    return f'{how} by ({labels}) (label_replace({expression}, "llmservice", "$1", "pod", "(.+)-[0-9]+"))'


def rate(name: str, *matchers: str, of: str = PODS, over: str = INTERVAL) -> str:
    """The rate of a counter's series."""
    return f"rate({name}{{{', '.join((of, *matchers))}}}[{over}])"


def quantile(share: float, histogram: str, *more: str) -> str:
    """A quantile of a histogram by service."""
    return f"histogram_quantile({share:g}, {by_service(rate(f'{histogram}_bucket'), 'le', *more)})"


def mean(histogram: str) -> str:
    """The mean of a histogram by service."""
    return f"{by_service(rate(f'{histogram}_sum'))} / {by_service(rate(f'{histogram}_count'))}"


def of_pods(name: str, *labels: str, per: str = "max") -> str:
    """Series of an exporter on the node about the services' pods. Prometheus keeps their labels as they are
    (`honorLabels`), or puts `exported_` before them."""
    kept = ", ".join(("namespace", "pod", *labels))
    exported = 'exported_namespace=~"$namespace", exported_pod=~"$service-[0-9]+"'
    renamed = (
        f"{per} by (exported_namespace, exported_pod{''.join(f', {each}' for each in labels)}) ({name}{{{exported}}})"
    )
    for label in ("namespace", "pod"):
        renamed = f'label_replace({renamed}, "{label}", "$1", "exported_{label}", "(.+)")'
    return f"{per} by ({kept}) ({name}{{{PODS}}} or {renamed})"
