"""What the platform team sets for scaling: who serves the metrics API, and where Prometheus is."""

import dataclasses
import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path

from llmservice_operator.settings_reader import DOMAIN, Reader, file, headers, matching, one_of, truth, url, whole

ADAPTERS = ("own", "keda", "prometheusAdapter", "none")
"""Who brings a service's load to its autoscaler. ``own``: the operator serves external.metrics.k8s.io. ``keda``: a
ScaledObject reads the operator's exported series from Prometheus. ``prometheusAdapter``: the same series reach the HPA
through prometheus-adapter. ``none``: no autoscaler is made."""


@dataclasses.dataclass(frozen=True)
class PrometheusSettings:
    """Where Prometheus is, how to log in, and how its series name pods."""

    url: str = ""
    """LLMSERVICE_PROMETHEUS_URL: http(s)://HOST[:PORT][/PATH], the part before /api/v1. Empty: there is none."""
    timeout_seconds: float = 10.0
    """LLMSERVICE_PROMETHEUS_TIMEOUT_SECONDS: limit of one query, 1 to 60."""
    window_seconds: int = 60
    """LLMSERVICE_PROMETHEUS_WINDOW_SECONDS: what latencies are taken over, 10 to 3600; at least four scrapes."""
    ca_file: Path | None = None
    """LLMSERVICE_PROMETHEUS_CA_FILE: PEM file with the CA of its certificate. Absent: the system's."""
    cert_file: Path | None = None
    """LLMSERVICE_PROMETHEUS_CERT_FILE: PEM file with the operator's own certificate (mutual TLS)."""
    key_file: Path | None = None
    """LLMSERVICE_PROMETHEUS_KEY_FILE: its key."""
    token_file: Path | None = None
    """LLMSERVICE_PROMETHEUS_TOKEN_FILE: file with a bearer token; read anew for each reading."""
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """LLMSERVICE_PROMETHEUS_HEADERS: a JSON object of further headers, such as {"X-Scope-OrgID": "team"}."""
    insecure: bool = False
    """LLMSERVICE_PROMETHEUS_INSECURE: true skips the check of its certificate."""
    namespace_label: str = "namespace"
    """LLMSERVICE_PROMETHEUS_NAMESPACE_LABEL: label of the engines' series that holds the pod's namespace."""
    pod_label: str = "pod"
    """LLMSERVICE_PROMETHEUS_POD_LABEL: label that holds the pod's name."""
    matchers: str = ""
    """LLMSERVICE_PROMETHEUS_MATCHERS: PromQL matchers added to every selector, such as cluster="a"."""


@dataclasses.dataclass(frozen=True)
class ScalingSettings:
    """How services are scaled."""

    adapter: str = "none"
    """LLMSERVICE_SCALING_ADAPTER: one of ADAPTERS."""
    interval_seconds: float = 15.0
    """LLMSERVICE_SCALING_INTERVAL_SECONDS: seconds between two decisions, 1 to 300."""
    api_port: int = 8443
    """LLMSERVICE_METRICS_API_PORT: port of the metrics API; 0 opens none."""
    api_service: str = "llmservice-operator-metrics-api"
    """LLMSERVICE_METRICS_API_SERVICE: name of its Service, in the operator's namespace."""
    pod_ip: str = ""
    """LLMSERVICE_POD_IP: address under which the API server reaches this process."""


def scaling(reader: Reader) -> ScalingSettings:
    """Read what concerns scaling as a whole."""
    default = ScalingSettings()
    return ScalingSettings(
        adapter=reader.read(
            "LLMSERVICE_SCALING_ADAPTER", default.adapter, one_of(*ADAPTERS), f"one of {', '.join(ADAPTERS)}"
        ),
        interval_seconds=reader.read(
            "LLMSERVICE_SCALING_INTERVAL_SECONDS",
            default.interval_seconds,
            whole(1, 300),
            "whole seconds from 1 to 300",
        ),
        api_port=reader.read("LLMSERVICE_METRICS_API_PORT", default.api_port, whole(0, 65_535), "a port, or 0"),
        api_service=reader.read(
            "LLMSERVICE_METRICS_API_SERVICE", default.api_service, matching(DOMAIN), "the name of a Service"
        ),
        pod_ip=reader.read(
            "LLMSERVICE_POD_IP", default.pod_ip, lambda text: str(ipaddress.ip_address(text)), "an IP address"
        ),
    )


def prometheus(reader: Reader) -> PrometheusSettings:
    """Read what concerns Prometheus."""
    default = PrometheusSettings()
    name = matching(re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*"))
    matchers = re.compile(r'[a-zA-Z_]\w*\s*(=|!=|=~|!~)\s*"[^"]*"(\s*,\s*[a-zA-Z_]\w*\s*(=|!=|=~|!~)\s*"[^"]*")*')

    def path(which: str) -> Path | None:
        return reader.read(f"LLMSERVICE_PROMETHEUS_{which}_FILE", None, file, "a path")

    found = PrometheusSettings(
        url=reader.read(
            "LLMSERVICE_PROMETHEUS_URL",
            default.url,
            url,
            "a URL such as http://prometheus.monitoring:9090, no login in it",
        ),
        timeout_seconds=reader.read(
            "LLMSERVICE_PROMETHEUS_TIMEOUT_SECONDS",
            default.timeout_seconds,
            whole(1, 60),
            "whole seconds from 1 to 60",
        ),
        window_seconds=reader.read(
            "LLMSERVICE_PROMETHEUS_WINDOW_SECONDS",
            default.window_seconds,
            whole(10, 3600),
            "whole seconds from 10 to 3600",
        ),
        ca_file=path("CA"),
        cert_file=path("CERT"),
        key_file=path("KEY"),
        token_file=path("TOKEN"),
        headers=reader.read(
            "LLMSERVICE_PROMETHEUS_HEADERS",
            default.headers,
            headers,
            'a JSON object of texts such as {"X-Scope-OrgID": "team"}',
        ),
        insecure=reader.read("LLMSERVICE_PROMETHEUS_INSECURE", default.insecure, truth, "true or false"),
        namespace_label=reader.read(
            "LLMSERVICE_PROMETHEUS_NAMESPACE_LABEL", default.namespace_label, name, "the name of a label"
        ),
        pod_label=reader.read("LLMSERVICE_PROMETHEUS_POD_LABEL", default.pod_label, name, "the name of a label"),
        matchers=reader.read(
            "LLMSERVICE_PROMETHEUS_MATCHERS",
            default.matchers,
            matching(matchers),
            'matchers as PromQL has them, such as cluster="a"',
        ),
    )
    if (found.cert_file is None) != (found.key_file is None):
        reader.problems.append("LLMSERVICE_PROMETHEUS_CERT_FILE and LLMSERVICE_PROMETHEUS_KEY_FILE go together")
    return found
