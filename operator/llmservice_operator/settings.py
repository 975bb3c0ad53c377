"""What the platform team sets for the operator: one frozen object, read from the environment once, at start.

All problems are reported at once, so that a wrong deployment is put right in one go.
"""

import dataclasses
import datetime
import itertools
import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path

from llmservice_operator import settings_allowed, settings_cost, settings_network, settings_placement, settings_scaling
from llmservice_operator.render.platform import Adapter, FitPolicy, Platform, Upgrades, Window
from llmservice_operator.settings_reader import DOMAIN, Reader, label, labels, limit, matching, one_of, truth, whole
from llmservice_operator.settings_scaling import PrometheusSettings, ScalingSettings

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_DAY = f"(?:{'|'.join(_DAYS)})"
_WINDOW = re.compile(rf"({_DAY}(?:,{_DAY})*) ([0-2][0-9]:[0-5][0-9])-([0-2][0-9]:[0-5][0-9])")
_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class SettingsError(Exception):
    """The environment holds values that can't be used. ``problems`` has a sentence for each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclasses.dataclass(frozen=True)
class Settings:
    """Each field is set by the environment variable that its text names."""

    namespace: str = "llmservice-system"
    """LLMSERVICE_NAMESPACE: where the operator itself runs and its Lease lies. Default: the pod's own namespace, else
    llmservice-system."""
    namespaces: tuple[str, ...] = ()
    """LLMSERVICE_NAMESPACES: namespaces that are served, separated by commas. Empty: all of the cluster."""
    platform: Platform = dataclasses.field(default_factory=Platform)
    """LLMSERVICE_RUNTIME_IMAGE, _RUNTIME_IMAGE_AMD, _RUNTIME_IMAGE_CPU, _IMAGE_PULL_POLICY, _IMAGE_PULL_SECRETS,
    _CLUSTER_DOMAIN: what every rendered object shares. LLMSERVICE_NETWORK_POLICY: who may reach services, and what they
    may reach; see settings_network. LLMSERVICE_UPGRADES (Ask or Automatic) and _UPGRADE_WINDOW (such
    as `Sat,Sun 22:00-04:00`, UTC): when a change that is none of a spec's may restart pods. _NODE_LOST_SECONDS (120):
    after how long a node that is not Ready counts as lost. LLMSERVICE_FIT (Warn, Deny or Off): what happens where
    a model does not fit. LLMSERVICE_MEMORY_LIMIT and _EPHEMERAL_STORAGE_LIMIT (Auto, None or a quantity): limits of
    engines whose specs state none. LLMSERVICE_ALLOWED_PLACEMENT: which placements services may ask for; see
    settings_placement; LLMSERVICE_ALLOWED_SERVICE_ACCOUNTS and others: what else their authors may name; see
    settings_allowed. LLMSERVICE_COST: what GPUs cost; see settings_cost."""
    workers: int = 16
    """LLMSERVICE_WORKERS: services that are reconciled at the same time, 1 to 256."""
    resync_seconds: float = 600.0
    """LLMSERVICE_RESYNC_SECONDS: seconds between two looks at everything, beside those that events cause, 1 to
    86400. What a lost watch event hid is found by then."""
    services_per_namespace: int = 500
    """LLMSERVICE_SERVICES_PER_NAMESPACE: how many LLMServices of a namespace are served, the oldest, up to 100000; 0:
    all."""
    log_format: str = "text"
    """LLMSERVICE_LOG_FORMAT: text or json."""
    log_level: str = "INFO"
    """LLMSERVICE_LOG_LEVEL: DEBUG, INFO, WARNING or ERROR."""
    health_port: int = 8080
    """LLMSERVICE_HEALTH_PORT: port of /healthz and /readyz; 0 opens none."""
    metrics_port: int = 9090
    """LLMSERVICE_METRICS_PORT: port of /metrics; 0 opens none."""
    lease_name: str = "llmservice-operator"
    """LLMSERVICE_LEASE_NAME: name of the Lease that the one active operator holds."""
    leader_election: bool = True
    """LLMSERVICE_LEADER_ELECTION: true or false. Without it never run two operators over the same namespaces."""
    scaling: ScalingSettings = dataclasses.field(default_factory=ScalingSettings)
    """How services are scaled; see ScalingSettings."""
    prometheus: PrometheusSettings = dataclasses.field(default_factory=PrometheusSettings)
    """Where latencies are read; see PrometheusSettings."""
    identity: str = "operator"
    """HOSTNAME with the process id: who holds the Lease."""


def from_environment(environment: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from ``environment`` (default: that of the process).

    Raises SettingsError with a sentence for each variable that can't be used.
    """
    reader = Reader(os.environ if environment is None else environment)
    default = Settings()
    images = Platform()
    a_limit = "Auto, None or a quantity such as 64Gi"
    a_label = "a DNS label: lower case letters, digits and '-'"

    def image(name: str, fallback: str) -> str:
        return reader.read(name, fallback, matching(re.compile(r"[^\s]{1,512}")), "an image reference")

    scaling = settings_scaling.scaling(reader)
    prometheus = settings_scaling.prometheus(reader)
    namespace = reader.read("LLMSERVICE_NAMESPACE", _own_namespace(default.namespace), label, a_label)
    own_series = f'{prometheus.namespace_label}="{namespace}"'
    settings = Settings(
        namespace=namespace,
        namespaces=reader.read("LLMSERVICE_NAMESPACES", (), labels, "names of namespaces separated by commas"),
        platform=Platform(
            runtime_image=image("LLMSERVICE_RUNTIME_IMAGE", images.runtime_image),
            runtime_image_amd=image("LLMSERVICE_RUNTIME_IMAGE_AMD", images.runtime_image_amd),
            runtime_image_cpu=image("LLMSERVICE_RUNTIME_IMAGE_CPU", images.runtime_image_cpu),
            image_pull_policy=reader.read(
                "LLMSERVICE_IMAGE_PULL_POLICY",
                images.image_pull_policy,
                one_of("Always", "IfNotPresent", "Never"),
                "Always, IfNotPresent or Never",
            ),
            image_pull_secrets=reader.read(
                "LLMSERVICE_IMAGE_PULL_SECRETS", (), labels, "names of Secrets separated by commas"
            ),
            cluster_domain=reader.read(
                "LLMSERVICE_CLUSTER_DOMAIN", images.cluster_domain, matching(DOMAIN), "a DNS domain"
            ),
            network=settings_network.network(reader),
            node_lost_seconds=reader.read(
                "LLMSERVICE_NODE_LOST_SECONDS",
                images.node_lost_seconds,
                whole(10, 86_400),
                "whole seconds from 10 to 86400",
            ),
            upgrades=reader.read("LLMSERVICE_UPGRADES", images.upgrades, _upgrades, "Ask or Automatic"),
            upgrade_window=reader.read(
                "LLMSERVICE_UPGRADE_WINDOW", None, _window, "days and hours in UTC such as Sat,Sun 22:00-04:00"
            ),
            fit_policy=reader.read("LLMSERVICE_FIT", FitPolicy.WARN, _fit_policy, "Warn, Deny or Off"),
            memory_limit=reader.read("LLMSERVICE_MEMORY_LIMIT", images.memory_limit, limit, a_limit),
            ephemeral_storage_limit=reader.read(
                "LLMSERVICE_EPHEMERAL_STORAGE_LIMIT", images.ephemeral_storage_limit, limit, a_limit
            ),
            allowed_placement=settings_placement.allowed_placement(reader),
            prices=settings_cost.prices(reader),
            allowed=settings_allowed.allowed(reader),
            adapter=Adapter(scaling.adapter),
            prometheus_url=prometheus.url,
            prometheus_matchers=",".join(each for each in (own_series, prometheus.matchers) if each),
            prometheus_insecure=prometheus.insecure,
            keda_headers=",".join(f"{name}={value}" for name, value in prometheus.headers.items()),
            keda_authentication=reader.read(
                "LLMSERVICE_KEDA_AUTHENTICATION", "", matching(DOMAIN), "the name of a ClusterTriggerAuthentication"
            ),
            keda_auth_modes=reader.read(
                "LLMSERVICE_KEDA_AUTH_MODES", "", matching(re.compile("[a-z,]+")), "KEDA's words, such as bearer"
            ),
        ),
        workers=reader.read("LLMSERVICE_WORKERS", default.workers, whole(1, 256), "a whole number from 1 to 256"),
        resync_seconds=reader.read(
            "LLMSERVICE_RESYNC_SECONDS", default.resync_seconds, whole(1, 86_400), "whole seconds from 1 to 86400"
        ),
        services_per_namespace=reader.read(
            "LLMSERVICE_SERVICES_PER_NAMESPACE",
            default.services_per_namespace,
            whole(0, 100_000),
            "a whole number up to 100000; 0 for no bound",
        ),
        log_format=reader.read("LLMSERVICE_LOG_FORMAT", default.log_format, one_of("text", "json"), "text or json"),
        log_level=reader.read(
            "LLMSERVICE_LOG_LEVEL",
            default.log_level,
            one_of("DEBUG", "INFO", "WARNING", "ERROR"),
            "DEBUG, INFO, WARNING or ERROR",
        ),
        health_port=reader.read("LLMSERVICE_HEALTH_PORT", default.health_port, whole(0, 65_535), "a port, or 0"),
        metrics_port=reader.read("LLMSERVICE_METRICS_PORT", default.metrics_port, whole(0, 65_535), "a port, or 0"),
        lease_name=reader.read("LLMSERVICE_LEASE_NAME", default.lease_name, matching(DOMAIN), "an object's name"),
        leader_election=reader.read("LLMSERVICE_LEADER_ELECTION", default.leader_election, truth, "true or false"),
        scaling=scaling,
        prometheus=prometheus,
        identity=f"{reader.environment.get('HOSTNAME') or socket.gethostname()}_{os.getpid()}",
    )
    ports = {
        "LLMSERVICE_HEALTH_PORT": settings.health_port,
        "LLMSERVICE_METRICS_PORT": settings.metrics_port,
        "LLMSERVICE_METRICS_API_PORT": settings.scaling.api_port if settings.scaling.adapter == "own" else 0,
    }
    for (one, port), (other, other_port) in itertools.combinations(ports.items(), 2):
        if 0 != port == other_port:
            reader.problems.append(f"{one} and {other} are both {port}")
    if scaling.adapter == "keda" and any(set(value) & {"=", ","} for value in prometheus.headers.values()):
        reader.problems.append("LLMSERVICE_PROMETHEUS_HEADERS: KEDA takes no header whose value holds '=' or ','")
    if reader.problems:
        raise SettingsError(reader.problems)
    return settings


def _fit_policy(text: str) -> FitPolicy:
    return FitPolicy(one_of(*FitPolicy)(text))


def _upgrades(text: str) -> Upgrades:
    return Upgrades(one_of(*Upgrades)(text))


def _window(text: str) -> Window:
    """Days and hours: ``Sat,Sun 22:00-04:00``. Raises ValueError."""
    found = _WINDOW.fullmatch(text)
    if found is None:
        raise ValueError(text)
    begin, end = (datetime.time.fromisoformat(found[number]) for number in (2, 3))
    if begin == end:
        raise ValueError(text)
    return Window(frozenset(_DAYS.index(day) for day in found[1].split(",")), begin, end)


def _own_namespace(fallback: str) -> str:
    try:
        return _NAMESPACE_FILE.read_text().strip() or fallback
    except OSError:
        return fallback
