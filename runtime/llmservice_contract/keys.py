"""API keys: what a client sends, and what a Secret stores.

A key has the form `llm_ID_SECRET`. The Secret has one entry per key: its name is the id, its value a line of JSON with
the SHA-256 of the whole key, a tier and a role. Only the owner has the plain key. Entries are independent: an invalid
one does not affect the others.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

ID_BYTES = 8
SECRET_BYTES = 32
"""256 random bits."""
DEFAULT_TIER = "default"
TIER = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
ID = re.compile(r"[a-z0-9]{4,32}")

_PLAIN = re.compile(r"llm_([a-z0-9]{4,32})_[A-Za-z0-9_-]{32,128}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FIELDS = frozenset({"sha256", "tier", "role"})


class BadKey(ValueError):
    """An entry of a Secret is not a valid key. The text says why, without secrets."""


class Role(StrEnum):
    """What a key may use."""

    CLIENT = "client"
    """The routes of the OpenAI API."""
    ADMIN = "admin"
    """All routes."""


@dataclass(frozen=True, slots=True)
class StoredKey:
    """The stored form of a key."""

    id: str
    sha256: str
    """Of the plain key, as 64 lower-case hexadecimal digits."""
    tier: str = DEFAULT_TIER
    role: Role = Role.CLIENT

    def entry(self) -> str:
        """The value of its entry in the Secret."""
        return json.dumps({"sha256": self.sha256, "tier": self.tier, "role": self.role.value}, separators=(",", ":"))


def make_key(random: bytes, tier: str = DEFAULT_TIER, role: Role = Role.CLIENT) -> tuple[str, StoredKey]:
    """The plain key from ID_BYTES + SECRET_BYTES random bytes, and its stored form. Raises ValueError."""
    if len(random) != ID_BYTES + SECRET_BYTES:
        raise ValueError(f"a key needs {ID_BYTES + SECRET_BYTES} random bytes, not {len(random)}")
    if not TIER.fullmatch(tier):
        raise ValueError(f"a tier must be a name of lower-case letters, digits and '-', not {tier!r}")
    key_id = base64.b32encode(random[:ID_BYTES]).decode().rstrip("=").lower()
    plain = f"llm_{key_id}_{base64.urlsafe_b64encode(random[ID_BYTES:]).decode().rstrip('=')}"
    return plain, StoredKey(key_id, digest(plain), tier, role)


def id_of(plain: str) -> str | None:
    """The id in a plain key; None if it does not have the form of a key."""
    match = _PLAIN.fullmatch(plain)
    return match[1] if match else None


def digest(plain: str) -> str:
    """SHA-256 as it is stored. A key has 256 random bits, so it needs no slow hash."""
    return hashlib.sha256(plain.encode()).hexdigest()


def read_entry(key_id: str, text: str) -> StoredKey:
    """The key of one entry of the Secret. Raises BadKey."""
    if not ID.fullmatch(key_id):
        raise BadKey("its name is not an id of a key: 4 to 32 lower-case letters and digits")
    try:
        data: Any = json.loads(text)
    except (ValueError, RecursionError):
        raise BadKey("it is not JSON") from None
    if not isinstance(data, dict):
        raise BadKey("it is not a JSON object")
    unknown = sorted(set(data) - _FIELDS)
    if unknown:
        raise BadKey(f"it has unknown fields: {', '.join(unknown)[:80]}")
    sha256, tier = data.get("sha256"), data.get("tier", DEFAULT_TIER)
    if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
        raise BadKey("sha256 is not 64 lower-case hexadecimal digits")
    if not isinstance(tier, str) or not TIER.fullmatch(tier):
        raise BadKey("tier is not a name of lower-case letters, digits and '-'")
    try:
        return StoredKey(key_id, sha256, tier, Role(data.get("role", Role.CLIENT)))
    except ValueError:
        raise BadKey(f"role is neither {' nor '.join(Role)}") from None
