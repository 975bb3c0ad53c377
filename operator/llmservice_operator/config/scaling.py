"""Settings for autoscaling: which component serves the metrics API, and the address of Prometheus."""

import ipaddress
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, model_validator

from llmservice_operator.config.section import (
    DOMAIN,
    PORT,
    PREFIX,
    TRUTH,
    Problems,
    Rule,
    Section,
    matching,
    one_of,
    seconds,
)
from llmservice_operator.resources.platform import Adapter

_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_URL = re.compile(r"https?://[A-Za-z0-9.\-_\[\]:]+(/[^\s?#]*)?")
_MATCHERS = re.compile(r'[a-zA-Z_]\w*\s*(=|!=|=~|!~)\s*"[^"]*"(\s*,\s*[a-zA-Z_]\w*\s*(=|!=|=~|!~)\s*"[^"]*")*')


def read_url(text: str) -> str:
    """A URL without a slash at its end. Raises ValueError for any other text."""
    if not _URL.fullmatch(text):
        raise ValueError(text)
    return text.rstrip("/")


def _headers(text: str) -> Mapping[str, str]:
    found: Any = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError(text)
    for name, value in found.items():
        if not _HEADER.fullmatch(name) or not isinstance(value, str) or not value.isprintable():
            raise ValueError(text)
    return found


_FILE = Rule("a path", Path)
_LABEL = matching(re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*"), "a label name of Prometheus")


class PrometheusSettings(Section):
    """The address of Prometheus, its authentication, and the labels of its series."""

    model_config = ConfigDict(alias_generator=lambda name: f"{PREFIX}PROMETHEUS_{name.upper()}")

    url: Annotated[str, Rule("a URL such as http://prometheus.monitoring:9090, without credentials", read_url)] = ""
    """URL of Prometheus, without /api/v1. Empty: there is no Prometheus."""
    proxy: Annotated[str, Rule("a URL such as http://proxy.example.com:3128, without credentials", read_url)] = ""
    """URL of a forward proxy to Prometheus. Empty: none."""
    timeout_seconds: Annotated[float, seconds(1, 60)] = 10.0
    """Timeout of one query, in seconds."""
    window_seconds: Annotated[int, seconds(10, 3600)] = 60
    """Window of the latencies, in seconds; at least four scrape intervals."""
    ca_file: Annotated[Path | None, _FILE] = None
    """PEM file with the CA of Prometheus' certificate. Absent: the system's CAs."""
    cert_file: Annotated[Path | None, _FILE] = None
    """PEM file with the operator's client certificate (mutual TLS)."""
    key_file: Annotated[Path | None, _FILE] = None
    """PEM file with the private key of that certificate."""
    token_file: Annotated[Path | None, _FILE] = None
    """File with a bearer token. It is read again before each read of Prometheus."""
    username_file: Annotated[Path | None, _FILE] = None
    """File with the user of Basic authentication. It is read again before each read of Prometheus."""
    password_file: Annotated[Path | None, _FILE] = None
    """File with the password of that user."""
    headers: Annotated[
        Mapping[str, str], Rule('a JSON object of strings such as {"X-Scope-OrgID": "team"}', _headers)
    ] = Field(default_factory=dict)
    """Additional headers of each query."""
    insecure: Annotated[bool, TRUTH] = False
    """Whether to skip the verification of Prometheus' certificate."""
    namespace_label: Annotated[str, _LABEL] = "namespace"
    """Label with the pod's namespace in the engines' series."""
    pod_label: Annotated[str, _LABEL] = "pod"
    """Label with the pod's name in the engines' series."""
    matchers: Annotated[str, matching(_MATCHERS, 'label matchers of PromQL, such as cluster="a"')] = ""
    """PromQL label matchers that are added to every selector."""

    @model_validator(mode="after")
    def _files_go_together(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise Problems(
                "LLMSERVICE_PROMETHEUS_CERT_FILE and LLMSERVICE_PROMETHEUS_KEY_FILE must be set together, or neither"
            )
        if (self.username_file is None) != (self.password_file is None):
            raise Problems(
                "LLMSERVICE_PROMETHEUS_USERNAME_FILE and LLMSERVICE_PROMETHEUS_PASSWORD_FILE must be set together"
            )
        if self.username_file is not None and self.token_file is not None:
            raise Problems(
                "LLMSERVICE_PROMETHEUS_TOKEN_FILE and LLMSERVICE_PROMETHEUS_USERNAME_FILE can't be set together"
            )
        return self


class ScalingSettings(Section):
    """How services are scaled."""

    adapter: Annotated[Adapter, one_of(*Adapter)] = Field(Adapter.NONE, alias=f"{PREFIX}SCALING_ADAPTER")
    """Metrics adapter for the autoscalers of services. own: the operator serves external.metrics.k8s.io; keda:
    ScaledObjects read the operator's series from Prometheus; prometheus-adapter: it serves the series to HPAs; none: no
    autoscaler is created."""
    interval_seconds: Annotated[float, seconds(1, 300)] = Field(15.0, alias=f"{PREFIX}SCALING_INTERVAL_SECONDS")
    """Interval of scaling decisions, in seconds."""
    api_port: Annotated[int, PORT] = Field(8443, alias=f"{PREFIX}METRICS_API_PORT")
    """Port of the metrics API; 0 disables it."""
    api_service: Annotated[str, matching(DOMAIN, "the name of a Service")] = Field(
        "llmservice-operator-metrics-api", alias=f"{PREFIX}METRICS_API_SERVICE"
    )
    """Name of the metrics API's Service, in the operator's namespace."""
    api_endpoints: Annotated[bool, TRUTH] = Field(False, alias=f"{PREFIX}METRICS_API_ENDPOINTS")
    """Whether the address of the metrics API is written as Endpoints too, which the API server of Kubernetes 1.33 reads
    instead of EndpointSlices."""
    pod_ip: Annotated[str, Rule("an IP address", lambda text: str(ipaddress.ip_address(text)))] = ""
    """IP address at which the API server reaches this pod."""
