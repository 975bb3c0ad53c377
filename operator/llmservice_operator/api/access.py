"""Who may send requests, how many, and how large one request may be.

Running pods reload it: a change of limits or caps restarts no pod. Only the names of Secrets and the media domains are
part of the pod template.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from llmservice_contract import engine_settings as rows
from llmservice_contract.keys import TIER
from llmservice_contract.policy import LONGEST_ORIGIN, MOST_CHOICES, MOST_ORIGINS, MOST_WEIGHT, ORIGIN
from llmservice_contract.policy import Caps as Defaults
from llmservice_operator.api.base import APIType, RequestBytes, Rule, item_bounds, list_bounds
from llmservice_operator.api.model import SecretReference

DEFAULTS = Defaults()

Count = Annotated[int, Field(ge=1, le=1_000_000_000)]
"""Requests or tokens within a minute."""


class ApiKeys(APIType):
    """The API keys of the service."""

    secret_ref: SecretReference
    """Secret with the keys' hashes, which `kubectl llm keys` writes. Without it, or without a key in it, every request
    is refused."""


class DefaultLimits(APIType):
    """Limits of each key of tier default, and of a tier that is not defined, within any 60 seconds."""

    requests_per_minute: Count = 60
    """Requests; one with several prompts or answers counts as that many."""
    tokens_per_minute: Count = 100_000
    """Tokens of prompts and answers together."""


class PremiumLimits(APIType):
    """Limits of each key of tier premium within any 60 seconds."""

    requests_per_minute: Count = 1_000
    """Requests; one with several prompts or answers counts as that many."""
    tokens_per_minute: Count = 1_000_000
    """Tokens of prompts and answers together."""


class Tier(APIType):
    """A custom tier, and the limits of each of its keys within any 60 seconds."""

    name: Annotated[str, Field(pattern=rf"^{TIER.pattern}$", max_length=63)]
    """Name of the tier, as the entry of a key has it."""
    requests_per_minute: Count | None = None
    """Requests; one with several prompts or answers counts as that many. Absent: no limit."""
    tokens_per_minute: Count | None = None
    """Tokens of prompts and answers together. Absent: no limit."""

    rules = (
        Rule(
            "!(self.name in ['default', 'premium'])",
            "tiers must not contain default or premium, which have fields of their own: choose another name",
            ".name",
        ),
    )


class StoreFailure(StrEnum):
    """What happens to a request while the store does not answer."""

    OPEN = "Open"
    CLOSED = "Closed"


class Store(APIType):
    """A Redis or Valkey in which all replicas share their counts."""

    address: Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?:[1-9][0-9]{0,4}$", max_length=259)]
    """Address of the store, as HOST:PORT."""
    tls: Annotated[bool, Field(strict=True)] | None = None
    """Whether the connection uses TLS and verifies the store's certificate. Absent: false."""
    credentials_ref: SecretReference | None = None
    """Secret with the login, in the keys `username` and `password`. Its key `address` must hold this store's address,
    unless the platform lists it: the login is sent to no other address. Absent: no login."""
    budget: Annotated[str, Field(pattern=rf"^{TIER.pattern}$", max_length=63)] | None = None
    """Name of a budget: the services of this namespace that name the same budget in the same store count each key
    together, so that it has its limits at all of them together. Absent: each service counts by itself."""
    on_failure: StoreFailure = StoreFailure.OPEN
    """What happens to requests while the store does not answer. `Open`: each replica counts by itself; `Closed`:
    requests are refused with 503."""


class LimitMode(StrEnum):
    """Whether rate limits are enforced."""

    ENFORCE = "Enforce"
    DISABLED = "Disabled"


class RateLimits(APIType):
    """Limits of each key within any 60 seconds, by its tier."""

    mode: LimitMode = LimitMode.ENFORCE
    """Whether the limits are enforced (`Enforce`) or not (`Disabled`)."""
    default: DefaultLimits = DefaultLimits()
    """Limits of each key of tier default, and of a tier that is not defined."""
    premium: PremiumLimits = PremiumLimits()
    """Limits of each key of tier premium."""
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
    """Custom tiers. Absent: none."""
    store: Store | None = None
    """Store in which all replicas share their counts. Absent: each replica counts by itself, so that a key has its
    limits at each replica."""


class Caps(APIType):
    """Limits of one request. They are checked before the engine receives the request; a larger request is refused."""

    body_bytes: RequestBytes = "8Mi"
    """Size of the body."""
    header_bytes: RequestBytes = "32Ki"
    """Size of all headers together."""
    schema_bytes: RequestBytes = "128Ki"
    """Size of the JSON schemas, grammars and patterns that an answer must match, including those of tools.
    Descriptions of tools and of their parameters do not count, up to eight times this size."""
    prompts: Annotated[int, Field(ge=1, le=1024)] = DEFAULTS.prompts
    """Prompts or inputs in one request."""
    default_max_tokens: Annotated[int, Field(ge=1, le=rows.MAX_CONTEXT_LENGTH.maximum)] | None = None
    """Tokens of an answer if the request does not state a number. Absent: vLLM's default, as many as the context
    leaves, of which 1024 are reserved from the rate limit."""
    max_tokens: Annotated[int, Field(ge=1, le=rows.MAX_CONTEXT_LENGTH.maximum)] | None = None
    """Tokens of an answer that a request may ask for. Absent: as many as the context leaves."""
    choices: Annotated[int, Field(ge=1, le=MOST_CHOICES)] = DEFAULTS.n
    """Answers to one prompt: a request's `n` and `best_of`."""
    logprobs: Annotated[int, Field(ge=0, le=20)] = DEFAULTS.logprobs
    """Number of alternative tokens for which log probabilities are returned."""
    stop: Annotated[int, Field(ge=0, le=1024)] = DEFAULTS.stop
    """Stop sequences."""
    tools: Annotated[int, Field(ge=0, le=4096)] = DEFAULTS.tools
    """Tools."""
    grammars: Annotated[int, Field(ge=0, le=64)] = DEFAULTS.grammars
    """Grammars (EBNF, Lark) that an answer must match, in one request. An ambiguous grammar of a few bytes can block
    the engine for seconds, for all clients: raise this only if every client is trusted. JSON schemas and regular
    expressions do not count as grammars."""
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
    applies."""
    concurrency_per_replica: Annotated[int, Field(ge=1, le=65_536)] = DEFAULTS.concurrency_per_replica
    """Requests of all clients that one replica answers at the same time."""
    buffered_bytes: RequestBytes = "80Mi"
    """Size of the bodies of all requests that one replica answers at the same time. One key may have a third of it,
    and bodyBytes at least."""
    deadline_seconds: Annotated[int, Field(ge=1, le=rows.DRAIN_SECONDS.maximum)] | None = None
    """How long one request may take, from its first byte to the last of its answer. Absent: 600, or
    shutdown.drainSeconds if that is less."""

    rules = (
        Rule(
            "!has(self.defaultMaxTokens) || !has(self.maxTokens) || self.defaultMaxTokens <= self.maxTokens",
            "defaultMaxTokens must not be above maxTokens: a request without max_tokens would be refused",
            ".defaultMaxTokens",
        ),
    )


class PrefixCache(StrEnum):
    """Which requests share the engine's cache of prompt prefixes."""

    SHARED = "Shared"
    PER_KEY = "PerKey"


class TierShare(APIType):
    """The share that each key of a tier has in the engine."""

    name: Annotated[str, Field(pattern=rf"^{TIER.pattern}$", max_length=63)]
    """Name of the tier, as the entry of a key has it. The share of `default` is also that of tiers without a share."""
    weight: Annotated[int, Field(ge=1, le=MOST_WEIGHT)] = 1
    """A key with weight 2 gets twice the tokens of a key with weight 1 while both have waiting requests."""
    max_queue_seconds: Annotated[int, Field(ge=1, le=rows.DRAIN_SECONDS.maximum)] | None = None
    """How long a request may be without its first token, from its first byte. Then it is refused with 503. Absent:
    until its deadline."""


class FairSharing(APIType):
    """How keys share the engine while requests wait there: by turns, fair by tokens."""

    tiers: (
        Annotated[
            list[TierShare],
            Field(
                min_length=1,
                max_length=34,
                json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
            ),
        ]
        | None
    ) = None
    """Shares of the tiers. Absent: all keys have the same share, and requests wait until their deadline."""


class Access(APIType):
    """Who may send requests, how many, and how large one request may be."""

    api_keys: ApiKeys | None = None
    """The API keys of the service. Absent: every client that can connect may use it, and the admin routes are
    closed."""
    rate_limits: RateLimits | None = None
    """Limits of each key within any 60 seconds. Absent: with apiKeys the limits of default and premium, counted by
    each replica; without apiKeys none."""
    caps: Caps = Caps()
    """Limits of one request."""
    media_domains: (
        Annotated[
            list[Annotated[str, item_bounds(rows.MEDIA_DOMAINS)]],
            list_bounds(rows.MEDIA_DOMAINS),
        ]
        | None
    ) = None
    """Domains from which the engine fetches images, audio and video that a request names by URL. Only public addresses
    are allowed, and subdomains are not included. A change restarts the pods. Absent: those that the platform lists,
    and if it lists none, media are accepted only as `data:` URLs."""
    prefix_cache: PrefixCache = PrefixCache.SHARED
    """Which requests share the engine's cache of prompt prefixes. `Shared`: those of all keys, so that a client can
    measure by the latency whether another client sent the same prefix; `PerKey`: only those of the same key."""
    fair_sharing: FairSharing | None = None
    """Waiting requests of all keys are taken by turns, fair by tokens, so that a burst of one key does not delay those
    of others. Adding or removing it restarts the pods; changes of its fields do not. Absent: requests are taken in
    the order of their arrival."""
    allowed_origins: (
        Annotated[
            list[Annotated[str, Field(pattern=rf"^({ORIGIN.pattern})$", min_length=1, max_length=LONGEST_ORIGIN)]],
            Field(min_length=1, max_length=MOST_ORIGINS, json_schema_extra={"x-kubernetes-list-type": "set"}),
        ]
        | None
    ) = None
    """Origins of the web pages that may use the service from a browser (CORS), such as `https://chat.example.com`; `*`
    allows all. A page needs a key like every other client. Absent: none."""

    rules = (
        Rule(
            "!has(self.prefixCache) || self.prefixCache != 'PerKey' || has(self.apiKeys)",
            "prefixCache PerKey needs apiKeys: without keys clients cannot be distinguished",
            ".prefixCache",
        ),
        Rule(
            "!has(self.fairSharing) || has(self.apiKeys)",
            "fairSharing needs apiKeys: without keys clients cannot be distinguished",
            ".fairSharing",
        ),
        Rule(
            "!has(self.rateLimits) || has(self.apiKeys)",
            "rateLimits need apiKeys: requests are counted by their key",
            ".rateLimits",
        ),
    )
