"""What the platform team decided for all services: images, defaults, network, prices and what authors of services may
name. Set at start, never changes."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Any

from llmservice_operator.autoscaling.external_metrics import Adapter as Adapter
from llmservice_operator.resources.placements import AllowedPlacement


@dataclasses.dataclass(frozen=True)
class Price:
    """Of one GPU."""

    per_hour: Decimal
    """In the currency of all prices."""
    source: str
    """Where it is from, such as a contract."""
    date: str
    """Of when it is, as YYYY-MM-DD."""


@dataclasses.dataclass(frozen=True)
class Prices:
    """All of them; none where the platform team states none."""

    currency: str = ""
    """As ISO 4217 has it, such as EUR."""
    gpu_hours: Mapping[str, Price] = dataclasses.field(default_factory=dict)
    """By product, as the nodes' label has it; of a MIG profile ``PRODUCT-MIG-PROFILE``."""


Peer = Mapping[str, Any]
"""As a NetworkPolicy has it: a podSelector, a namespaceSelector or both, or an ipBlock."""

MOST_PEERS = 16
"""Of each list."""
MOST_ADDRESSES = 32
"""Networks that are excepted, and addresses of the API server."""

ANY_POD: Peer = {"namespaceSelector": {}}


@dataclasses.dataclass(frozen=True)
class Network:
    """Who may reach a service's pods, and what they may reach."""

    clients: tuple[Peer, ...] = ()
    """Who may reach the port of the clients. With no ``gateways`` either: everybody may."""
    gateways: tuple[Peer, ...] = ()
    """Gateways and ingress controllers, which may reach it too."""
    prometheus: tuple[Peer, ...] = ()
    """Who may reach the metrics port."""
    pods: tuple[Peer, ...] = (ANY_POD,)
    """Pods that the service's pods may reach: hubs, stores and collectors in the cluster."""
    excepted: tuple[str, ...] = ()
    """Networks that the service's pods may not reach by address, as CIDRs."""
    api_server: tuple[str, ...] = ()
    """The API server's addresses, as CIDRs of one address each."""


@dataclasses.dataclass(frozen=True)
class Allowed:
    """The platform's lists."""

    service_accounts: tuple[str, ...] = ()
    """ServiceAccounts that a service's pods may run as, each as NAMESPACE/NAME."""
    sources: tuple[str, ...] | None = None
    """Beginnings of models' sources, each with a slash at its end; None: all."""
    stores: tuple[str, ...] | None = None
    """Addresses of stores of rate limits, as HOST:PORT in lower case. None: all, to which a login is sent only if the
    Secret names the address."""
    media_domains: tuple[str, ...] = ()
    """Domains from which every engine may fetch media, at private addresses too."""
    extra_args: tuple[str, ...] | None = None
    """Arguments of vLLM that ``spec.engine.extraArgs`` may have, of those that any service may set; None: all."""
    extra_args_except: tuple[str, ...] = ()
    """Those that it may not have."""
    engine_env: tuple[str, ...] | None = None
    """The same of ``spec.engine.env``."""
    engine_env_except: tuple[str, ...] = ()
    trace_flags: bool = False
    """Whether clients decide if their requests are traced."""


NOTHING_ALLOWED = Allowed()


@dataclasses.dataclass(frozen=True)
class Window:
    """Hours of some days of the week, in UTC, in which services may be restarted without being asked."""

    days: frozenset[int]
    """0 is Monday."""
    begin: datetime.time
    end: datetime.time
    """Not in it; before ``begin`` where the window goes over midnight, into a day that need not be one of ``days``."""

    def holds(self, now: datetime.datetime) -> bool:
        """Whether ``now`` is inside."""
        utc = now.astimezone(datetime.UTC)
        time, today = utc.time(), utc.weekday()
        if self.begin < self.end:
            return today in self.days and self.begin <= time < self.end
        return (today in self.days and time >= self.begin) or ((today - 1) % 7 in self.days and time < self.end)

    def next_begin(self, now: datetime.datetime) -> datetime.datetime:
        """When it opens next after ``now``."""
        utc = now.astimezone(datetime.UTC)
        days = (utc.date() + datetime.timedelta(days=ahead) for ahead in range(9))
        starts = (
            datetime.datetime.combine(day, self.begin, datetime.UTC) for day in days if day.weekday() in self.days
        )
        return next(start for start in starts if start > utc)


class FitPolicy(StrEnum):
    """What happens where a model does not fit the GPUs that its service may get."""

    WARN = "Warn"
    """The condition Fits says so."""
    DENY = "Deny"
    """No pod is made either."""
    OFF = "Off"
    """Models are not read for it, and nothing is said."""


class Upgrades(StrEnum):
    """When pods are restarted that a new version of the operator, or other images, would run otherwise."""

    ASK = "Ask"
    """Once somebody agrees, or in the window if there is one."""
    AUTOMATIC = "Automatic"
    """At once."""


@dataclasses.dataclass(frozen=True)
class Platform:
    """The platform's choices that shape every rendered object."""

    runtime_image: str = "llmservice/runtime:0.3.0"
    """Image of the engine for NVIDIA GPUs."""
    runtime_image_amd: str = "llmservice/runtime-rocm:0.3.0"
    """Image of the engine for AMD GPUs."""
    runtime_image_cpu: str = "llmservice/runtime-cpu:0.3.0"
    """Image of the engine for CPUs."""
    image_pull_policy: str = "IfNotPresent"
    """Pull policy of the engine's image."""
    image_pull_secrets: tuple[str, ...] = ()
    """Names of pull secrets, each in the namespace of the service."""
    cluster_domain: str = "cluster.local"
    """DNS domain of the cluster."""
    network: Network | None = None
    """Who may reach services, and what these may reach; None: no NetworkPolicy is made."""
    node_lost_seconds: int = 120
    """Seconds after which a node that is not Ready counts as lost: its engines are made elsewhere."""
    upgrades: Upgrades = Upgrades.ASK
    """When a change that is not of a service's spec may restart its pods."""
    upgrade_window: Window | None = None
    """When it may without being asked; None: never."""
    adapter: Adapter = Adapter.NONE
    """Who brings a service's load to its autoscaler."""
    prometheus_url: str = ""
    """Where KEDA finds the operator's series."""
    prometheus_matchers: str = ""
    """PromQL matchers that the operator's own series have, and no pod's of another namespace."""
    prometheus_insecure: bool = False
    """Whether its certificate is not checked."""
    keda_headers: str = ""
    """Further headers of KEDA's queries, in its form: `X-Scope-OrgID=team,Name=value`."""
    keda_authentication: str = ""
    """Name of the ClusterTriggerAuthentication with which KEDA logs in to Prometheus; empty: without a login."""
    keda_auth_modes: str = ""
    """How it does, such as `bearer`."""
    tolerance_is_settable: bool = False
    """Whether an HPA's tolerance can be set (Kubernetes 1.35 and later); else it is a tenth."""
    fit_policy: FitPolicy = FitPolicy.OFF
    """What happens where a model does not fit."""
    memory_limit: str = "Auto"
    """Memory limit of engines whose spec states no memory: Auto, None or a quantity. See ``resources.limits``."""
    ephemeral_storage_limit: str = "Auto"
    """Limit of what engines write to their node's disk where their spec does not state it: the same."""
    allowed_placement: AllowedPlacement | None = None
    """Which placements services may ask for; None: all."""
    prices: Prices = dataclasses.field(default_factory=Prices)
    """What GPUs cost."""
    allowed: Allowed = dataclasses.field(default_factory=Allowed)
    """What a service's author may name."""
    scales_to_zero: bool = False
    """Whether an HPA can scale to none (Kubernetes 1.37 and later); else the operator does."""
