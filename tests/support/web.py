"""HTTP GET of an address, and addresses in URLs."""

from __future__ import annotations

import urllib.request


def host(address: str) -> str:
    """A host name or an IP address as URLs have it: IPv6 in brackets."""
    return f"[{address}]" if ":" in address else address


def answers(url: str) -> bool:
    """Whether this is answered with 200 within some seconds."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
