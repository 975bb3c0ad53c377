"""A service with all checks of the gateway on: one key, and limits and caps that allow everything."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path

from llmservice_contract.keys import ID_BYTES, SECRET_BYTES, make_key
from llmservice_contract.policy import Caps, Policy, RateLimit

PLENTY = 10**12


@dataclass(frozen=True)
class Access:
    """What a client sends, and the environment of the front."""

    key: str
    environment: dict[str, str]


def make_access(directory: Path) -> Access:
    """Writes key and policy as the operator does."""
    keys, policy = directory / "keys", directory / "policy.json"
    keys.mkdir()
    plain, stored = make_key(secrets.token_bytes(ID_BYTES + SECRET_BYTES))
    (keys / stored.id).write_text(stored.entry())
    tiers = {"default": RateLimit(PLENTY, PLENTY)}
    caps = Caps(max_tokens=PLENTY, default_max_tokens=64)
    policy.write_text(Policy(require_keys=True, tiers=tiers, caps=caps).to_json())
    return Access(plain, {"API_KEYS": str(keys), "ACCESS_POLICY": str(policy), "LOG_FORMAT": "json"})
