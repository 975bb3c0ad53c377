"""The access policy: what a service allows its clients, in one file that running engines reload.

The operator writes it into a ConfigMap from `spec.access`; the runtime reads it from ACCESS_POLICY. Absent fields have
the defaults stated here. An invalid file changes nothing: the last valid one stays in force. An unknown field is an
error, because it may be a limit that this version does not support. So the operator omits defaults, and an engine of an
earlier version can read the file as long as no new field is used.
"""

from __future__ import annotations

import functools
import json
import re
import types
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from llmservice_contract.keys import TIER

MOST_CHOICES = 64
"""Maximum number of answers to one prompt in a policy; also vLLM's maximum."""
LONGEST_ERROR = 300
"""In characters."""

AtLeastZero = Annotated[int, Meta(ge=0)]
AtLeastOne = Annotated[int, Meta(ge=1)]
AtLeast1024 = Annotated[int, Meta(ge=1024)]
MOST_WEIGHT = 1000
Weight = Annotated[int, Meta(ge=1, le=MOST_WEIGHT)]
MOST_ORIGINS = 32
LONGEST_ORIGIN = 256
"""Characters."""
ORIGIN = re.compile(r"\*|[a-z][a-z0-9+.-]*://([a-z0-9_.-]+|\[[0-9a-f:.]+\])(:[1-9][0-9]{0,4})?")
"""As browsers send it: in lower case, without a slash at the end, without the port that is the scheme's own."""
Origin = Annotated[str, Meta(pattern=rf"\A({ORIGIN.pattern})\Z")]
Tier = Annotated[str, Meta(pattern=rf"\A{TIER.pattern}\Z")]


class BadPolicy(ValueError):
    """The policy is invalid; the text names the field and says why."""


class _Part(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """An object of the file."""


class OnFailure(StrEnum):
    """What happens to a request while the shared store does not answer."""

    OPEN = "open"
    """Each replica counts by itself, as without a store."""
    CLOSED = "closed"
    """The request is refused with 503."""


class PrefixCache(StrEnum):
    """Which requests share the engine's cache of prompt prefixes."""

    SHARED = "shared"
    """Those of all keys: a client can measure by the latency whether another client sent the same prefix."""
    PER_KEY = "perKey"
    """Only those of the same key."""


class RateLimit(_Part, frozen=True):
    """Limits of one key of a tier within any 60 seconds. None: no limit."""

    requests_per_minute: AtLeastOne | None = None
    tokens_per_minute: AtLeastOne | None = None
    """Tokens of prompts and answers together."""


DEFAULT_TIERS: Mapping[str, RateLimit] = types.MappingProxyType(
    {"default": RateLimit(60, 100_000), "premium": RateLimit(1_000, 1_000_000)}
)


class Share(_Part, frozen=True):
    """The share that each key of a tier has in the engine while requests wait there."""

    weight: Weight = 1
    """A key with weight 2 gets twice the tokens of a key with weight 1 while both have waiting requests."""
    max_queue_seconds: AtLeastOne | None = None
    """How long a request may be without its first token, from its first byte. None: until the deadline."""


class FairSharing(_Part, frozen=True):
    """Waiting requests of all keys are taken by turns, fair by tokens."""

    tiers: Mapping[Tier, Share] = types.MappingProxyType({})
    """By name. A tier that is not here has the share of `default`, and without that the defaults of Share."""

    def share_of(self, tier: str) -> Share:
        """The share of a key of this tier."""
        return self.tiers.get(tier) or self.tiers.get("default") or Share()


class Store(_Part, frozen=True):
    """A Redis or Valkey in which the replicas of a service share their counts."""

    address: str
    """HOST:PORT"""
    tls: bool = False
    prefix: str = ""
    """Prefix of every key in the store."""
    on_failure: OnFailure = OnFailure.OPEN
    trusted: bool = False
    """Whether the platform lists the address. Otherwise the login is sent only if its Secret contains the address."""


class Caps(_Part, frozen=True):
    """Limits of one request, checked before the engine receives it. None: only vLLM's own limits."""

    body_bytes: AtLeast1024 = 8 * 1024 * 1024
    header_bytes: AtLeast1024 = 32 * 1024
    prompts: AtLeastOne = 1024
    """Prompts or inputs in one request."""
    default_max_tokens: AtLeastOne | None = None
    """Tokens of the answer if the request does not set a limit."""
    max_tokens: AtLeastOne | None = None
    """Maximum number of tokens of the answer."""
    n: AtLeastOne = 16
    """Answers to one prompt."""
    logprobs: AtLeastZero = 20
    """Number of alternative tokens for which log probabilities are returned."""
    stop: AtLeastZero = 16
    """Stop sequences."""
    tools: AtLeastZero = 128
    schema_bytes: AtLeastZero = 128 * 1024
    """Size of JSON schemas, grammars and patterns that an answer must match, as JSON. Tools count without their
    descriptions."""
    grammars: AtLeastZero = 0
    """Grammars (EBNF, Lark) that an answer must match. An ambiguous one of a few bytes can block the engine for
    seconds, for all clients."""
    messages: AtLeastOne = 2048
    """Messages of a conversation."""
    parts: AtLeastOne = 4096
    """Parts of the contents of all messages."""
    objects: Annotated[int, Meta(ge=64)] = 16_384
    """Objects and lists in the JSON of a body; four times as many strings."""
    values: AtLeast1024 = 150_000
    """Values in the JSON of a body, such as token ids."""
    concurrency: AtLeastOne = 512
    """Requests of one key that are answered at the same time by one replica."""
    concurrency_per_replica: AtLeastOne = 2048
    """Requests of all clients that are answered at the same time by one replica."""
    buffered_bytes: AtLeast1024 = 80 * 1024 * 1024
    """Size of the bodies of all requests that one replica answers at the same time; one key may use a third of it."""
    deadline_seconds: AtLeastOne = 600
    """How long one request may take, from its first byte to the last of its answer."""


class Policy(_Part, frozen=True):
    """Everything that a service allows its clients."""

    require_keys: bool = False
    """Whether a request needs a key."""
    tiers: Mapping[Tier, RateLimit] | None = None
    """By name; None: no rate limits. A key with another tier has the limits of `default`."""
    store: Store | None = None
    caps: Caps = Caps()
    prefix_cache: PrefixCache = PrefixCache.SHARED
    fair_sharing: FairSharing | None = None
    """None: the engine takes waiting requests in the order of their arrival, whatever their key."""
    allowed_origins: tuple[Origin, ...] = ()
    """Whose web pages may read answers: SCHEME://HOST[:PORT], or `*` for all."""

    def limit_of(self, tier: str) -> RateLimit:
        """The limits of a key of this tier."""
        tiers = self.tiers or {}
        return tiers.get(tier) or tiers.get("default") or RateLimit()

    def to_json(self) -> str:
        """The file's text without defaults, in a stable order."""
        return json.dumps(_plain(self), separators=(",", ":"), sort_keys=True)


def read_policy(text: str) -> Policy:
    """The policy in a file's text. Raises BadPolicy."""
    try:
        return _DECODER.decode(text)
    except msgspec.ValidationError as error:
        raise BadPolicy(f"the access policy is invalid: {str(error).replace('`$.', '`')[:LONGEST_ERROR]}") from None
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        raise BadPolicy("the access policy is not JSON") from None


_DECODER = msgspec.json.Decoder(Policy)


@functools.cache
def _fields(kind: type[msgspec.Struct]) -> tuple[msgspec.structs.FieldInfo, ...]:
    return msgspec.structs.fields(kind)


def _plain(value: Any) -> Any:
    """``value`` without defaults."""
    if isinstance(value, msgspec.Struct):
        given = [(each, getattr(value, each.name)) for each in _fields(type(value))]
        return {each.encode_name: _plain(part) for each, part in given if part is not None and part != each.default}
    if isinstance(value, Mapping):
        return {name: _plain(part) for name, part in value.items()}
    return value
