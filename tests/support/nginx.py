"""NGINX of a test's own, from Debian, in front of some servers, with buffers and retries as it has them by default, and
with what docs/clients.md says.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from support.cluster import START_SECONDS, wait_until
from support.ports import free_port
from support.web import answers

CONFIGURATION = """
daemon off;
worker_processes 1;
{user}
pid {directory}/nginx.pid;
error_log {directory}/error.log warn;
events {{ worker_connections 512; }}
http {{
  access_log off;
  gzip on;
  gzip_proxied any;
  gzip_types application/json text/event-stream;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  upstream replicas {{ {servers} keepalive 16; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://replicas;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_read_timeout 620s;
      client_max_body_size 8m;
    }}
  }}
}}
"""


@contextlib.contextmanager
def nginx(directory: Path, ports: Sequence[int], port: int | None = None) -> Iterator[str]:
    """The URL of one in front of the servers at these ports of 127.0.0.1."""
    program = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
    if program is None:
        pytest.fail("nginx is not on this machine: apt-get install nginx-light")
    port = port or free_port()
    directory.mkdir()
    configuration = directory / "nginx.conf"
    servers = " ".join(f"server 127.0.0.1:{each};" for each in ports)
    # Workers of root are another user by default, who can't write bodies into this directory.
    user = "user root;" if os.geteuid() == 0 else ""
    configuration.write_text(CONFIGURATION.format(directory=directory, port=port, servers=servers, user=user))
    process = subprocess.Popen([program, "-p", directory, "-e", "stderr", "-c", configuration])
    try:
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/health"), "NGINX answers", timeout=START_SECONDS)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()
