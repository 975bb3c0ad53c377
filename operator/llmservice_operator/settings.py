"""What the platform team sets for the operator: one frozen object, read from the environment once, at start.

All problems are reported at once, so that a wrong deployment is put right in one go.
"""

import dataclasses
import os
import re
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from llmservice_operator.render.platform import Platform

T = TypeVar("T")

_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_DOMAIN = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


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
    _CLUSTER_DOMAIN: what every rendered object shares."""
    workers: int = 16
    """LLMSERVICE_WORKERS: services that are reconciled at the same time, 1 to 256."""
    resync_seconds: float = 600.0
    """LLMSERVICE_RESYNC_SECONDS: seconds between two looks at everything, beside those that events cause, 1 to
    86400. What a lost watch event hid is found by then."""
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
    identity: str = "operator"
    """HOSTNAME with the process id: who holds the Lease."""


class _Reader:
    """Reads variables one by one and collects what is wrong with them."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = environment
        self.problems: list[str] = []

    def read(self, name: str, default: T, convert: Callable[[str], T], allowed: str) -> T:
        text = self.environment.get(name, "").strip()
        if not text:
            return default
        try:
            return convert(text)
        except ValueError:
            self.problems.append(f"{name} is {text!r}, but must be {allowed}")
            return default


def from_environment(environment: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from ``environment`` (default: that of the process).

    Raises SettingsError with a sentence for each variable that can't be used.
    """
    reader = _Reader(os.environ if environment is None else environment)
    default = Settings()
    images = Platform()
    a_label = "a DNS label: lower case letters, digits and '-'"

    def image(name: str, fallback: str) -> str:
        return reader.read(name, fallback, _matching(re.compile(r"[^\s]{1,512}")), "an image reference")

    settings = Settings(
        namespace=reader.read("LLMSERVICE_NAMESPACE", _own_namespace(default.namespace), _label, a_label),
        namespaces=reader.read("LLMSERVICE_NAMESPACES", (), _labels, "names of namespaces separated by commas"),
        platform=Platform(
            runtime_image=image("LLMSERVICE_RUNTIME_IMAGE", images.runtime_image),
            runtime_image_amd=image("LLMSERVICE_RUNTIME_IMAGE_AMD", images.runtime_image_amd),
            runtime_image_cpu=image("LLMSERVICE_RUNTIME_IMAGE_CPU", images.runtime_image_cpu),
            image_pull_policy=reader.read(
                "LLMSERVICE_IMAGE_PULL_POLICY",
                images.image_pull_policy,
                _one_of("Always", "IfNotPresent", "Never"),
                "Always, IfNotPresent or Never",
            ),
            image_pull_secrets=reader.read(
                "LLMSERVICE_IMAGE_PULL_SECRETS", (), _labels, "names of Secrets separated by commas"
            ),
            cluster_domain=reader.read(
                "LLMSERVICE_CLUSTER_DOMAIN", images.cluster_domain, _matching(_DOMAIN), "a DNS domain"
            ),
        ),
        workers=reader.read("LLMSERVICE_WORKERS", default.workers, _whole(1, 256), "a whole number from 1 to 256"),
        resync_seconds=reader.read(
            "LLMSERVICE_RESYNC_SECONDS", default.resync_seconds, _whole(1, 86_400), "whole seconds from 1 to 86400"
        ),
        log_format=reader.read("LLMSERVICE_LOG_FORMAT", default.log_format, _one_of("text", "json"), "text or json"),
        log_level=reader.read(
            "LLMSERVICE_LOG_LEVEL",
            default.log_level,
            _one_of("DEBUG", "INFO", "WARNING", "ERROR"),
            "DEBUG, INFO, WARNING or ERROR",
        ),
        health_port=reader.read("LLMSERVICE_HEALTH_PORT", default.health_port, _whole(0, 65_535), "a port, or 0"),
        metrics_port=reader.read("LLMSERVICE_METRICS_PORT", default.metrics_port, _whole(0, 65_535), "a port, or 0"),
        lease_name=reader.read("LLMSERVICE_LEASE_NAME", default.lease_name, _matching(_DOMAIN), "an object's name"),
        leader_election=reader.read("LLMSERVICE_LEADER_ELECTION", default.leader_election, _truth, "true or false"),
        identity=f"{reader.environment.get('HOSTNAME') or socket.gethostname()}_{os.getpid()}",
    )
    if 0 != settings.health_port == settings.metrics_port:
        reader.problems.append(f"LLMSERVICE_HEALTH_PORT and LLMSERVICE_METRICS_PORT are both {settings.health_port}")
    if reader.problems:
        raise SettingsError(reader.problems)
    return settings


def _own_namespace(fallback: str) -> str:
    try:
        return _NAMESPACE_FILE.read_text().strip() or fallback
    except OSError:
        return fallback


def _matching(pattern: re.Pattern[str]) -> Callable[[str], str]:
    def convert(text: str) -> str:
        if not pattern.fullmatch(text):
            raise ValueError(text)
        return text

    return convert


def _label(text: str) -> str:
    return _matching(_DNS_LABEL)(text)


def _labels(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_matching(_DOMAIN)(part.strip()) for part in text.split(",") if part.strip()))


def _one_of(*allowed: str) -> Callable[[str], str]:
    def convert(text: str) -> str:
        for value in allowed:
            if text.lower() == value.lower():
                return value
        raise ValueError(text)

    return convert


def _whole(low: int, high: int) -> Callable[[str], int]:
    def convert(text: str) -> int:
        value = int(text)
        if not low <= value <= high:
            raise ValueError(text)
        return value

    return convert


def _truth(text: str) -> bool:
    return _one_of("true", "false")(text) == "true"
