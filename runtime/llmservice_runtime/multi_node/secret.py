"""The secret of a group, and how a worker and rank 0 prove to each other that they know it.

The worker sends a nonce with its Join; rank 0 answers with a nonce and a proof over both, and the worker with its own.
The secret itself is never sent. What follows on the connection is neither signed nor encrypted.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from pathlib import Path

LEAST_BYTES = 16
MOST_BYTES = 4096
NONCE_CHARACTERS = 32


class SecretUnusable(Exception):
    """The secret can't be used; the text says why, and never contains the secret."""


def read_secret(path: str) -> bytes | None:
    """The secret in the file, without surrounding white space; None for an empty path. Raises SecretUnusable."""
    if not path:
        return None
    try:
        with Path(path).open("rb") as file:
            found = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise SecretUnusable(f"the group's secret {path} can't be read: {error.strerror}") from error
    if len(found) > MOST_BYTES:
        raise SecretUnusable(f"the group's secret {path} has more than {MOST_BYTES} bytes")
    found = found.strip()
    if len(found) < LEAST_BYTES:
        raise SecretUnusable(f"the group's secret {path} has {len(found)} bytes: it needs {LEAST_BYTES} or more")
    return found


def new_nonce() -> str:
    """A random text that never occurs twice."""
    return secrets.token_hex(NONCE_CHARACTERS // 2)


def proof(secret: bytes, role: str, rank: int, digest: str, nonces: tuple[str, str]) -> str:
    """The proof that `role` knows the secret; `nonces` are the worker's and rank 0's."""
    said = "\0".join(("llmservice-group-1", role, str(rank), digest, *nonces))
    return hmac.new(secret, said.encode(), hashlib.sha256).hexdigest()


def is_proof(given: str, expected: str) -> bool:
    """Whether both proofs are equal, compared in constant time."""
    return hmac.compare_digest(given.encode(), expected.encode())
