"""Traefik of a test's own in front of some servers, with what it does by default and with compression; and as the
controller of Gateways."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.cache import CACHE
from support.cluster import START_SECONDS, wait_until
from support.ports import free_port
from support.web import answers

PROGRAM = CACHE / "bin" / "traefik"


@contextlib.contextmanager
def traefik(directory: Path, ports: Sequence[int], port: int | None = None) -> Iterator[str]:
    """The URL of one in front of the servers at these ports of 127.0.0.1."""
    port = port or free_port()
    directory.mkdir()
    routes: dict[str, Any] = {
        "routers": {"all": {"rule": "PathPrefix(`/`)", "service": "replicas", "middlewares": ["compress"]}},
        "middlewares": {"compress": {"compress": {}}},
        "services": {
            "replicas": {"loadBalancer": {"servers": [{"url": f"http://127.0.0.1:{each}"} for each in ports]}}
        },
    }
    (directory / "routes.yml").write_text(yaml.safe_dump({"http": routes}))
    provider = {"file": {"filename": str(directory / "routes.yml"), "watch": False}}
    with _running(directory, {"web": port}, provider, {}):
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/health"), "Traefik answers", timeout=START_SECONDS)
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def gateway_controller(
    directory: Path, kubeconfig: Path, listeners: Mapping[str, int], namespaces: Sequence[str], classes: str
) -> Iterator[Path]:
    """Traefik as the controller of Gateways with these ports at 127.0.0.1, of the GatewayClasses that a label selector
    finds. It reads what is in these namespaces. Yields the path of its log."""
    provider = {"kubernetesGateway": {"namespaces": list(namespaces), "labelSelector": classes}}
    with _running(directory, listeners, provider, {"KUBECONFIG": str(kubeconfig)}):
        yield directory / "traefik.log"


@contextlib.contextmanager
def _running(
    directory: Path, ports: Mapping[str, int], providers: Mapping[str, Any], environment: Mapping[str, str]
) -> Iterator[None]:
    if not PROGRAM.exists():
        pytest.fail(f"Traefik is not on this machine ({PROGRAM}): run hack/cluster/proxies build")
    settings = {
        "entryPoints": {name: {"address": f"127.0.0.1:{port}"} for name, port in ports.items()},
        "providers": providers,
        "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
        "log": {"level": "WARN"},
    }
    (directory / "traefik.yml").write_text(yaml.safe_dump(settings))
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("KUBE")}
    with (directory / "traefik.log").open("wb") as log:
        process = subprocess.Popen(
            [PROGRAM, f"--configFile={directory}/traefik.yml"],
            env={**inherited, **environment},
            stdout=log,
            stderr=log,
        )
    try:
        yield
    finally:
        process.terminate()
        process.wait()
