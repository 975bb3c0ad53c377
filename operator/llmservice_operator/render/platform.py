"""What the platform team decided for all services: images and defaults. Set at start, never changes."""

import dataclasses
from enum import StrEnum


class Adapter(StrEnum):
    """Who brings a service's load to its autoscaler."""

    OWN = "own"
    """The operator serves external.metrics.k8s.io itself."""
    KEDA = "keda"
    """KEDA reads the operator's series from Prometheus."""
    PROMETHEUS_ADAPTER = "prometheusAdapter"
    """prometheus-adapter serves the operator's series from Prometheus."""
    NONE = "none"
    """Nobody: no autoscaler is made."""


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
    adapter: Adapter = Adapter.NONE
    """Who brings a service's load to its autoscaler."""
    prometheus_url: str = ""
    """Where KEDA finds the operator's series."""
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
    scales_to_zero: bool = False
    """Whether an HPA can scale to none (Kubernetes 1.37 and later); else the operator does."""
