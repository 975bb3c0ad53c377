"""The access policy: what of a spec reaches the engine's pods while they run, and what restarts them."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.observed import a_scene, leader
from builders.services import ServiceBuilder, a_service
from llmservice_contract.policy import (
    DEFAULT_TIERS,
    Caps,
    FairSharing,
    OnFailure,
    Policy,
    PrefixCache,
    RateLimit,
    Share,
    read_policy,
)
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.resources.access import name, policy
from llmservice_operator.resources.objects import Owner

OWNER = Owner("chat", "team-a", "uid")
STORE = {"address": "redis.store:6379"}


def spec(service: ServiceBuilder) -> LLMServiceSpec:
    return LLMServiceSpec.model_validate(service.build()["spec"])


def policy_of(service: ServiceBuilder) -> Policy:
    """The policy as the runtime reads it."""
    return read_policy(policy(OWNER, spec(service)).to_json())


def template(service: ServiceBuilder) -> Any:
    return leader(a_scene(service).plan())["spec"]["template"]


def caps(**fields: Any) -> ServiceBuilder:
    return a_service().with_spec(access={"caps": fields})


def test_a_service_that_says_nothing_is_open_with_the_default_caps() -> None:
    assert policy_of(a_service()) == Policy(require_keys=False, tiers=None, store=None, caps=Caps())


def test_keys_alone_bring_the_default_limits() -> None:
    found = policy_of(a_service().with_keys())
    assert found.require_keys
    assert found.tiers == dict(DEFAULT_TIERS)


def test_limits_that_are_disabled_are_none_and_keys_are_still_needed() -> None:
    found = policy_of(a_service().with_keys(rateLimits={"mode": "Disabled", "tiers": [{"name": "gold"}]}))
    assert (found.require_keys, found.tiers) == (True, None)


def test_a_tier_keeps_what_the_spec_leaves_out() -> None:
    limits = {"default": {"requestsPerMinute": 5}, "tiers": [{"name": "gold", "tokensPerMinute": 7}]}
    found = policy_of(a_service().with_keys(rateLimits=limits))
    assert found.limit_of("default") == RateLimit(5, 100_000)
    assert found.limit_of("gold") == RateLimit(None, 7)
    assert found.limit_of("premium") == RateLimit(1_000, 1_000_000)


@pytest.mark.parametrize(("failure", "reported"), [({}, OnFailure.OPEN), ({"onFailure": "Closed"}, OnFailure.CLOSED)])
def test_a_store_is_told_and_what_is_written_there_names_the_namespace_first(failure: Any, reported: OnFailure) -> None:
    store = policy_of(a_service().with_keys(rateLimits={"store": {**STORE, **failure}})).store
    assert store is not None
    assert (store.address, store.tls, store.on_failure) == ("redis.store:6379", False, reported)
    assert store.prefix.startswith("llmservice:team-a:")


def test_two_services_of_a_namespace_do_not_share_their_counts() -> None:
    limited = spec(a_service().with_keys(rateLimits={"store": STORE}))
    one, other = (policy(Owner(service, "team-a", "uid"), limited).store for service in ("chat", "chat-2"))
    assert one is not None and other is not None
    assert not one.prefix.startswith(other.prefix) and not other.prefix.startswith(one.prefix)


def test_services_with_a_budget_count_together_within_their_namespace_and_their_store() -> None:
    def prefix(namespace: str, service: str, **store: str) -> str:
        limited = spec(a_service().with_keys(rateLimits={"store": {**STORE, **store}}))
        found = policy(Owner(service, namespace, "uid"), limited).store
        assert found is not None
        return found.prefix

    chat = prefix("team-a", "chat", budget="common")
    assert chat == prefix("team-a", "code", budget="common")
    others = [
        prefix("team-b", "chat", budget="common"),
        prefix("team-a", "chat", budget="other"),
        prefix("team-a", "chat"),
        prefix("team-a", "common"),
        prefix("team-a", "budget"),
    ]
    assert chat.startswith("llmservice:team-a:")
    assert not any(chat.startswith(other) or other.startswith(chat) for other in others)
    assert template(a_service().with_keys(rateLimits={"store": STORE})) == template(
        a_service().with_keys(rateLimits={"store": {**STORE, "budget": "common"}})
    )


CAPS = {
    "bodyBytes": ("1Mi", 1_048_576),
    "headerBytes": (2048, 2048),
    "schemaBytes": ("2k", 2000),
    "prompts": (2, 2),
    "defaultMaxTokens": (3, 3),
    "maxTokens": (4, 4),
    "choices": (5, 5),
    "logprobs": (0, 0),
    "stop": (0, 0),
    "tools": (8, 8),
    "concurrencyPerKey": (9, 9),
    "deadlineSeconds": (10, 10),
    "messages": (11, 11),
    "grammars": (3, 3),
    "parts": (12, 12),
    "objects": (100, 100),
    "values": (2000, 2000),
    "concurrencyPerReplica": (15, 15),
    "bufferedBytes": ("1Gi", 1_073_741_824),
}


@pytest.mark.parametrize("cap", CAPS)
def test_each_cap_reaches_the_engine(cap: str) -> None:
    given_, reported = CAPS[cap]
    found = policy_of(caps(**{cap: given_})).caps
    in_file = {"concurrencyPerKey": "concurrency", "choices": "n"}.get(cap, cap)
    (field,) = (each.name for each in msgspec.structs.fields(Caps) if each.encode_name == in_file)
    assert getattr(found, field) == reported
    assert found == Caps(**{field: reported})


def test_a_request_may_not_take_longer_than_a_stop_waits_for_it() -> None:
    assert policy_of(a_service().with_spec(shutdown={"drainSeconds": 30})).caps.deadline_seconds == 30
    assert policy_of(a_service().with_spec(shutdown={"drainSeconds": 3600})).caps.deadline_seconds == 600


def test_whose_prefixes_are_found_reaches_the_engine() -> None:
    assert policy_of(a_service().with_keys()).prefix_cache is PrefixCache.SHARED
    assert policy_of(a_service().with_keys(prefix_cache="PerKey")).prefix_cache is PrefixCache.PER_KEY


def test_the_shares_of_tiers_reach_the_engine() -> None:
    assert policy_of(a_service().with_keys()).fair_sharing is None
    assert "fairSharing" not in policy_of(a_service().with_keys()).to_json(), "earlier engines read the file"
    assert read_policy(policy_of(a_service().with_keys(fairSharing={})).to_json()).fair_sharing == FairSharing()
    tiers = [{"name": "premium", "weight": 4, "maxQueueSeconds": 30}, {"name": "default"}]
    sharing = read_policy(policy_of(a_service().with_keys(fairSharing={"tiers": tiers})).to_json()).fair_sharing
    assert sharing is not None
    assert [sharing.share_of(tier) for tier in ("premium", "default", "gold")] == [Share(4, 30), Share(), Share()]
    assert FairSharing({"default": Share(3)}).share_of("gold") == Share(3)


def test_which_web_pages_may_use_it_reaches_the_engine() -> None:
    assert policy_of(a_service().with_keys()).allowed_origins == ()
    assert "allowedOrigins" not in policy_of(a_service().with_keys()).to_json(), "earlier engines read the file"
    service = a_service().with_keys(allowedOrigins=["https://chat.example.com", "http://localhost:3000"])
    read = read_policy(policy_of(service).to_json())
    assert read.allowed_origins == ("https://chat.example.com", "http://localhost:3000")


CHANGES: dict[str, dict[str, Any]] = {
    "caps": {"caps": {"bodyBytes": "1Mi", "deadlineSeconds": 5, "concurrencyPerKey": 1}},
    "limits": {"rateLimits": {"default": {"requestsPerMinute": 1}}},
    "a tier": {"rateLimits": {"tiers": [{"name": "gold"}]}},
    "limits off": {"rateLimits": {"mode": "Disabled"}},
    "prefix caches": {"prefixCache": "PerKey"},
    "origins": {"allowedOrigins": ["https://chat.example.com"]},
    "a store": {"rateLimits": {"store": STORE}},
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_limits_or_caps_restarts_no_pod(change: str) -> None:
    before, after = a_service().with_keys(), a_service().with_keys(**CHANGES[change])
    assert policy_of(before) != policy_of(after)
    assert template(before) == template(after)
    assert name("chat", spec(before)) == name("chat", spec(after))


def test_sharing_restarts_pods_and_a_change_of_shares_does_not() -> None:
    alone, shared = a_service().with_keys(), a_service().with_keys(fairSharing={})
    weighted = a_service().with_keys(fairSharing={"tiers": [{"name": "gold", "weight": 2}]})
    assert template(alone) != template(shared) == template(weighted)
    assert policy_of(shared) != policy_of(weighted)


def test_caps_of_a_service_that_had_none_restart_no_pod() -> None:
    assert template(a_service()) == template(caps(maxTokens=7))


def test_pods_that_mount_other_secrets_read_another_policy() -> None:
    login = {"store": {**STORE, "credentialsRef": {"name": "login"}}}
    services = [
        a_service(),
        a_service().with_keys("one"),
        a_service().with_keys("two"),
        a_service().with_keys("one", rateLimits=login),
    ]
    assert len({name("chat", spec(service)) for service in services}) == len(services)


def test_a_secret_that_is_missing_keeps_no_pod_from_starting() -> None:
    login = {"store": {**STORE, "credentialsRef": {"name": "login"}}}
    volumes = template(a_service().with_keys("keys", rateLimits=login))["spec"]["volumes"]
    secrets = [volume["secret"] for volume in volumes if "secret" in volume]
    assert secrets == [{"secretName": "keys", "optional": True}, {"secretName": "login", "optional": True}]


def test_what_changes_is_mounted_whole() -> None:
    """The kubelet never brings a change to a file that is mounted by its subPath."""
    (container,) = template(a_service().with_keys())["spec"]["containers"]
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    data = a_scene(a_service().with_keys()).plan().objects[1]["data"]
    assert data["API_KEYS"] in mounts
    assert data["ACCESS_POLICY"].rpartition("/")[0] in mounts
    assert not any("subPath" in mount for mount in mounts.values())


counts = st.integers(1, 10**9)
tiers = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.from_regex(r"[a-z][a-z0-9]{0,10}", fullmatch=True).filter(
                lambda n: n not in ("default", "premium")
            )
        },
        optional={"requestsPerMinute": counts, "tokensPerMinute": counts},
    ),
    min_size=1,
    max_size=32,
    unique_by=lambda tier: tier["name"],
)


@given(tiers)
def test_every_tier_has_the_limits_that_the_spec_gives_it(own: list[dict[str, Any]]) -> None:
    found = policy_of(a_service().with_keys(rateLimits={"tiers": own}))
    for tier in own:
        limit = found.limit_of(tier["name"])
        assert limit == RateLimit(tier.get("requestsPerMinute"), tier.get("tokensPerMinute"))
