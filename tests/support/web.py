"""HTTP GET of an address."""

from __future__ import annotations

import urllib.request


def answers(url: str) -> bool:
    """Whether this is answered with 200 within some seconds."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
