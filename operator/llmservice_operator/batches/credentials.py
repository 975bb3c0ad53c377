"""API keys of running batches, encrypted.

A replica accepts a line only with its owner's key, also after a restart of this process. The key is on the disk
encrypted with AES-256-GCM; the key for that comes from a Secret of the cluster, so that a copy of the volume alone
shows no API key. Each text belongs to one batch.
"""

import hashlib
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

LEAST_BYTES = 32
"""Of the Secret."""
_NONCE = 12


class Sealer:
    """Encrypts keys."""

    def __init__(self, secret: bytes) -> None:
        """Raises ValueError if the secret is too short."""
        secret = secret.strip()
        if len(secret) < LEAST_BYTES:
            raise ValueError(f"it has {len(secret)} bytes, but needs {LEAST_BYTES} at least")
        self._cipher = AESGCM(hashlib.sha256(secret).digest())

    def seal(self, key: str, batch_id: str) -> bytes:
        """An API key, encrypted for one batch."""
        nonce = os.urandom(_NONCE)
        return nonce + self._cipher.encrypt(nonce, key.encode(), batch_id.encode())

    def unseal(self, sealed: bytes, batch_id: str) -> str | None:
        """The key; None if it was encrypted with another secret or for another batch."""
        try:
            return self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], batch_id.encode()).decode()
        except (InvalidTag, ValueError):
            return None
