"""The address on which vLLM listens. By itself it listens on IPv4 alone, and pods of an IPv6 cluster have no IPv4
address."""

from __future__ import annotations

import socket

ANY_ADDRESS = "::"
"""IPv6's unspecified address: a socket bound to it accepts IPv4 connections too, unless the kernel says otherwise."""


def listen_address() -> str | None:
    """ANY_ADDRESS if a socket that is bound to it accepts IPv6 and IPv4; None (IPv4) if this host has no IPv6."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind((ANY_ADDRESS, 0))
            return ANY_ADDRESS if probe.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 0 else None
    except OSError:
        return None
