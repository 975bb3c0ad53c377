"""Settings of the gateway's process: environment variables LLMSERVICE_GATEWAY_*, which the chart writes."""

import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from llmservice_operator.config.section import (
    LABEL,
    NAMES,
    PREFIX,
    Rule,
    Section,
    matching,
    one_of,
    read,
    seconds,
    several,
    whole,
)
from llmservice_operator.config.settings import SettingsError

MEBIBYTE = 2**20
DOMAIN_NAME = matching(
    re.compile(r"(?=.{1,125}$)[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)+"),
    "a domain name such as llm.example.com, of 125 characters at most",
)
"""Below it are SERVICE.NAMESPACE, so that the whole is 253 characters at most."""
_ADDRESS = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?:[1-9][0-9]{0,4}")

MOST_PROXIES = 64
NETWORKS = several(lambda text: str(ipaddress.ip_network(text)), "CIDRs such as 10.0.0.0/8", MOST_PROXIES)


def megabytes(low: int, high: int) -> Rule:
    """A size in MiB, converted to bytes."""
    rule = whole(low, high, "whole MiB")
    return Rule(rule.allowed, lambda text: rule.convert(text) * MEBIBYTE, rule.bounds)


class GatewaySettings(Section):
    """Settings of one gateway."""

    namespaces: Annotated[tuple[str, ...], NAMES] = ()
    """Namespaces whose services the gateway serves. Empty: all namespaces."""
    gateway_namespace: Annotated[str, LABEL] = ""
    """Namespace of paths that name none. Empty: every path has to name one."""
    gateway_domain: Annotated[str, DOMAIN_NAME] = ""
    """NAMESPACE and SERVICE.NAMESPACE below it are host names of namespaces and services. Empty: paths alone."""
    gateway_directory: Annotated[Path, Rule("a path", Path)] = Path("/tmp/gateway")  # noqa: S108 (the pod's own)
    """Directory in which NGINX and the gateway write."""
    gateway_tls_directory: Annotated[Path | None, Rule("a path", Path)] = None
    """Directory with tls.crt and tls.key, which are read again when they change. Absent: no TLS."""
    gateway_port: Annotated[int, whole(1, 65_535)] = 8000
    """Port for clients."""
    gateway_metrics_port: Annotated[int, whole(1, 65_535)] = 9090
    """Port of /metrics and /readyz."""
    gateway_workers: Annotated[int, whole(1, 64)] = 2
    """Processes of NGINX."""
    gateway_max_body: Annotated[int, megabytes(1, 256)] = 32 * MEBIBYTE
    """Maximum size of a request's body, in MiB."""
    gateway_held_bodies: Annotated[int, megabytes(64, 65_536)] = 512 * MEBIBYTE
    """Maximum size of all bodies of requests in work, in MiB. One namespace gets half of it."""
    gateway_hold: Annotated[int, seconds(0, 86_400)] = 600
    """How long a request for a service at zero waits for a replica, in seconds. 0: it does not wait, and requests start
    no replica."""
    gateway_hold_requests: Annotated[int, whole(4, 100_000)] = 1024
    """Maximum number of requests that wait. One namespace gets half of it, one service a quarter."""
    gateway_client_requests: Annotated[int, whole(0, 1_000_000)] = 2048
    """Maximum number of requests of one client's address at a time. 0: no limit."""
    gateway_trusted_proxies: Annotated[tuple[str, ...], NETWORKS] = ()
    """Networks of proxies before the gateway, whose header X-Forwarded-For says which address is the client's."""
    gateway_node_provision: Annotated[int | None, seconds(0, 14_400)] = None
    """How long requests wait for a pod that has no node, unless its service says otherwise, in seconds. Absent: 120."""
    gateway_affinity: Annotated[int, whole(1, 4096)] = 64
    """Memory for the prefixes of prompts, in MiB."""
    gateway_read_timeout: Annotated[int, seconds(1, 86_400)] = 620
    """How long a replica may send nothing before the request fails, in seconds."""
    gateway_batches: Annotated[str, matching(_ADDRESS, "HOST:PORT")] = ""
    """HOST:PORT of the process of files and batches. Empty: there is none."""
    gateway_batches_max_file: Annotated[int, megabytes(1, 512)] = 200 * MEBIBYTE
    """Maximum size of a file of a batch, in MiB."""
    gateway_shutdown: Annotated[int, seconds(1, 86_400)] = 3600
    """How long streams may continue after a reload or a deletion of the pod, in seconds."""
    gateway_drain_delay: Annotated[int, seconds(0, 300)] = 5
    """How long a gateway that is deleted still accepts connections, in seconds."""
    log_format: Annotated[str, one_of("text", "json")] = "text"
    """Format of log lines."""
    log_level: Annotated[str, one_of("DEBUG", "INFO", "WARNING", "ERROR")] = "INFO"
    """Minimum level of log lines."""


def read_gateway(environment: Mapping[str, str]) -> GatewaySettings:
    """The settings in ``environment``. Raises SettingsError with a sentence for each invalid variable."""
    problems: list[str] = []
    settings = read(GatewaySettings, environment, problems)
    if not problems and settings.namespaces and settings.gateway_namespace not in ("", *settings.namespaces):
        problems.append(
            f"{PREFIX}GATEWAY_NAMESPACE is {settings.gateway_namespace!r}, but must be one of {PREFIX}NAMESPACES"
        )
    if problems:
        raise SettingsError(problems)
    return settings
