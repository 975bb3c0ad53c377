"""A port for a server of a test."""

import contextlib
import random
import socket

BELOW_OUTGOING = range(11000, 30000)
"""Below the ports that Linux gives to outgoing connections (from 32768): one of these could take a port between its
choice and the start of the server. Also below Kubernetes' node ports (from 30000)."""


def free_port() -> int:
    """A port that no socket of this host has, on any address; RuntimeError if there is none."""
    for _ in range(1000):
        port = random.choice(BELOW_OUTGOING)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("", port))
            return port
    raise RuntimeError(f"no free port from {BELOW_OUTGOING.start} to {BELOW_OUTGOING.stop - 1}")
