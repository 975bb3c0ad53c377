"""The metrics API: who gets a number, who doesn't, and in which words."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from support.fake_api import refusal
from support.metrics_api import ROOT, Authority, metric_path
from support.metrics_api_fixtures import AUTOSCALER, FRONT_PROXY, READER, Served, authentication_config, serving

CHAT = metric_path("team-a", "llmservice%3Dchat")
BEARER = {"Authorization": "Bearer readers-token"}


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with serving() as made:
        yield made


async def test_the_front_proxys_user_reads_what_the_hpa_asks_for(served: Served) -> None:
    reply = await served.caller.get(CHAT, **served.proxied(READER))
    assert reply.status == 200
    assert reply.json["kind"] == "ExternalMetricValueList"
    assert reply.json["items"] == [
        {
            "metricName": "llmservice_load_percent",
            "metricLabels": {"llmservice": "chat"},
            "timestamp": "2026-01-02T03:04:05Z",
            "window": 60,
            "value": "187500m",
        }
    ]


async def test_all_that_the_front_proxy_says_of_a_user_reaches_the_authorizer(served: Served) -> None:
    asked = served.proxied(READER, "team", "other")
    asked["headers"] += [
        ("X-Remote-Uid", "u1"),
        ("x-remote-extra-Acme%2fscope", "a"),
        ("X-Remote-Extra-Acme%2Fscope", "b"),
    ]
    assert (await served.caller.get(CHAT, **asked)).status == 200
    everywhere, spec = served.api.asked("SubjectAccessReview")
    assert (everywhere["resourceAttributes"]["namespace"], spec["resourceAttributes"]["namespace"]) == ("", "team-a")
    assert spec["user"] == READER
    assert spec["uid"] == "u1"
    assert spec["groups"] == ["team", "other", "system:authenticated"]
    assert spec["extra"] == {"acme/scope": ["a", "b"]}
    assert spec["resourceAttributes"]["resource"] == "llmservice_load_percent"


async def test_a_bearer_token_is_asked_about_once(served: Served) -> None:
    for _ in range(3):
        assert (await served.caller.get(CHAT, BEARER)).status == 200
    assert len(served.api.asked("TokenReview")) == 1
    assert len(served.api.asked("SubjectAccessReview")) == 2, "everywhere, and there"


async def test_many_at_once_ask_the_api_server_once(served: Served) -> None:
    asked = served.proxied(READER)
    replies = await asyncio.gather(*(served.caller.get(CHAT, **asked) for _ in range(10)))
    assert {each.status for each in replies} == {200}
    assert len(served.api.asked("SubjectAccessReview")) == 2


async def test_who_may_read_everywhere_is_asked_about_once(served: Served) -> None:
    asked = served.proxied(AUTOSCALER)
    for namespace in ("team-a", "team-b", "team-c"):
        assert (await served.caller.get(metric_path(namespace), **asked)).status == 200
    assert len(served.api.asked("SubjectAccessReview")) == 1


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({}, "no credentials"),
        ({"Authorization": "Bearer wrong"}, "the bearer token is not valid"),
        ({"Authorization": "Bearer refused-token"}, "the bearer token is not valid"),
        ({"Authorization": "Bearer unsure-token"}, "the bearer token is not valid"),
        ({"Authorization": "Bearer broken-token"}, "the bearer token is not valid"),
        ({"Authorization": "Bearer nobodys-token"}, "the bearer token is not valid"),
        ({"Authorization": "Bearer "}, "no credentials"),
        ({"Authorization": "Basic cmVhZGVyOnBhc3N3b3Jk"}, "no credentials"),
        ({"Authorization": "Bearer readers-token x"}, "no credentials"),
        ([("Authorization", "Bearer wrong"), ("Authorization", "Bearer readers-token")], "no credentials"),
        ({"X-Remote-User": READER}, "no credentials"),
        ({"X-Remote-User": "admin", "X-Remote-Group": "system:masters"}, "no credentials"),
        ({"X_Remote_User": READER, "Impersonate-User": READER}, "no credentials"),
    ],
)
async def test_without_credentials_nobody_is_let_in(served: Served, headers: Any, words: str) -> None:
    for path in (CHAT, ROOT, "/apis", "/openapi/v2", "/nonsense"):
        reply = await served.caller.get(path, headers)
        assert reply.status == 401
        assert words in reply.message
        assert reply.json["reason"] == "Unauthorized"
    assert served.api.asked("SubjectAccessReview") == []


@pytest.mark.parametrize(
    ("certificate", "status"),
    [
        ("self-signed", 0),
        ("another authority of the same name", 0),
        ("expired", 0),
        ("for servers alone", 0),
        ("another name", 401),
        ("the name in the organization", 401),
    ],
)
async def test_headers_count_with_the_front_proxys_certificate_alone(
    served: Served, certificate: str, status: int
) -> None:
    pair = {
        "self-signed": Authority(FRONT_PROXY).client(FRONT_PROXY),
        "another authority of the same name": Authority("front proxy").client(FRONT_PROXY),
        "expired": served.authority.client(FRONT_PROXY, hours=-1),
        "for servers alone": served.authority.client(FRONT_PROXY, server_only=True),
        "another name": served.authority.client("other-user"),
        "the name in the organization": served.authority.client("other-user", organization=FRONT_PROXY),
    }[certificate]
    reply = await served.caller.get(CHAT, {"X-Remote-User": READER}, certificate=pair)
    assert reply.status == status
    assert served.api.reviews == []


async def test_any_name_will_do_where_the_api_server_limits_none(served: Served) -> None:
    served.api.put(authentication_config(served.authority.pem))
    await served.metrics.ensure()
    reply = await served.caller.get(CHAT, {"X-Remote-User": READER}, certificate=served.authority.client("any"))
    assert reply.status == 200


async def test_a_certificate_that_expires_ends_with_its_connection_still_open(served: Served) -> None:
    connection = await served.caller.connect(served.authority.client(FRONT_PROXY))
    async with connection:
        assert (await connection.get(CHAT, {"X-Remote-User": READER})).status == 200
        served.metrics._authentication._now = lambda: 4e9
        assert (await connection.get(CHAT, {"X-Remote-User": READER})).status == 401


@pytest.mark.parametrize(
    ("user", "path", "words"),
    [
        ("unknown", CHAT, 'User "unknown" cannot list resource "llmservice_load_percent"'),
        (READER, metric_path("team-b"), 'in the namespace "team-b"'),
        ("system:anonymous", CHAT, 'User "system:anonymous" cannot list'),
        ("system:anonymous", ROOT, f'User "system:anonymous" cannot get path "{ROOT}"'),
    ],
)
async def test_without_permission_the_refusal_names_it(served: Served, user: str, path: str, words: str) -> None:
    groups = ["system:unauthenticated"] if user == "system:anonymous" else []
    reply = await served.caller.get(path, **served.proxied(user, *groups))
    assert reply.status == 403
    assert reply.json["reason"] == "Forbidden"
    assert words in reply.message


@pytest.mark.parametrize("kind", ["TokenReview", "SubjectAccessReview"])
async def test_where_the_api_server_cannot_be_asked_nothing_is_answered(served: Served, kind: str) -> None:
    served.api.fail_once(lambda call: refusal(500, "etcd is slow") if call == f"create {kind}" else None)
    reply = await served.caller.get(CHAT, BEARER)
    assert reply.status == 503
    assert "etcd is slow" in reply.message
    assert (await served.caller.get(CHAT, BEARER)).status == 200, "an error is not remembered"


@pytest.mark.parametrize(
    "path",
    [
        "//apis/external.metrics.k8s.io/v1beta1/namespaces/team-a/llmservice_load_percent",
        "/apis/external.metrics.k8s.io/v1beta1/namespaces/team-a//llmservice_load_percent",
        "/apis/external.metrics.k8s.io/v1beta1/namespaces/team-a/../team-b/llmservice_load_percent",
        "/apis/external.metrics.k8s.io/v1beta1/namespaces/%74eam-a/llmservice_load_percent",
        "/apis/external.metrics.k8s.io/v1beta1/namespaces/team-a%2fllmservice_load_percent",
        "/apis/external.metrics.k8s.io/v1beta1/namespaces/team-b%2f..%2fteam-a/llmservice_load_percent",
        "/healthz/%2e%2e/apis/external.metrics.k8s.io/v1beta1/namespaces/team-a/llmservice_load_percent",
        "/healthz/../apis/external.metrics.k8s.io/v1beta1/namespaces/team-a/llmservice_load_percent",
        "/apis/external.metrics.k8s.io/v1beta1/namespaces/team-a/llmservice_load_percent/",
        "/apis/external.metrics.k8s.io/v1beta1/namespaces/team-a/llmservice_load_percent/chat",
        "/apis/external.metrics.k8s.io/v1beta1/namespaces/team-a",
        "/apis/external.metrics.k8s.io/v1beta1/namespaces/*/llmservice_load_percent",
        "/apis/external.metrics.k8s.io/v1beta1/llmservice_load_percent",
        "/apis/external.metrics.k8s.io/v1beta1;x/namespaces/team-a/llmservice_load_percent",
        "/APIS/external.metrics.k8s.io/v1beta1/namespaces/team-a/llmservice_load_percent",
        "https://test/apis/external.metrics.k8s.io/v1beta1/namespaces/team-a/llmservice_load_percent",
        "/metrics",
        "/debug/pprof",
        "/",
    ],
)
async def test_paths_are_known_to_the_letter_or_not_found(served: Served, path: str) -> None:
    """To the one who may read, they are not found; to all others, they are no way round."""
    assert (await served.caller.get(path, **served.proxied(READER))).status == 404
    assert (await served.caller.get(path)).status == 401
    assert served.api.asked("SubjectAccessReview") == []


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE"])
async def test_reading_is_all_that_can_be_done(served: Served, method: str) -> None:
    assert (await served.caller.get(CHAT, **served.proxied(READER), method=method)).status == 405
    assert (await served.caller.get(CHAT, method=method)).status == 401
    assert (await served.caller.get("/healthz", method=method)).status == 401


async def test_what_is_not_known_is_an_error_that_says_why(served: Served) -> None:
    served.numbers.loads["team-a", "chat"] = "Prometheus at http://prometheus does not answer: connection refused"
    reply = await served.caller.get(CHAT, **served.proxied(READER))
    assert reply.status == 503
    assert reply.json["reason"] == "ServiceUnavailable"
    assert reply.message == "Prometheus at http://prometheus does not answer: connection refused"


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        (metric_path("team-a", metric="http_requests"), 404, "no external metric http_requests"),
        (metric_path("team-a", "a%20in%20b"), 400, "'a in b' is invalid"),
        (metric_path("team-a", "a=b&labelSelector=c"), 400, "more than one labelSelector"),
        (metric_path("team-a") + "?watch=true", 405, "can't be watched"),
    ],
)
async def test_questions_that_make_no_sense(served: Served, path: str, status: int, words: str) -> None:
    reply = await served.caller.get(path, **served.proxied(READER))
    assert reply.status == status
    assert words in reply.message


async def test_a_selector_that_selects_nothing_gets_an_empty_list(served: Served) -> None:
    reply = await served.caller.get(metric_path("team-a", "llmservice%3Dother"), **served.proxied(READER))
    assert reply.json["items"] == []


async def test_discovery_names_the_metrics(served: Served) -> None:
    # As the API server's aggregation layer asks: a user without groups.
    asked = served.proxied("system:aggregator")
    resources = await served.caller.get(ROOT, **asked)
    (metric,) = resources.json["resources"]
    assert metric["name"] == "llmservice_load_percent"
    assert metric["namespaced"] is True
    groups = await served.caller.get("/apis", **asked)
    assert [each["name"] for each in groups.json["groups"]] == ["external.metrics.k8s.io"]
    group = await served.caller.get("/apis/external.metrics.k8s.io", **asked)
    assert group.json["preferredVersion"]["version"] == "v1beta1"
    assert (await served.caller.get("/openapi/v2", **asked)).json["swagger"] == "2.0"
    assert (await served.caller.get("/openapi/v3", **asked)).json == {"paths": {}}


async def test_health_is_open(served: Served) -> None:
    for path in ("/healthz", "/livez", "/readyz"):
        assert (await served.caller.get(path)).status == 200


async def test_another_front_proxy_is_trusted_by_the_next_look_and_the_old_one_no_more(served: Served) -> None:
    old = await served.caller.connect(served.authority.client(FRONT_PROXY))
    async with old:
        assert (await old.get(CHAT, {"X-Remote-User": READER})).status == 200
        other = Authority("front proxy")
        served.api.put(authentication_config(other.pem, FRONT_PROXY))
        await served.metrics.ensure()
        with pytest.raises(ConnectionResetError):
            await old.get(CHAT, {"X-Remote-User": READER})
    assert (await served.caller.get(CHAT, **served.proxied(READER))).status == 0
    served.authority = other
    assert (await served.caller.get(CHAT, **served.proxied(READER))).status == 200


async def test_a_connection_of_before_counts_for_nothing_even_if_it_lives_on(served: Served) -> None:
    connection = await served.caller.connect(served.authority.client(FRONT_PROXY))
    async with connection:
        assert (await connection.get(CHAT, {"X-Remote-User": READER})).status == 200
        served.metrics._handshakes.replace(served.metrics._certificates.serving, Authority().pem)
        assert (await connection.get(CHAT, {"X-Remote-User": READER})).status == 401


async def test_a_config_map_that_cannot_be_read_takes_nobodys_trust_away(served: Served) -> None:
    served.api.put(authentication_config("no certificate", FRONT_PROXY))
    gap = await served.metrics.ensure()
    assert gap
    assert "kube-system/extension-apiserver-authentication has invalid content" in gap.message
    assert (await served.caller.get(CHAT, **served.proxied(READER))).status == 200
    served.api.fail_once(lambda call: refusal(500, "slow") if call.startswith("get ConfigMap") else None)
    await served.metrics.ensure()
    assert (await served.caller.get(CHAT, **served.proxied(READER))).status == 200


async def test_an_api_server_without_a_front_proxy_is_named(served: Served) -> None:
    served.api.put(authentication_config(""))
    gap = await served.metrics.ensure()
    assert gap
    assert "--requestheader-client-ca-file" in gap.message
    assert (await served.caller.get(CHAT, **served.proxied(READER))).status == 0
    assert (await served.caller.get(CHAT, BEARER)).status == 200
