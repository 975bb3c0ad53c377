"""The ConfigMap with the access policy, which running engine pods reload.

Limits and caps in it can change without a restart. Settings that belong to a Secret mounted only by the pods of one
revision (whether keys are required, the login of the store) need a ConfigMap of their own: otherwise pods of the
previous revision would refuse all requests until they are replaced.
"""

from typing import Any

from llmservice_contract.container import ACCESS_FILE
from llmservice_contract.policy import Caps, FairSharing, OnFailure, Policy, PrefixCache, RateLimit, Share, Store
from llmservice_operator.api import access as api
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.resources import kinds, names, quantity
from llmservice_operator.resources.objects import Owner, canonical, metadata, sealed
from llmservice_operator.resources.platform import NOTHING_ALLOWED, Allowed

PREFIX_CACHES = {api.PrefixCache.SHARED: PrefixCache.SHARED, api.PrefixCache.PER_KEY: PrefixCache.PER_KEY}


def make_access(owner: Owner, spec: LLMServiceSpec, allowed: Allowed = NOTHING_ALLOWED) -> dict[str, Any]:
    """The ConfigMap for ``spec``."""
    return sealed(
        {
            **kinds.CONFIGMAP.header,
            "metadata": metadata(owner, name(owner.name, spec), names.ENGINE_COMPONENT),
            "data": {ACCESS_FILE: policy(owner, spec, allowed).to_json()},
        }
    )


def name(service: str, spec: LLMServiceSpec) -> str:
    """Name of the ConfigMap: the same for all specs whose pods mount the same Secrets."""
    secrets = [keys_secret(spec), store_secret(spec)]
    return names.access(service, canonical(secrets) if any(secrets) else "")


def policy(owner: Owner, spec: LLMServiceSpec, allowed: Allowed = NOTHING_ALLOWED) -> Policy:
    """The access policy of the service."""
    return Policy(
        require_keys=spec.access.api_keys is not None,
        tiers=_tiers(spec.access),
        store=_store(owner, spec.access, allowed),
        caps=_caps(spec),
        prefix_cache=PREFIX_CACHES[spec.access.prefix_cache],
        fair_sharing=_fair_sharing(spec.access.fair_sharing),
        allowed_origins=tuple(spec.access.allowed_origins or ()),
    )


def keys_secret(spec: LLMServiceSpec) -> str | None:
    """The Secret with the keys; None if no keys are required."""
    return spec.access.api_keys.secret_ref.name if spec.access.api_keys is not None else None


def store_secret(spec: LLMServiceSpec) -> str | None:
    """The Secret with the login of the store; None if the store needs none."""
    limits = spec.access.rate_limits
    if limits is None or limits.store is None or limits.store.credentials_ref is None:
        return None
    return limits.store.credentials_ref.name


def each_replica_counts(spec: LLMServiceSpec) -> bool:
    """Whether there are rate limits without a shared store."""
    return _tiers(spec.access) is not None and (
        spec.access.rate_limits is None or spec.access.rate_limits.store is None
    )


def _tiers(access: api.Access) -> dict[str, RateLimit] | None:
    limits = access.rate_limits or api.RateLimits()
    if access.api_keys is None or limits.mode is api.LimitMode.DISABLED:
        return None
    own = {tier.name: RateLimit(tier.requests_per_minute, tier.tokens_per_minute) for tier in limits.tiers or ()}
    return {
        "default": RateLimit(limits.default.requests_per_minute, limits.default.tokens_per_minute),
        "premium": RateLimit(limits.premium.requests_per_minute, limits.premium.tokens_per_minute),
        **own,
    }


def _fair_sharing(sharing: api.FairSharing | None) -> FairSharing | None:
    if sharing is None:
        return None
    return FairSharing({tier.name: Share(tier.weight, tier.max_queue_seconds) for tier in sharing.tiers or ()})


def _store(owner: Owner, access: api.Access, allowed: Allowed) -> Store | None:
    """The store. Keys in it have the namespace as prefix, so that a store user can be restricted to the namespace. No
    service has a slash in its name, so a budget never has the prefix of a service."""
    if access.rate_limits is None or access.rate_limits.store is None:
        return None
    store = access.rate_limits.store
    return Store(
        address=store.address,
        tls=bool(store.tls),
        prefix=f"{names.APPLICATION}:{owner.namespace}:{f'budget/{store.budget}' if store.budget else owner.name}:",
        trusted=store.address.lower() in (allowed.stores or ()),
        on_failure=OnFailure.OPEN if store.on_failure is api.StoreFailure.OPEN else OnFailure.CLOSED,
    )


def _caps(spec: LLMServiceSpec) -> Caps:
    caps = spec.access.caps
    deadline = min(api.DEFAULTS.deadline_seconds, spec.shutdown.drain_seconds)
    return Caps(
        body_bytes=quantity.whole_bytes(caps.body_bytes),
        header_bytes=quantity.whole_bytes(caps.header_bytes),
        prompts=caps.prompts,
        default_max_tokens=caps.default_max_tokens,
        max_tokens=caps.max_tokens,
        n=caps.choices,
        logprobs=caps.logprobs,
        stop=caps.stop,
        tools=caps.tools,
        schema_bytes=quantity.whole_bytes(caps.schema_bytes),
        grammars=caps.grammars,
        messages=caps.messages,
        parts=caps.parts,
        objects=caps.objects,
        values=caps.values,
        concurrency=caps.concurrency_per_key,
        concurrency_per_replica=caps.concurrency_per_replica,
        buffered_bytes=quantity.whole_bytes(caps.buffered_bytes),
        deadline_seconds=deadline if caps.deadline_seconds is None else caps.deadline_seconds,
    )
