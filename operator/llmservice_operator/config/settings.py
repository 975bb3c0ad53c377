"""All settings of the operator: one immutable object, read from the environment at start."""

import dataclasses
import datetime
import itertools
import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field, InstanceOf, ValidationError

from llmservice_operator.api.service import Tracing
from llmservice_operator.config.allowed import (
    AllowedSettings,
    read_allowed_placement,
    read_allowed_pod,
    read_pod_annotations,
    read_pod_labels,
)
from llmservice_operator.config.cost import read_prices
from llmservice_operator.config.gateway_api import read_gateway_api
from llmservice_operator.config.network import read_network
from llmservice_operator.config.outgoing import read_ca_bundle, read_proxy
from llmservice_operator.config.resources import read_resources
from llmservice_operator.config.scaling import PrometheusSettings, ScalingSettings, read_url
from llmservice_operator.config.section import (
    CPU_LIMIT,
    DOMAIN,
    IMAGE,
    LABEL,
    LIMIT,
    NAMES,
    PORT,
    PREFIX,
    TRUTH,
    Problems,
    Rule,
    Section,
    matching,
    one_of,
    read,
    seconds,
    whole,
)
from llmservice_operator.resources.placements import AllowedPlacement
from llmservice_operator.resources.platform import (
    Allowed,
    FitPolicy,
    GatewayAPI,
    Network,
    Platform,
    Prices,
    Proxy,
    Upgrades,
    Window,
)
from llmservice_operator.resources.pod_allowlist import AllowedPod

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_DAY = f"(?:{'|'.join(_DAYS)})"
_WINDOW = re.compile(rf"({_DAY}(?:,{_DAY})*) ([0-2][0-9]:[0-5][0-9])-([0-2][0-9]:[0-5][0-9])")
_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_PLATFORM = Platform()
"""Its defaults are those of the settings."""


class SettingsError(Exception):
    """The environment has invalid values. ``problems`` has a sentence for each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def _endpoint(text: str) -> str:
    # As the CRD has it: by gRPC, without a path, vLLM sends without TLS.
    if text.startswith("https://") and len(text.split("/")) < 4:
        raise ValueError(text)
    try:
        return Tracing(endpoint=text).endpoint
    except ValidationError:
        raise ValueError(text) from None


def _window(text: str) -> Window:
    found = _WINDOW.fullmatch(text)
    if found is None:
        raise ValueError(text)
    begin, end = (datetime.time.fromisoformat(found[number]) for number in (2, 3))
    if begin == end:
        raise ValueError(text)
    return Window(frozenset(_DAYS.index(day) for day in found[1].split(",")), begin, end)


class OperatorSettings(Section):
    """Settings of the operator's process."""

    namespace: Annotated[str, LABEL] = "llmservice-system"
    """Namespace of the operator and of its Lease. Absent: the pod's namespace, otherwise the default."""
    namespaces: Annotated[tuple[str, ...], NAMES] = ()
    """Namespaces whose services the operator manages. Empty: all namespaces."""
    workers: Annotated[int, whole(1, 256)] = 16
    """Maximum number of concurrent reconciliations."""
    resync_seconds: Annotated[float, seconds(1, 86_400)] = 600.0
    """Interval of the resync, in seconds, which finds changes whose watch events were lost."""
    services_per_namespace: Annotated[int, whole(0, 100_000)] = 500
    """Maximum number of LLMServices in a namespace that the operator manages, the oldest ones; 0: no maximum."""
    log_format: Annotated[str, one_of("text", "json")] = "text"
    """Format of log lines."""
    log_level: Annotated[str, one_of("DEBUG", "INFO", "WARNING", "ERROR")] = "INFO"
    """Minimum level of log lines."""
    health_port: Annotated[int, PORT] = 8080
    """Port of /healthz and /readyz; 0 disables it."""
    metrics_port: Annotated[int, PORT] = 9090
    """Port of /metrics; 0 disables it."""
    lease_name: Annotated[str, matching(DOMAIN, "the name of an object")] = "llmservice-operator"
    """Name of the Lease that the leader holds."""
    ca_bundle: Annotated[Path | None, Rule("a path", Path)] = None
    """PEM file with private CAs that engines and inspections trust beside the public ones. It is read at start; its
    certificates are copied into the namespace of each service."""
    leader_election: Annotated[bool, TRUTH] = True
    """Whether operators elect a leader. Without it, never run two operators for the same namespaces."""


class PlatformSettings(Section):
    """Settings for all services."""

    runtime_image: Annotated[str, IMAGE] = _PLATFORM.runtime_image
    """Image of the engine for NVIDIA GPUs."""
    runtime_image_amd: Annotated[str, IMAGE] = _PLATFORM.runtime_image_amd
    """Image of the engine for AMD GPUs."""
    runtime_image_cpu: Annotated[str, IMAGE] = _PLATFORM.runtime_image_cpu
    """Image of the engine for CPUs."""
    image_pull_policy: Annotated[str, one_of("Always", "IfNotPresent", "Never")] = _PLATFORM.image_pull_policy
    """Pull policy of the engine's image."""
    image_pull_secrets: Annotated[tuple[str, ...], NAMES] = ()
    """Pull secrets, which must exist in the namespace of each service."""
    cluster_domain: Annotated[str, matching(DOMAIN, "a DNS domain")] = _PLATFORM.cluster_domain
    """DNS domain of the cluster."""
    proxy: Annotated[Proxy | None, Rule("a JSON object in the form of the chart value runtime.proxy", read_proxy)] = (
        _PLATFORM.proxy
    )
    """Forward proxy of engines and inspections, as a JSON object with http, https and noProxy."""
    fixed_user: Annotated[bool, TRUTH] = _PLATFORM.fixed_user
    """Whether pods have the user and group of the images (65532). False: the cluster chooses them, as on OpenShift."""
    ip_family_policy: Annotated[str, one_of("SingleStack", "PreferDualStack", "RequireDualStack")] = (
        _PLATFORM.ip_family_policy
    )
    """ipFamilyPolicy of the Services. Absent: the cluster's default, one family."""
    node_lost_seconds: Annotated[int, seconds(10, 86_400)] = _PLATFORM.node_lost_seconds
    """Time after which a node that is not Ready counts as failed, and its pods are replaced on other nodes, in
    seconds."""
    max_node_provision_seconds: Annotated[int | None, seconds(0, 14_400)] = None
    """How long a node autoscaler may take to add a node, in seconds. 0: nodes are not added on demand. Absent: 900
    after cluster-autoscaler or Karpenter has reported that it adds a node."""
    tracing_endpoint: Annotated[str, Rule("an OTLP endpoint such as http://otel-collector.tracing:4317", _endpoint)] = (
        ""
    )
    """Collector to which services without spec.tracing send traces, as in that field. Absent: they are not traced."""
    tracing_sampling_percent: Annotated[int, whole(0, 100)] = _PLATFORM.tracing_sampling_percent
    """Percentage of the requests of these services that are traced."""
    gateway_url: Annotated[str, Rule("a URL such as http://gateway-metrics.llmservice-system:9090", read_url)] = ""
    """URL of the NGINX gateway's metrics port, with a host name that has the addresses of all its pods. The operator
    reads there how requests to canaries end. Empty: there is no gateway."""
    gateway_namespaces: Annotated[tuple[str, ...], NAMES] = ()
    """Namespaces that the gateway serves. Empty: all."""
    upgrades: Annotated[Upgrades, one_of(*Upgrades)] = _PLATFORM.upgrades
    """When an upgrade of the operator may restart pods: after approval, or at once."""
    upgrade_window: Annotated[Window | None, Rule("days and hours in UTC such as Sat,Sun 22:00-04:00", _window)] = None
    """Weekly time window in which an upgrade may restart pods without approval."""
    fit_policy: Annotated[FitPolicy, one_of(*FitPolicy)] = Field(FitPolicy.WARN, alias=f"{PREFIX}FIT")
    """What happens if a model does not fit the GPUs of its service."""
    cpu_limit: Annotated[str, CPU_LIMIT] = _PLATFORM.cpu_limit
    """Default CPU limit of engines. Request: what is requested."""
    inspection_resources: Annotated[
        Mapping[str, Mapping[str, str]],
        Rule("a JSON object with requests and limits as in a container's resources", read_resources),
    ] = Field(default_factory=dict)
    """Requests and limits of inspections in place of the defaults."""
    memory_limit: Annotated[str, LIMIT] = _PLATFORM.memory_limit
    """Default memory limit of engines."""
    ephemeral_storage_limit: Annotated[str, LIMIT] = _PLATFORM.ephemeral_storage_limit
    """Default ephemeral storage limit of engines."""
    allowed_placement: Annotated[
        AllowedPlacement, Rule("a JSON object with lists of the chart value allowed", read_allowed_placement)
    ] = AllowedPlacement()
    """Placements that services may request. An absent list has the chart's default."""
    pod_labels: Annotated[Mapping[str, str], Rule("a JSON object with labels", read_pod_labels)] = Field(
        default_factory=dict
    )
    """Labels of the pods of all services."""
    pod_annotations: Annotated[Mapping[str, str], Rule("a JSON object with annotations", read_pod_annotations)] = Field(
        default_factory=dict
    )
    """Annotations of the pods of all services."""
    allowed_pod: Annotated[
        AllowedPod, Rule("a JSON object with values of the chart value allowed", read_allowed_pod)
    ] = AllowedPod()
    """What services may add to their pods. An absent list has the chart's default."""
    network: Annotated[
        Network | None,
        Rule("a JSON object in the form that the chart writes for its value networkPolicy", read_network),
    ] = Field(None, alias=f"{PREFIX}NETWORK_POLICY")
    """Who may connect to services, and where services may connect to. Absent: no NetworkPolicy is created."""
    gateway_api: Annotated[
        GatewayAPI | None,
        Rule("a JSON object in the form that the chart writes for its value gateway", read_gateway_api),
    ] = None
    """Gateways of the Gateway API to which all services are attached. Absent: none."""
    prices: Annotated[Prices, Rule("a JSON object in the form of the chart value cost", read_prices)] = Field(
        Prices(), alias=f"{PREFIX}COST"
    )
    """Prices of GPUs."""
    keda_authentication: Annotated[str, matching(DOMAIN, "the name of a ClusterTriggerAuthentication")] = ""
    """ClusterTriggerAuthentication with which KEDA authenticates to Prometheus."""
    keda_auth_modes: Annotated[str, matching(re.compile("[a-z,]+"), "authentication modes of KEDA, such as bearer")] = (
        ""
    )
    """Authentication modes of KEDA for Prometheus."""


class Settings(OperatorSettings):
    """All settings. The fields defined here are not environment variables."""

    platform: InstanceOf[Platform] = Field(default_factory=Platform)
    scaling: InstanceOf[ScalingSettings] = Field(default_factory=ScalingSettings)
    prometheus: InstanceOf[PrometheusSettings] = Field(default_factory=PrometheusSettings)
    identity: str = "operator"
    """Identity in the Lease: HOSTNAME and process id."""


SECTIONS: tuple[type[Section], ...] = (
    OperatorSettings,
    PlatformSettings,
    AllowedSettings,
    ScalingSettings,
    PrometheusSettings,
)
"""All settings that are environment variables."""


def from_environment(environment: Mapping[str, str] | None = None) -> Settings:
    """The settings in ``environment`` (default: that of the process).

    Raises SettingsError with a sentence for each invalid variable.
    """
    given, problems = os.environ if environment is None else environment, list[str]()
    operator = read(OperatorSettings, given, problems)
    if not given.get(f"{PREFIX}NAMESPACE", "").strip() and (own := _own_namespace()):
        operator = operator.model_copy(update={"namespace": own})
    scaling, prometheus = read(ScalingSettings, given, problems), read(PrometheusSettings, given, problems)
    common, allowed = read(PlatformSettings, given, problems), read(AllowedSettings, given, problems)
    own_series = f'{prometheus.namespace_label}="{operator.namespace}"'
    platform = Platform(
        **dict(common),
        # What is in the file is read where the operator runs.
        ca_bundle=None if operator.ca_bundle is None else "",
        allowed=Allowed(**dict(allowed)),
        adapter=scaling.adapter,
        prometheus_url=prometheus.url,
        prometheus_matchers=",".join(each for each in (own_series, prometheus.matchers) if each),
        prometheus_insecure=prometheus.insecure,
        keda_headers=",".join(f"{name}={value}" for name, value in prometheus.headers.items()),
    )
    ports = {
        "LLMSERVICE_HEALTH_PORT": operator.health_port,
        "LLMSERVICE_METRICS_PORT": operator.metrics_port,
        "LLMSERVICE_METRICS_API_PORT": scaling.api_port if scaling.adapter == "own" else 0,
    }
    for (one, port), (other, other_port) in itertools.combinations(ports.items(), 2):
        if 0 != port == other_port:
            problems.append(f"{one} and {other} must be different ports, but both are {port}")
    if scaling.adapter == "keda" and any(set(value) & {"=", ","} for value in prometheus.headers.values()):
        problems.append("LLMSERVICE_PROMETHEUS_HEADERS: KEDA does not support header values with '=' or ','")
    if problems:
        raise SettingsError(problems)
    identity = f"{given.get('HOSTNAME') or socket.gethostname()}_{os.getpid()}"
    return Settings(**dict(operator), platform=platform, scaling=scaling, prometheus=prometheus, identity=identity)


def with_files(settings: Settings) -> Settings:
    """The settings with the content of the files that are read at start. Raises SettingsError."""
    if settings.ca_bundle is None:
        return settings
    try:
        bundle = read_ca_bundle(settings.ca_bundle)
    except Problems as error:
        raise SettingsError([f"{PREFIX}CA_BUNDLE: {problem}" for problem in error.problems]) from error
    return settings.model_copy(update={"platform": dataclasses.replace(settings.platform, ca_bundle=bundle)})


def _own_namespace() -> str:
    try:
        return _NAMESPACE_FILE.read_text().strip()
    except OSError:
        return ""
