"""Alternatives to the gateway: NGINX, which only forwards requests, and LiteLLM's proxy with a key."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

from overhead.servers import LITELLM, Fleet, Server, free_port

NGINX = """\
daemon off; worker_processes 1; pid {directory}/nginx.pid; error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
  access_log off; client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/f; uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;
  keepalive_requests 1000000;
  upstream engine {{ server 127.0.0.1:{behind}; keepalive 128; keepalive_requests 1000000; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://engine; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_buffering off; proxy_read_timeout 600s;
    }}
  }}
}}
"""
KEY = "sk-of-this-benchmark"


def nginx(fleet: Fleet, directory: Path, behind: Server) -> Server | None:
    """NGINX with one worker and no buffers; None if it is not installed (Debian: apt-get install nginx)."""
    program = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
    if program is None:
        return None
    port, home = free_port(), directory / f"nginx-{behind.name}-{behind.port}"
    home.mkdir()
    configuration = home / "nginx.conf"
    configuration.write_text(NGINX.format(directory=home, port=port, behind=behind.port))
    command: list[str | Path] = [program, "-p", home, "-e", "stderr", "-c", configuration]
    return replace(fleet.ready(fleet.start("nginx", port, command, {})), behind=behind)


def litellm(fleet: Fleet, directory: Path, behind: Server) -> Server | None:
    """LiteLLM's proxy with a master key; None if hack/venv/litellm has not been run."""
    if not (LITELLM / "litellm").exists():
        return None
    port = free_port()
    base = f"http://127.0.0.1:{behind.port}/v1"
    parameters = {"model": "text-completion-openai/tiny", "api_base": base, "api_key": "none", "max_retries": 0}
    configuration = {
        "model_list": [{"model_name": "tiny", "litellm_params": parameters}],
        "general_settings": {"master_key": KEY},
        "litellm_settings": {"telemetry": False},
    }
    path = directory / f"litellm-{behind.port}.yaml"
    path.write_text(json.dumps(configuration))
    command: list[str | Path] = [LITELLM / "litellm", "--config", path, "--host", "127.0.0.1", "--port", str(port)]
    quiet = {"LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "PATH": f"{LITELLM}:/usr/bin:/bin"}
    started = fleet.start("litellm", port, command, quiet)
    return replace(fleet.ready(started, "/health/liveliness"), key=KEY, behind=behind)
