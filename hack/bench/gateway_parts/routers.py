"""What is compared: each starts in front of the same replicas, and says at which ports clients send requests."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway_parts.stub import MODEL
from llmservice_operator.gateway.configuration import Configuration, render
from llmservice_operator.gateway.routes import ReadyReplica, ServedService, document
from overhead.servers import CACHE, LITELLM, Fleet, free_port

VLLM_ROUTER = CACHE / "venvs" / "vllm-router" / "bin"
NAMESPACE = "team-a"
KEY = "sk-of-this-benchmark"
READY_SECONDS = 120.0
NGINX = """\
daemon off; worker_processes 2; pid {directory}/nginx.pid; error_log stderr warn;
events {{ worker_connections 4096; }}
http {{
  access_log off; client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/f; uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;
  client_max_body_size 32m; client_body_buffer_size 1m; keepalive_requests 1000000;
  upstream engines {{ zone engines 1m; {balance} {servers} keepalive 256; keepalive_requests 1000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://engines; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_buffering off; proxy_read_timeout 600s;
    }}
  }}
}}
"""


@dataclass(frozen=True)
class Router:
    """Where clients send their requests."""

    ports: Sequence[int]
    keep: bool = True
    """Whether clients keep their connections."""
    key: str = ""


class NotInstalled(Exception):
    """A program that isn't on this machine; the text says how it comes there."""


def service_kept(_fleet: Fleet, _directory: Path, replicas: Sequence[int]) -> Router:
    """A Service, clients that keep connections: the replica of each was chosen at random when it was opened."""
    return Router(replicas)


def service_new(_fleet: Fleet, _directory: Path, replicas: Sequence[int]) -> Router:
    """A Service, clients that open a connection for each request."""
    return Router(replicas, keep=False)


def nginx_round_robin(fleet: Fleet, directory: Path, replicas: Sequence[int]) -> Router:
    """Debian's NGINX with its default."""
    return _nginx(fleet, directory, replicas, "")


def nginx_least_conn(fleet: Fleet, directory: Path, replicas: Sequence[int]) -> Router:
    """Debian's NGINX with least_conn."""
    return _nginx(fleet, directory, replicas, "least_conn;")


def _program() -> str:
    program = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
    if program is None:
        raise NotInstalled("apt-get install nginx libnginx-mod-http-lua lua-resty-core lua-cjson")
    return program


def _nginx(fleet: Fleet, directory: Path, replicas: Sequence[int], balance: str) -> Router:
    port, home = free_port(), directory / f"nginx-{free_port()}"
    home.mkdir()
    servers = " ".join(f"server 127.0.0.1:{each};" for each in replicas)
    file = home / "nginx.conf"
    file.write_text(NGINX.format(directory=home, port=port, servers=servers, balance=balance))
    fleet.start("nginx", port, [_program(), "-p", home, "-e", "stderr", "-c", file], {})
    wait_for_port(port)
    return Router([port])


def gateway(fleet: Fleet, directory: Path, replicas: Sequence[int]) -> Router:
    """This project's gateway, with the configuration that the operator renders."""
    return Router([NginxGateway(fleet, directory, ServedService(NAMESPACE, "chat", 1, (MODEL,), False), replicas).port])


class NginxGateway:
    """A gateway with a service, and others that have the same replicas."""

    def __init__(
        self,
        fleet: Fleet,
        directory: Path,
        service: ServedService,
        replicas: Sequence[int],
        others: Sequence[ServedService] = (),
    ) -> None:
        self.home = directory / f"gateway-{free_port()}"
        self.port = free_port()
        self._services = [service, *others]
        self.home.mkdir()
        user = "root" if os.geteuid() == 0 else ""
        made = Configuration(self.home, NAMESPACE, "127.0.0.1", port=self.port, metrics_port=free_port(), user=user)
        file = self.home / "nginx.conf"
        file.write_text(render(made))
        started = fleet.start("gateway", self.port, [_program(), "-p", self.home, "-e", "stderr", "-c", file], {})
        self.pid = started.process.pid
        wait_for_port(self.port)
        self.route(replicas)

    def route(self, replicas: Sequence[int]) -> None:
        """From now on the services have the replicas at these ports."""
        ready = [
            ReadyReplica(NAMESPACE, service.name, f"{service.name}-{number}", "127.0.0.1", port)
            for service in self._services
            for number, port in enumerate(replicas)
        ]
        post_routes(self.home / "control.sock", json.dumps(document(self._services, ready)).encode())


def post_routes(control: Path, text: bytes) -> None:
    """Gives the gateway its routes, as its controller does."""
    connection = http.client.HTTPConnection("control")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(control))
    with contextlib.closing(connection):
        connection.request("POST", "/routes", text)
        response = connection.getresponse()
        if response.status != 204:
            raise SystemExit(f"the gateway refused its routes: {response.read()!r}")


def vllm_router(fleet: Fleet, directory: Path, replicas: Sequence[int]) -> Router:
    """vLLM's router in Rust with its policy cache_aware."""
    if not (VLLM_ROUTER / "vllm-router").exists():
        raise NotInstalled("hack/venv/vllm-router")
    port = free_port()
    urls = [f"http://127.0.0.1:{each}" for each in replicas]
    command: list[str | Path] = [VLLM_ROUTER / "vllm-router", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--prometheus-port", str(free_port()), "--policy", "cache_aware", "--log-level", "error"]
    command += ["--worker-urls", *urls]
    fleet.start("vllm-router", port, command, {"PATH": f"{VLLM_ROUTER}:/usr/bin:/bin"})
    wait_for_port(port)
    return Router([port])


def litellm(fleet: Fleet, directory: Path, replicas: Sequence[int]) -> Router:
    """LiteLLM's proxy with its strategy least-busy, one worker process."""
    if not (LITELLM / "litellm").exists():
        raise NotInstalled("hack/venv/litellm")
    port = free_port()
    configuration = {
        "model_list": [
            {
                "model_name": MODEL,
                "litellm_params": {
                    "model": f"openai/{MODEL}",
                    "api_base": f"http://127.0.0.1:{each}/v1",
                    "api_key": "none",
                    "max_retries": 0,
                },
            }
            for each in replicas
        ],
        "router_settings": {"routing_strategy": "least-busy", "num_retries": 0},
        "general_settings": {"master_key": KEY},
        "litellm_settings": {"telemetry": False},
    }
    path = directory / f"litellm-{port}.yaml"
    path.write_text(json.dumps(configuration))
    command: list[str | Path] = [LITELLM / "litellm", "--config", path, "--host", "127.0.0.1", "--port", str(port)]
    quiet = {"LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "PATH": f"{LITELLM}:/usr/bin:/bin"}
    started = fleet.start("litellm", port, command, quiet)
    fleet.ready(started, "/health/liveliness")
    return Router([port], key=KEY)


ROUTERS: dict[str, Callable[[Fleet, Path, Sequence[int]], Router]] = {
    "gateway": gateway,
    "service_kept": service_kept,
    "service_new": service_new,
    "round_robin": nginx_round_robin,
    "least_conn": nginx_least_conn,
    "vllm_router": vllm_router,
    "litellm": litellm,
}


def stub_replicas(fleet: Fleet, count: int, engine: dict[str, float]) -> list[int]:
    """Starts so many modelled engines; their ports."""
    ports = [free_port() for _ in range(count)]
    options = json.dumps({"ports": ports, "engine": engine})
    fleet.start("stub", ports[0], [sys.executable, Path(__file__).with_name("stub.py"), options], {})
    for port in ports:
        wait_for_port(port)
    return ports


def wait_for_port(port: int) -> None:
    """Returns once something listens there."""
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise SystemExit(f"nothing listens at port {port} after {READY_SECONDS:g} s")
