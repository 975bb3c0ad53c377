"""What the platform team sets for scaling: who serves the metrics API, and where Prometheus is."""

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


def _url(text: str) -> str:
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
_LABEL = matching(re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*"), "the name of a label")


class PrometheusSettings(Section):
    """Where Prometheus is, how to log in, and how its series name pods."""

    model_config = ConfigDict(alias_generator=lambda name: f"{PREFIX}PROMETHEUS_{name.upper()}")

    url: Annotated[str, Rule("a URL such as http://prometheus.monitoring:9090, without a login", _url)] = ""
    """The part before /api/v1. Empty: there is no Prometheus."""
    timeout_seconds: Annotated[float, seconds(1, 60)] = 10.0
    """Limit of one query."""
    window_seconds: Annotated[int, seconds(10, 3600)] = 60
    """Latencies are taken over this time; at least four scrapes."""
    ca_file: Annotated[Path | None, _FILE] = None
    """PEM file with the CA of its certificate. Absent: the system's CAs."""
    cert_file: Annotated[Path | None, _FILE] = None
    """PEM file with the operator's own certificate (mutual TLS)."""
    key_file: Annotated[Path | None, _FILE] = None
    """PEM file with the key of that certificate."""
    token_file: Annotated[Path | None, _FILE] = None
    """File with a bearer token, which is read again for each reading."""
    headers: Annotated[
        Mapping[str, str], Rule('a JSON object of texts such as {"X-Scope-OrgID": "team"}', _headers)
    ] = Field(default_factory=dict)
    """Further headers of each query."""
    insecure: Annotated[bool, TRUTH] = False
    """Whether its certificate is not checked."""
    namespace_label: Annotated[str, _LABEL] = "namespace"
    """Label of the engines' series that holds the pod's namespace."""
    pod_label: Annotated[str, _LABEL] = "pod"
    """Label of the engines' series that holds the pod's name."""
    matchers: Annotated[str, matching(_MATCHERS, 'matchers as PromQL has them, such as cluster="a"')] = ""
    """PromQL matchers that are added to every selector."""

    @model_validator(mode="after")
    def _certificate_and_key_go_together(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise Problems("LLMSERVICE_PROMETHEUS_CERT_FILE and LLMSERVICE_PROMETHEUS_KEY_FILE go together")
        return self


class ScalingSettings(Section):
    """How services are scaled."""

    adapter: Annotated[Adapter, one_of(*Adapter)] = Field(Adapter.NONE, alias=f"{PREFIX}SCALING_ADAPTER")
    """Who brings a service's load to its autoscaler: the operator serves external.metrics.k8s.io (own), a ScaledObject
    reads the operator's series from Prometheus (keda), the series reach the HPA through prometheus-adapter, or no
    autoscaler is made (none)."""
    interval_seconds: Annotated[float, seconds(1, 300)] = Field(15.0, alias=f"{PREFIX}SCALING_INTERVAL_SECONDS")
    """Time between two decisions."""
    api_port: Annotated[int, PORT] = Field(8443, alias=f"{PREFIX}METRICS_API_PORT")
    """Port of the metrics API; 0 opens none."""
    api_service: Annotated[str, matching(DOMAIN, "the name of a Service")] = Field(
        "llmservice-operator-metrics-api", alias=f"{PREFIX}METRICS_API_SERVICE"
    )
    """Name of its Service, in the operator's namespace."""
    pod_ip: Annotated[str, Rule("an IP address", lambda text: str(ipaddress.ip_address(text)))] = ""
    """Address under which the API server reaches this process."""
