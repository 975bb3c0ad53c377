"""What vLLM's server and the process that fetches an adapter tell each other."""

from __future__ import annotations

import msgspec

from llmservice_contract.adapters import Adapter

FETCH_SECONDS = 900
"""Time limit for one adapter."""
LONGEST_MESSAGE = 1000
"""Characters of a message in its result: parts of it are what a hub or a store said."""


class FetchRequest(msgspec.Struct, frozen=True):
    """What to fetch, and for which model."""

    adapter: Adapter
    into: str
    most: int
    max_rank: int
    hidden_size: int | None = None
    layers: int | None = None
    model: str = ""
    """The directory of the model, or the name of its repository in a hub."""
    model_revision: str | None = None


class FetchResult(msgspec.Struct, frozen=True):
    """What came of it: the digest of the weights, or why there are none."""

    digest: str = ""
    reason: str = ""
    message: str = ""
