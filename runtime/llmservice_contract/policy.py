"""The access policy: what a service allows its clients, in one file that is read anew while the engine runs.

The operator writes it into a ConfigMap from `spec.access`, the runtime reads it from ACCESS_POLICY. What a policy
leaves out has the default stated here. A file that can't be read changes nothing: the last good one holds.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from llmservice_contract.keys import TIER

MOST_CHOICES = 64
"""The most answers to one prompt that a policy can allow, and that vLLM gives."""


class BadPolicy(ValueError):
    """A policy that can't be read; its text names the field and what is wrong with it."""


class OnFailure(StrEnum):
    """What becomes of a request while the shared store does not answer."""

    OPEN = "open"
    """Each replica counts by itself, as without a store."""
    CLOSED = "closed"
    """It is refused with 503."""


class PrefixCache(StrEnum):
    """Whose requests may find prefixes of prompts in the engine's cache."""

    SHARED = "shared"
    """All keys find each other's: how long an answer takes tells whether others sent the same beginning."""
    PER_KEY = "perKey"
    """Each key finds its own."""


@dataclass(frozen=True, slots=True)
class RateLimit:
    """What one key of a tier may do within any 60 seconds. None: no limit."""

    requestsPerMinute: int | None = None  # noqa: N815 - these are names of the file
    tokensPerMinute: int | None = None  # noqa: N815
    """Tokens of prompts and answers together."""


DEFAULT_TIERS: Mapping[str, RateLimit] = types.MappingProxyType(
    {"default": RateLimit(60, 100_000), "premium": RateLimit(1_000, 1_000_000)}
)


@dataclass(frozen=True, slots=True)
class Store:
    """A Redis or Valkey in which the replicas of a service count together."""

    address: str
    """HOST:PORT"""
    tls: bool = False
    prefix: str = ""
    """What every key in it begins with."""
    onFailure: OnFailure = OnFailure.OPEN  # noqa: N815
    trusted: bool = False
    """Whether the platform lists the address. Otherwise the login is sent only if it names the address itself."""


@dataclass(frozen=True, slots=True)
class Caps:
    """What one request may ask, looked at before the engine sees it. None: as far as vLLM goes."""

    bodyBytes: int = 8 * 1024 * 1024  # noqa: N815
    headerBytes: int = 32 * 1024  # noqa: N815
    prompts: int = 1024
    """Prompts or inputs in one request."""
    defaultMaxTokens: int | None = None  # noqa: N815
    """Tokens of the answer where the request does not say."""
    maxTokens: int | None = None  # noqa: N815
    """Tokens of the answer at most."""
    n: int = 16
    """Answers to one prompt."""
    logprobs: int = 20
    """Of how many alternatives a token's probability is told."""
    stop: int = 16
    """Stop sequences."""
    tools: int = 128
    schemaBytes: int = 64 * 1024  # noqa: N815
    """JSON schemas, grammars and patterns that an answer has to keep to, tools included, as JSON."""
    grammars: int = 0
    """Grammars (EBNF, Lark) that an answer has to keep to. An ambiguous one of a few bytes can hold the engine for
    seconds, for all clients."""
    messages: int = 2048
    """Messages of a conversation."""
    parts: int = 4096
    """Parts of the contents of all messages."""
    objects: int = 16_384
    """Objects and lists in the JSON of a body; four times as many strings."""
    values: int = 150_000
    """Values in the JSON of a body, such as the ids of tokens."""
    concurrency: int = 512
    """Requests of one key that are answered at the same time by one replica."""
    concurrencyPerReplica: int = 2048  # noqa: N815
    """Requests of all clients that are answered at the same time by one replica."""
    bufferedBytes: int = 96 * 1024 * 1024  # noqa: N815
    """Bodies of all requests that are being answered by one replica; one key has half of it at most."""
    deadlineSeconds: int = 600  # noqa: N815
    """How long one request may take, from its first byte to the last of its answer."""


LEAST: Mapping[str, int] = types.MappingProxyType(
    {
        "bodyBytes": 1024,
        "headerBytes": 1024,
        "bufferedBytes": 1024,
        "objects": 64,
        "values": 1024,
        "schemaBytes": 0,
        "grammars": 0,
        "logprobs": 0,
        "stop": 0,
        "tools": 0,
    }
)
"""The least value of each cap; 1 where none is named."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything that a service allows its clients."""

    requireKeys: bool = False  # noqa: N815
    """Whether a request needs a key."""
    tiers: Mapping[str, RateLimit] | None = None
    """By name; None: no rate limits. A key of a tier that is not among them has the limits of `default`."""
    store: Store | None = None
    caps: Caps = field(default_factory=Caps)
    prefixCache: PrefixCache = PrefixCache.SHARED  # noqa: N815

    def limit_of(self, tier: str) -> RateLimit:
        """What a key of this tier may do."""
        tiers = self.tiers or {}
        return tiers.get(tier) or tiers.get("default") or RateLimit()

    def to_json(self) -> str:
        """The file's text: what is not a default, in a stable order."""
        return json.dumps(_plain(self), separators=(",", ":"), sort_keys=True)


def read_policy(text: str) -> Policy:
    """The policy in a file's text. Raises BadPolicy."""
    try:
        data: Any = json.loads(text)
    except (ValueError, RecursionError):
        raise BadPolicy("the access policy is not JSON") from None
    return typing.cast(Policy, _read(Policy, data, ""))


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        given = {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
        return {
            name: _plain(part)
            for (name, part), each in zip(given.items(), dataclasses.fields(value), strict=True)
            if part is not None and part != each.default and not (each.name == "caps" and part == Caps())
        }
    if isinstance(value, Mapping):
        return {name: _plain(part) for name, part in value.items()}
    return value


def _read(kind: Any, data: Any, path: str) -> Any:
    if not isinstance(data, dict):
        raise BadPolicy(f"{path or 'the access policy'} is no JSON object")
    hints = typing.get_type_hints(kind)
    for name in data:
        if name not in hints:
            raise BadPolicy(f"{_below(path, name)} is no field of an access policy")
    values = {name: _value(hints[name], value, _below(path, name)) for name, value in data.items()}
    if missing := [name for name in _required(kind) if name not in values]:
        raise BadPolicy(f"{path} lacks {', '.join(missing)}")
    return kind(**values)


def _required(kind: Any) -> list[str]:
    absent = dataclasses.MISSING
    return [each.name for each in dataclasses.fields(kind) if each.default is absent and each.default_factory is absent]


def _value(hint: Any, value: Any, path: str) -> Any:
    allowed = [each for each in typing.get_args(hint) if each is not type(None)] if _is_optional(hint) else [hint]
    if value is None and _is_optional(hint):
        return None
    wanted = allowed[0]
    if typing.get_origin(wanted) is not None:
        return _tiers(value, path)
    if dataclasses.is_dataclass(wanted):
        return _read(wanted, value, path)
    if isinstance(wanted, type) and issubclass(wanted, StrEnum):
        try:
            return wanted(value)
        except ValueError:
            raise BadPolicy(f"{path} is neither {' nor '.join(wanted)}") from None
    if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
        raise BadPolicy(f"{path} is no {wanted.__name__}")
    least = LEAST.get(path.rpartition(".")[2], 1)
    if wanted is int and value < least:
        raise BadPolicy(f"{path} is {value}; the least is {least}")
    return value


def _is_optional(hint: Any) -> bool:
    return type(None) in typing.get_args(hint)


def _tiers(value: Any, path: str) -> Mapping[str, RateLimit]:
    if not isinstance(value, dict):
        raise BadPolicy(f"{path} is no JSON object")
    for name in value:
        if not TIER.fullmatch(name):
            raise BadPolicy(f"{path}: {name[:80]!r} is no name of a tier")
    return {name: _read(RateLimit, limit, _below(path, name)) for name, limit in value.items()}


def _below(path: str, name: str) -> str:
    return f"{path}.{name[:80]}" if path else name[:80]
