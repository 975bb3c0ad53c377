"""An engine with keys, limits and caps, for tests of the gateway."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from llmservice_contract.keys import Role
from llmservice_contract.policy import Caps, Policy, RateLimit
from support.access import AccessFiles
from support.engine import Engine, make_model

CONTEXT_LENGTH = 512
CAPS = Caps(max_tokens=64, n=2, prompts=4)
FEW_TOKENS = 12
TIERS = {
    "default": RateLimit(requests_per_minute=1000, tokens_per_minute=1_000_000),
    "tight": RateLimit(requests_per_minute=2),
    "tiny": RateLimit(tokens_per_minute=FEW_TOKENS),
    "many": RateLimit(requests_per_minute=1_000_000, tokens_per_minute=10**9),
}
CLIENT, ADMIN = "client", "admin"
KEYS = {CLIENT: "many", "free": "default", "watched": "default", "busy": "tight", "poor": "tiny"}
"""The tier of each client's key, by the name that the tests give it."""


@dataclass(frozen=True)
class Guarded:
    """The engine, and a key of each name in KEYS and for the admin."""

    engine: Engine
    keys: dict[str, str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.engine.port}"

    @property
    def headers(self) -> dict[str, str]:
        """Of a client that nothing limits."""
        return {"Authorization": f"Bearer {self.keys[CLIENT]}"}


@contextmanager
def guarded_engine(directory: Path) -> Iterator[Guarded]:
    """One that begins to load; the caller waits."""
    access = AccessFiles(directory, Policy(require_keys=True, tiers=TIERS, caps=CAPS))
    keys = {name: access.make_key(tier) for name, tier in KEYS.items()} | {ADMIN: access.make_key(role=Role.ADMIN)}
    settings = {"MAX_CONTEXT_LENGTH": str(CONTEXT_LENGTH), "BATCH_TIMEOUT_MS": "50"}
    with Engine(directory, make_model(directory / "tiny"), **settings, **access.environ) as engine:
        yield Guarded(engine, keys)
