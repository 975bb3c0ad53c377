"""Media by URL in real vLLM: what its connector fetches, with the arguments and the connector that the runtime sets."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from support.engine import ROOT, vllm_python

SCRIPT = """
import asyncio, json, os, socket, sys

inner = socket.getaddrinfo
def getaddrinfo(host, *rest, **more):
    return inner("127.0.0.1" if host == "media.example" else host, *rest, **more)
socket.getaddrinfo = getaddrinfo

from llmservice_runtime.vllm_plugins import general
general.load()
from vllm import envs
from vllm.multimodal.media.connector import MEDIA_CONNECTOR_REGISTRY
from mistral_common.tokens.tokenizers import image

domains, url = json.loads(sys.argv[1]), sys.argv[2]
connector = MEDIA_CONNECTOR_REGISTRY.load(envs.VLLM_MEDIA_CONNECTOR, allowed_media_domains=domains)

def outcome(fetch):
    try:
        fetch()
    except Exception as error:
        return type(error).__name__ + ": " + str(error)
    return "fetched"

print(json.dumps({
    "async": outcome(lambda: asyncio.run(connector.fetch_image_async(url))),
    "sync": outcome(lambda: connector.fetch_image(url)),
    "mistral": outcome(lambda: image.download_image(url=url)) if domains else "not asked",
}))
"""
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


@dataclass
class Host:
    """A web server on this machine, and the paths that it was asked for."""

    port: int = 0
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def host() -> Iterator[Host]:
    found = Host()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found.asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(PIXEL)))
            self.end_headers()
            self.wfile.write(PIXEL)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.port = server.server_port
    Thread(target=server.serve_forever, daemon=True).start()
    yield found
    server.shutdown()
    server.server_close()


def fetch(url: str, domains: list[str], **environ: str) -> dict[str, str]:
    settings = {
        "PYTHONPATH": str(ROOT / "runtime"),
        "VLLM_MEDIA_FETCH_MAX_RETRIES": "1",
        "VLLM_MEDIA_URL_ALLOW_REDIRECTS": "0",
    }
    done = subprocess.run(
        [vllm_python(), "-c", SCRIPT, json.dumps(domains), url],
        env=os.environ | settings | environ,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(json.loads(done.stdout.splitlines()[-1]))


LISTED = {"VLLM_MEDIA_CONNECTOR": "llmservice", "MEDIA_DOMAINS": "media.example"}


def test_vllm_alone_fetches_from_every_address_so_this_test_can_fail(host: Host) -> None:
    outcomes = fetch(f"http://media.example:{host.port}/a.png", [])
    assert (outcomes["async"], outcomes["sync"]) == ("fetched", "fetched")
    assert host.asked == ["/a.png", "/a.png"]


def test_without_a_domain_nothing_is_fetched(host: Host) -> None:
    outcomes = fetch(f"http://127.0.0.1:{host.port}/a.png", ["none.invalid"])
    assert "allowed domains" in outcomes["async"]
    assert "allowed domains" in outcomes["sync"]
    assert host.asked == []


def test_a_listed_domain_that_resolves_to_this_machine_is_not_fetched_from(host: Host) -> None:
    outcomes = fetch(f"http://media.example:{host.port}/a.png", ["media.example"], **LISTED)
    assert "fetched" not in outcomes.values(), outcomes
    assert host.asked == []


def test_not_even_where_the_platform_lists_it(host: Host) -> None:
    platform = {"VLLM_MEDIA_CONNECTOR": "llmservice", "PLATFORM_MEDIA_DOMAINS": "media.example"}
    outcomes = fetch(f"http://media.example:{host.port}/a.png", ["media.example"], **platform)
    assert "fetched" not in outcomes.values(), outcomes
    assert host.asked == []
