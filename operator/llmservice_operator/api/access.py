"""Who may ask the engine, how often, and how much in one request.

The engine's pods read it anew while they run: a change of limits or caps restarts nothing. Only the names of Secrets
and the domains of media are part of a pod.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from llmservice_contract import engine_settings as rows
from llmservice_contract.keys import TIER
from llmservice_contract.policy import MOST_CHOICES
from llmservice_contract.policy import Caps as Defaults
from llmservice_operator.api.base import APIType, RequestBytes, Rule, item_bounds, list_bounds
from llmservice_operator.api.model import SecretReference

DEFAULTS = Defaults()

Count = Annotated[int, Field(ge=1, le=1_000_000_000)]
"""Requests or tokens within a minute."""


class ApiKeys(APIType):
    """The keys that open the service."""

    secret_ref: SecretReference
    """Secret with the keys' hashes, which `kubectl llm keys` writes. Without it, or without a key in it, every request
    is refused."""


class DefaultLimits(APIType):
    """What a key of tier default, and of a tier that is not among these, may do within any 60 seconds."""

    requests_per_minute: Count = 60
    """Requests; one with several prompts or answers counts as that many."""
    tokens_per_minute: Count = 100_000
    """Tokens of prompts and answers together."""


class PremiumLimits(APIType):
    """What a key of tier premium may do within any 60 seconds."""

    requests_per_minute: Count = 1_000
    """Requests; one with several prompts or answers counts as that many."""
    tokens_per_minute: Count = 1_000_000
    """Tokens of prompts and answers together."""


class Tier(APIType):
    """A tier of one's own, and what a key of it may do within any 60 seconds."""

    name: Annotated[str, Field(pattern=rf"^{TIER.pattern}$", max_length=63)]
    """Name by which a key says its tier."""
    requests_per_minute: Count | None = None
    """Requests; one with several prompts or answers counts as that many. Absent: no limit."""
    tokens_per_minute: Count | None = None
    """Tokens of prompts and answers together. Absent: no limit."""

    rules = (
        Rule(
            "!(self.name in ['default', 'premium'])",
            "the tiers default and premium stand beside tiers, not in it: give a tier of your own another name",
            ".name",
        ),
    )


class StoreFailure(StrEnum):
    """What becomes of a request while the store does not answer."""

    OPEN = "Open"
    CLOSED = "Closed"


class Store(APIType):
    """A Redis or Valkey in which all replicas count together."""

    address: Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?:[1-9][0-9]{0,4}$", max_length=259)]
    """Where it listens, as HOST:PORT."""
    tls: Annotated[bool, Field(strict=True)] | None = None
    """Whether the connection is encrypted, and the store's certificate checked. Absent: false."""
    credentials_ref: SecretReference | None = None
    """Secret with the login, in the keys `username` and `password`. Its key `address` has to hold this store's address,
    unless the platform lists it: the login is sent nowhere else. Absent: no login."""
    on_failure: StoreFailure = StoreFailure.OPEN
    """What becomes of requests while it does not answer. `Open`: each replica counts by itself; `Closed`: they are
    refused with 503."""


class LimitMode(StrEnum):
    """Whether rate limits hold."""

    ENFORCE = "Enforce"
    DISABLED = "Disabled"


class RateLimits(APIType):
    """How much a key may do within any 60 seconds, by its tier."""

    mode: LimitMode = LimitMode.ENFORCE
    """Whether the limits hold (`Enforce`) or none do (`Disabled`)."""
    default: DefaultLimits = DefaultLimits()
    """What a key of tier default, and of a tier that is not among these, may do."""
    premium: PremiumLimits = PremiumLimits()
    """What a key of tier premium may do."""
    tiers: (
        Annotated[
            list[Tier],
            Field(
                min_length=1,
                max_length=32,
                json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
            ),
        ]
        | None
    ) = None
    """Tiers of one's own. Absent: none."""
    store: Store | None = None
    """Where all replicas count together. Absent: each replica counts by itself, and a key may do as much at each."""


class Caps(APIType):
    """What one request may ask. It is looked at before the engine sees the request; beyond, it is refused."""

    body_bytes: RequestBytes = "8Mi"
    """Size of the body."""
    header_bytes: RequestBytes = "32Ki"
    """Size of all headers together."""
    schema_bytes: RequestBytes = "64Ki"
    """Size of JSON schemas, grammars and patterns that an answer has to keep to, those of tools included."""
    prompts: Annotated[int, Field(ge=1, le=1024)] = DEFAULTS.prompts
    """Prompts or inputs in one request."""
    default_max_tokens: Annotated[int, Field(ge=1, le=rows.MAX_CONTEXT_LENGTH.maximum)] | None = None
    """Tokens of an answer where the request does not say. Absent: vLLM's own, as many as the context leaves, of which
    1024 are reserved of the rate limit."""
    max_tokens: Annotated[int, Field(ge=1, le=rows.MAX_CONTEXT_LENGTH.maximum)] | None = None
    """Tokens of an answer that a request may ask for. Absent: as many as the context leaves."""
    choices: Annotated[int, Field(ge=1, le=MOST_CHOICES)] = DEFAULTS.n
    """Answers to one prompt: a request's `n` and `best_of`."""
    logprobs: Annotated[int, Field(ge=0, le=20)] = DEFAULTS.logprobs
    """Alternatives of each token whose probability is told."""
    stop: Annotated[int, Field(ge=0, le=1024)] = DEFAULTS.stop
    """Stop sequences."""
    tools: Annotated[int, Field(ge=0, le=4096)] = DEFAULTS.tools
    """Tools."""
    grammars: Annotated[int, Field(ge=0, le=64)] = DEFAULTS.grammars
    """Grammars (EBNF, Lark) that an answer has to keep to, in one request. An ambiguous grammar of a few bytes can hold
    the engine for seconds, for all clients: raise it only if every client is trusted. JSON schemas and regular
    expressions are no grammars."""
    messages: Annotated[int, Field(ge=1, le=65_536)] = DEFAULTS.messages
    """Messages of one request, those of several conversations together."""
    parts: Annotated[int, Field(ge=1, le=65_536)] = DEFAULTS.parts
    """Parts in the contents of all messages of one request."""
    objects: Annotated[int, Field(ge=64, le=1_048_576)] = DEFAULTS.objects
    """Objects and lists in the JSON of one request's body; it may have four times as many strings."""
    values: Annotated[int, Field(ge=1024, le=16_777_216)] = DEFAULTS.values
    """Values in the JSON of one request's body. A prompt of token ids has one for each token."""
    concurrency_per_key: Annotated[int, Field(ge=1, le=65_536)] = DEFAULTS.concurrency
    """Requests of one key that one replica answers at the same time. Without apiKeys only concurrencyPerReplica
    holds."""
    concurrency_per_replica: Annotated[int, Field(ge=1, le=65_536)] = DEFAULTS.concurrency_per_replica
    """Requests of all clients that one replica answers at the same time."""
    buffered_bytes: RequestBytes = "80Mi"
    """Size of the bodies of all requests that one replica answers at the same time. One key may have a third of it,
    and bodyBytes at least."""
    deadline_seconds: Annotated[int, Field(ge=1, le=rows.DRAIN_SECONDS.maximum)] | None = None
    """How long one request may take, from its first byte to the last of its answer. Absent: 600, or
    shutdown.drainSeconds where that is less."""

    rules = (
        Rule(
            "!has(self.defaultMaxTokens) || !has(self.maxTokens) || self.defaultMaxTokens <= self.maxTokens",
            "defaultMaxTokens may not be above maxTokens: a request that says nothing would be refused",
            ".defaultMaxTokens",
        ),
    )


class PrefixCache(StrEnum):
    """Whose requests may find prefixes of prompts in the engine's cache."""

    SHARED = "Shared"
    PER_KEY = "PerKey"


class Access(APIType):
    """Who may ask the engine, how often, and how much in one request."""

    api_keys: ApiKeys | None = None
    """The keys that open the service. Absent: it is open to all who reach it, and its admin routes to nobody."""
    rate_limits: RateLimits | None = None
    """How much a key may do within any 60 seconds. Absent: with apiKeys the limits of default and premium, counted by
    each replica; without apiKeys none."""
    caps: Caps = Caps()
    """What one request may ask."""
    media_domains: (
        Annotated[
            list[Annotated[str, item_bounds(rows.MEDIA_DOMAINS)]],
            list_bounds(rows.MEDIA_DOMAINS),
        ]
        | None
    ) = None
    """Domains from which the engine fetches images, audio and video that a request names by URL. Only public addresses
    are fetched from, and no subdomain is included. A change restarts the pods. Absent: those that the platform lists,
    and if it lists none, media are taken from `data:` URLs alone."""
    prefix_cache: PrefixCache = PrefixCache.SHARED
    """Whose requests may find prefixes of prompts in the engine's cache. `Shared`: those of all keys, so how long an
    answer takes tells a client whether others sent the beginning of its prompt; `PerKey`: those of the same key."""

    rules = (
        Rule(
            "!has(self.prefixCache) || self.prefixCache != 'PerKey' || has(self.apiKeys)",
            "prefixCache PerKey needs apiKeys: without keys all clients are one",
            ".prefixCache",
        ),
        Rule(
            "!has(self.rateLimits) || has(self.apiKeys)",
            "rateLimits need apiKeys: requests are counted by the key that they come with",
            ".rateLimits",
        ),
    )
