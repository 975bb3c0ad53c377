"""The platform team's settings for all services: images, defaults, network, prices and permissions. They are set when
the operator starts and never change."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Any

from llmservice_operator.api import CLUSTER_MODEL_KIND, MODEL_KIND
from llmservice_operator.autoscaling.external_metrics import Adapter as Adapter
from llmservice_operator.resources.placements import AllowedPlacement
from llmservice_operator.resources.pod_allowlist import AllowedPod


@dataclasses.dataclass(frozen=True)
class Price:
    """The price of one GPU."""

    per_hour: Decimal
    """In the currency of all prices."""
    source: str
    """Source of the price, such as a contract."""
    date: str
    """Date of the price, as YYYY-MM-DD."""


@dataclasses.dataclass(frozen=True)
class Prices:
    """All prices; empty if the platform team sets none."""

    currency: str = ""
    """ISO 4217 code, such as EUR."""
    gpu_hours: Mapping[str, Price] = dataclasses.field(default_factory=dict)
    """By product, as in the node label; for a MIG profile ``PRODUCT-MIG-PROFILE``."""


Peer = Mapping[str, Any]
"""A peer of a NetworkPolicy: a podSelector, a namespaceSelector or both, or an ipBlock."""

MOST_PEERS = 16
"""Maximum length of each list of peers."""
MOST_ADDRESSES = 32
"""Maximum number of excepted networks, and of addresses of the API server."""

ANY_POD: Peer = {"namespaceSelector": {}}


@dataclasses.dataclass(frozen=True)
class Network:
    """Who may connect to a service's pods, and where these may connect to."""

    clients: tuple[Peer, ...] = ()
    """Who may connect to the clients' port. If ``gateways`` is empty too: everyone."""
    gateways: tuple[Peer, ...] = ()
    """Gateways and ingress controllers, which may connect to it too."""
    prometheus: tuple[Peer, ...] = ()
    """Who may connect to the metrics port."""
    pods: tuple[Peer, ...] = (ANY_POD,)
    """Pods that the service's pods may connect to: hubs, stores and collectors in the cluster."""
    excepted: tuple[str, ...] = ()
    """Networks that the service's pods may not connect to, as CIDRs."""
    api_server: tuple[str, ...] = ()
    """The API server's addresses, as CIDRs of one address each."""


@dataclasses.dataclass(frozen=True)
class Proxy:
    """The forward proxy for connections of engines and inspections to hubs and stores outside the cluster."""

    http: str = ""
    """URL of the proxy for http://; empty: none."""
    https: str = ""
    """URL of the proxy for https://; empty: none."""
    no_proxy: tuple[str, ...] = ()
    """Hosts, domains and networks that are reached without it, beside those of the cluster."""


@dataclasses.dataclass(frozen=True)
class Allowed:
    """What the specs of services may name."""

    service_accounts: tuple[str, ...] = ()
    """ServiceAccounts that pods may use, as NAMESPACE/NAME."""
    sources: tuple[str, ...] | None = None
    """Allowed prefixes of model sources, each ending with a slash; None: all."""
    stores: tuple[str, ...] | None = None
    """Addresses of allowed stores, as HOST:PORT in lower case. None: all; a login is sent only if the Secret contains
    the address."""
    media_domains: tuple[str, ...] = ()
    """Domains from which every engine may fetch media, including private addresses."""
    extra_args: tuple[str, ...] | None = None
    """vLLM arguments that ``spec.engine.extraArgs`` may have, out of those that any service may set; None: all."""
    extra_args_except: tuple[str, ...] = ()
    """Arguments that it may not have."""
    engine_env: tuple[str, ...] | None = None
    """The same for ``spec.engine.env``."""
    engine_env_except: tuple[str, ...] = ()
    device_classes: tuple[str, ...] | None = None
    """DeviceClasses that ``spec.accelerator.deviceClassName`` may name; None: all."""
    device_selectors: bool = False
    """Whether ``spec.accelerator.deviceSelectors`` may be set."""
    trace_flags: bool = False
    """Whether clients decide if their requests are traced."""


NOTHING_ALLOWED = Allowed()


@dataclasses.dataclass(frozen=True)
class Window:
    """A weekly time window, in UTC, in which services may be restarted without approval."""

    days: frozenset[int]
    """0 is Monday."""
    begin: datetime.time
    end: datetime.time
    """Exclusive. If it is before ``begin``, the window ends on the next day, which need not be one of ``days``."""

    def holds(self, now: datetime.datetime) -> bool:
        """Whether ``now`` is in the window."""
        utc = now.astimezone(datetime.UTC)
        time, today = utc.time(), utc.weekday()
        if self.begin < self.end:
            return today in self.days and self.begin <= time < self.end
        return (today in self.days and time >= self.begin) or ((today - 1) % 7 in self.days and time < self.end)

    def next_begin(self, now: datetime.datetime) -> datetime.datetime:
        """When the window opens next after ``now``."""
        utc = now.astimezone(datetime.UTC)
        days = (utc.date() + datetime.timedelta(days=ahead) for ahead in range(9))
        starts = (
            datetime.datetime.combine(day, self.begin, datetime.UTC) for day in days if day.weekday() in self.days
        )
        return next(start for start in starts if start > utc)


@dataclasses.dataclass(frozen=True)
class ParentRef:
    """A Gateway to which the routes of all services are attached."""

    name: str
    namespace: str = ""
    """Empty: the namespace of each service."""
    section_name: str = ""
    """Name of one of its listeners; empty: all."""
    port: int | None = None
    """Port of its listeners; None: all."""


@dataclasses.dataclass(frozen=True)
class EndpointPicker:
    """The program that chooses the pod of each request behind an InferencePool."""

    service: str
    """Name of its Service, in the namespace of the LLMService; SERVICE_PLACEHOLDER stands for the LLMService."""
    port: int = 9002
    failure_mode: str = "FailClose"
    """What the gateway does while the program does not answer: FailClose or FailOpen."""

    def service_for(self, service: str) -> str:
        """Name of the Service for an LLMService."""
        return self.service.replace(SERVICE_PLACEHOLDER, service)


SERVICE_PLACEHOLDER = "{service}"


@dataclasses.dataclass(frozen=True)
class GatewayAPI:
    """How services are attached to Gateways of the Gateway API."""

    parents: tuple[ParentRef, ...]
    hostnames: tuple[str, ...] = ()
    """Host names below which each service has a path; empty if each has a host name of its own."""
    domain: str = ""
    """Domain in which each service has a host name of its own; empty if each has a path."""
    request_timeout: str = "0s"
    """Time limit of a whole request, as a duration of the Gateway API; 0s: none; empty: the gateway's default."""
    endpoint_picker: EndpointPicker | None = None
    """None: requests go to the Service."""


class FitPolicy(StrEnum):
    """What happens if a model does not fit the GPUs that its service may get."""

    WARN = "Warn"
    """The condition Fits reports it."""
    DENY = "Deny"
    """In addition, no pod is created."""
    OFF = "Off"
    """Nothing is estimated, and the condition does not exist."""


class Upgrades(StrEnum):
    """When pods are restarted because another operator version or image changes their template."""

    ASK = "Ask"
    """After approval, or in the upgrade window if there is one."""
    AUTOMATIC = "Automatic"
    """At once."""


@dataclasses.dataclass(frozen=True)
class Platform:
    """Settings of the platform for all services."""

    runtime_image: str = "llmservice/runtime:0.4.0"
    """Image of the engine for NVIDIA GPUs."""
    runtime_image_amd: str = "llmservice/runtime-rocm:0.4.0"
    """Image of the engine for AMD GPUs."""
    runtime_image_cpu: str = "llmservice/runtime-cpu:0.4.0"
    """Image of the engine for CPUs."""
    image_pull_policy: str = "IfNotPresent"
    """Pull policy of the engine's image."""
    image_pull_secrets: tuple[str, ...] = ()
    """Names of pull secrets, which must exist in the namespace of each service."""
    cluster_domain: str = "cluster.local"
    """DNS domain of the cluster."""
    proxy: Proxy | None = None
    """The forward proxy of engines and inspections."""
    ca_bundle: str | None = None
    """Private CAs that engines and inspections trust beside the public ones, as PEM; None: there are none."""
    fixed_user: bool = True
    """Whether pods have the user and group of the images; otherwise the cluster's admission chooses them."""
    ip_family_policy: str = ""
    """``ipFamilyPolicy`` of the Services; empty: the cluster's default."""
    network: Network | None = None
    """Who may connect to services, and where they may connect to; None: no NetworkPolicy is created."""
    node_lost_seconds: int = 120
    """Seconds after which a node that is not Ready counts as failed: its pods are replaced on other nodes."""
    max_node_provision_seconds: int | None = None
    """How long a node autoscaler may take to add a node. 0: none is added on demand; None: its Events say whether it
    adds one."""
    upgrades: Upgrades = Upgrades.ASK
    """When a change that does not come from the spec may restart pods."""
    upgrade_window: Window | None = None
    """When it may without approval; None: never."""
    tracing_endpoint: str = ""
    """Collector of the traces of services without ``spec.tracing``; empty: these are not traced."""
    tracing_sampling_percent: int = 10
    """Percentage of their requests that are traced."""
    gateway_url: str = ""
    """URL of the metrics port of the NGINX gateway, with a host that stands for all its pods; empty: there is no
    gateway."""
    gateway_namespaces: tuple[str, ...] = ()
    """Namespaces that it serves; empty: all."""
    adapter: Adapter = Adapter.NONE
    """The metrics adapter for autoscalers."""
    prometheus_url: str = ""
    """URL from which KEDA reads the operator's series."""
    prometheus_matchers: str = ""
    """PromQL label matchers of the operator's own series, which exclude series of other namespaces."""
    prometheus_insecure: bool = False
    """Whether to skip the verification of its certificate."""
    keda_headers: str = ""
    """Additional headers of KEDA's queries, in its format: `X-Scope-OrgID=team,Name=value`."""
    keda_authentication: str = ""
    """ClusterTriggerAuthentication with which KEDA authenticates to Prometheus; empty: no authentication."""
    keda_auth_modes: str = ""
    """Authentication modes, such as `bearer`."""
    tolerance_is_settable: bool = False
    """Whether an HPA's tolerance is configurable (Kubernetes 1.35 and later); otherwise it is 0.1."""
    fit_policy: FitPolicy = FitPolicy.OFF
    """What happens if a model does not fit."""
    cpu_limit: str = "None"
    """Default CPU limit of engines: None, Request (what is requested) or a quantity."""
    inspection_resources: Mapping[str, Mapping[str, str]] = dataclasses.field(default_factory=dict)
    """Requests and limits of inspections that replace the defaults."""
    memory_limit: str = "Auto"
    """Default memory limit of engines: Auto, None or a quantity. See ``resources.limits``."""
    ephemeral_storage_limit: str = "Auto"
    """Default ephemeral storage limit of engines, likewise."""
    allowed_placement: AllowedPlacement | None = None
    """Placements that services may request; None: all."""
    pod_labels: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Labels of the pods of all services, besides the operator's own."""
    pod_annotations: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Annotations of the pods of all services, besides the operator's own."""
    allowed_pod: AllowedPod = dataclasses.field(default_factory=AllowedPod)
    """What services may add to their pods."""
    prices: Prices = dataclasses.field(default_factory=Prices)
    """Prices of GPUs."""
    allowed: Allowed = dataclasses.field(default_factory=Allowed)
    """What the specs of services may name."""
    device_claims: bool = True
    """Whether the API server has resource.k8s.io/v1 (Kubernetes 1.34 and later), so that pods can claim devices."""
    gateway_api: GatewayAPI | None = None
    """How services are attached to Gateways; None: they are not."""
    http_routes: bool = True
    """Whether the API server has HTTPRoutes (gateway.networking.k8s.io/v1)."""
    catalogue_kinds: frozenset[str] = frozenset({MODEL_KIND, CLUSTER_MODEL_KIND})
    """Kinds of the catalogue that the operator can read."""
    inference_pools: bool = True
    """Whether it has InferencePools (inference.networking.k8s.io/v1)."""
    scales_to_zero: bool = False
    """Whether an HPA can scale to zero (Kubernetes 1.37 and later); otherwise the operator does."""
