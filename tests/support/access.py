"""Keys and an access policy, as files that are mounted into an engine's pod."""

from __future__ import annotations

import secrets
from pathlib import Path

from llmservice_contract.keys import DEFAULT_TIER, ID_BYTES, SECRET_BYTES, Role, make_key
from llmservice_contract.policy import Policy


class AccessFiles:
    """In a directory of its own."""

    def __init__(self, directory: Path, policy: Policy) -> None:
        self._keys = directory / "keys"
        self._policy = directory / "access.json"
        self._keys.mkdir()
        self._policy.write_text(policy.to_json())

    @property
    def environ(self) -> dict[str, str]:
        """What tells an engine of it."""
        return {"API_KEYS": str(self._keys), "ACCESS_POLICY": str(self._policy)}

    def make_key(self, tier: str = DEFAULT_TIER, role: Role = Role.CLIENT) -> str:
        """A new key that the engine knows."""
        plain, stored = make_key(secrets.token_bytes(ID_BYTES + SECRET_BYTES), tier, role)
        (self._keys / stored.id).write_text(stored.entry())
        return plain
