"""The gateway's process of a test: `llmservice-operator gateway` with NGINX."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import yaml

from support.cluster import wait_until
from support.ports import free_port

SECONDS = 60


class GatewayProcess:
    """One process that serves one namespace."""

    def __init__(self, directory: Path, cluster: dict[str, Any], token: str, namespace: str, **variables: str) -> None:
        """``cluster`` is that of a kubeconfig."""
        kubeconfig = directory / "kubeconfig"
        user, named = {"name": "u", "user": {"token": token}}, {"name": "c", "cluster": cluster}
        context = {"name": "x", "context": {"cluster": "c", "user": "u"}}
        config = {"clusters": [named], "users": [user], "contexts": [context], "current-context": "x"}
        kubeconfig.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", **config}))
        self.namespace = namespace
        self.port, self.metrics_port = free_port(), free_port()
        self.directory = directory / "run"
        own = {
            "KUBECONFIG": str(kubeconfig),
            "LLMSERVICE_NAMESPACES": namespace,
            "LLMSERVICE_GATEWAY_NAMESPACE": namespace,
            "LLMSERVICE_GATEWAY_DIRECTORY": str(self.directory),
            "LLMSERVICE_GATEWAY_PORT": str(self.port),
            "LLMSERVICE_GATEWAY_METRICS_PORT": str(self.metrics_port),
            "LLMSERVICE_GATEWAY_DRAIN_DELAY": "0",
            **variables,
        }
        self._log = (directory / "log").open("wb")
        command = [sys.executable, "-m", "llmservice_operator", "gateway"]
        self.popen = subprocess.Popen(command, env={**os.environ, **own}, stdout=self._log, stderr=self._log)

    def metrics(self) -> str:
        """Its metrics; empty while NGINX does not run."""
        with contextlib.suppress(OSError), urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=10) as page:
            return str(page.read().decode())
        return ""

    @property
    def pods(self) -> set[str]:
        """Pods in the rotation."""
        start = f'llmservice_gateway_outstanding_requests{{namespace="{self.namespace}",service="chat",pod="'
        lines = self.metrics().splitlines()
        return {line.removeprefix(start).partition('"')[0] for line in lines if line.startswith(start)}

    def chat(self, headers: dict[str, str]) -> int:
        """The status of one chat's answer."""
        body = json.dumps({"model": "chat", "messages": []}).encode()
        asked = Request(f"http://127.0.0.1:{self.port}/v1/chat/completions", body, headers)
        try:
            with urlopen(asked, timeout=SECONDS) as answer:
                return int(answer.status)
        except HTTPError as error:
            return error.code

    def wait_for(self, *pods: str) -> None:
        """Waits until exactly these are in the rotation."""
        wait_until(lambda: self.pods == set(pods), f"the rotation is {pods}", timeout=SECONDS)

    def stop(self) -> int:
        """Ends it; its exit status."""
        self.popen.send_signal(signal.SIGTERM)
        status = self.popen.wait(SECONDS)
        self._log.close()
        return status
