"""What the runtime listens on, beside vLLM itself (launcher/test_listen_address.py), takes IPv6 and IPv4: the
kubelet and Prometheus use the pod's first address, and clients may use each."""

from __future__ import annotations

import asyncio
import socket

import pytest

from llmservice_runtime.multi_node.probe_server import probe_http, serve_probes
from llmservice_runtime.vllm_plugins.metrics_server import MetricsServer

LOOPBACK = ("127.0.0.1", "::1")


async def fine() -> str:
    return ""


async def status(address: str, port: int, path: str) -> bytes:
    async with asyncio.timeout(60):
        reader, writer = await asyncio.open_connection(address, port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        line = await reader.readline()
        writer.close()
        return line.split()[1]


@pytest.mark.parametrize("address", LOOPBACK)
async def test_the_metrics_port(address: str, unused_tcp_port: int) -> None:
    async with await MetricsServer(lambda: b"up 1\n").listen(unused_tcp_port):
        assert await status(address, unused_tcp_port, "/metrics") == b"200"


@pytest.mark.parametrize("address", LOOPBACK)
async def test_the_probes_of_a_rank(address: str, unused_tcp_port: int) -> None:
    async with await serve_probes(unused_tcp_port, fine, fine):
        assert await status(address, unused_tcp_port, "/health") == b"200"


async def test_vllm_on_the_unspecified_ipv6_address_answers_its_own_host(unused_tcp_port: int) -> None:
    """The agent's probes and the preStop hook connect to 127.0.0.1, whatever vLLM listens on."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    listening = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    listening.bind(("::", unused_tcp_port))
    async with await asyncio.start_server(serve, sock=listening):
        assert await probe_http(unused_tcp_port, "/health", seconds=5) == ""
