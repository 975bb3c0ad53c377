"""A prefix cache for each key: vLLM finds a prefix again only if its salt is the same.

The salt is made of the digest of the key, which no client knows, and of the salt that the client sent, which so parts
only its own cache. What a client sends never takes the place of it, so no key can share the cache of another.
"""

from __future__ import annotations

import hashlib
import hmac

from pydantic_core import to_json

from llmservice_contract.keys import StoredKey
from llmservice_runtime.gateway.refusals import Refused, not_with_own_cache
from llmservice_runtime.gateway.routes import Kind, Route
from llmservice_runtime.gateway.sizes import Request

FIELD = "cache_salt"
_PURPOSE = b"llmservice prefix cache\n"
_CACHELESS = frozenset({Kind.TEXT, Kind.COUNTING, Kind.AUDIO, Kind.REALTIME, Kind.OTHER})
"""Kinds that use no prefix cache: the tokenizer, sound, and what is no work of the engine."""
_WITHOUT_FIELD = frozenset({"/cohere/v2/chat", "/v2/embed"})
"""Routes of other kinds whose requests lack the field in vLLM."""


def cache_salt(key: StoredKey, route: Route, request: Request) -> str | None:
    """The salt for a request of this key; None if there is no cache. Raises Refused if none can be given."""
    if route.kind in _CACHELESS:
        return None
    if route.pattern in _WITHOUT_FIELD:
        raise Refused(not_with_own_cache())
    sent = request.get(FIELD)
    message = _PURPOSE + (b"" if sent is None else to_json(sent))
    return hmac.new(bytes.fromhex(key.sha256), message, hashlib.sha256).hexdigest()
