"""Clients reach vLLM at IPv6 and IPv4 addresses, if this host has both."""

from __future__ import annotations

import errno
import socket
from typing import Any

import pytest

from llmservice_runtime.launcher.listen_address import ANY_ADDRESS, listen_address


def vllm_socket(host: str | None) -> socket.socket:
    """A listening socket as vLLM's create_server_socket makes it."""
    made = socket.socket(socket.AF_INET6 if host is not None and ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    made.bind((host or "", 0))
    made.listen()
    return made


def test_both_families_are_accepted() -> None:
    with vllm_socket(listen_address()) as server:
        port = server.getsockname()[1]
        for address in ("127.0.0.1", "::1"):
            socket.create_connection((address, port), timeout=5).close()


@pytest.mark.parametrize("call", ["socket", "bind"])
def test_without_ipv6_vllm_listens_on_ipv4(call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel has no IPv6 (ipv6.disable=1), or no address of it may be bound."""
    real = socket.socket

    class Without(real):  # type: ignore[misc, valid-type]
        def __init__(self, family: int = -1, *rest: Any, **more: Any) -> None:
            if family == socket.AF_INET6 and call == "socket":
                raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
            super().__init__(family, *rest, **more)

        def bind(self, address: Any) -> None:
            if self.family == socket.AF_INET6:
                raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")
            super().bind(address)

    monkeypatch.setattr(socket, "socket", Without)
    assert listen_address() is None
    with vllm_socket(listen_address()) as server:
        socket.create_connection(("127.0.0.1", server.getsockname()[1]), timeout=5).close()


def test_a_socket_for_ipv6_alone_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """net.ipv6.bindv6only=1: IPv4 clients would be refused."""
    monkeypatch.setattr(socket.socket, "getsockopt", lambda *_: 1)
    assert listen_address() is None


def test_the_address_is_the_unspecified_one() -> None:
    assert listen_address() == ANY_ADDRESS
