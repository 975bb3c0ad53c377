"""Host names of namespaces and services below the gateway's domain."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from support.nginx_gateway import NAMESPACE, Gateway, Replica, chat, nginx_gateway, service
from support.raw_http import request, statuses

Make = Callable[..., Replica]
DOMAIN = "llm.example.com"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway with a domain."""
    with nginx_gateway(tmp_path_factory.mktemp("gateway"), domain=DOMAIN) as made:
        yield made


class Replicas:
    """A replica of each of three services: chat of the gateway's own namespace, chat and other of team-b."""

    def __init__(self) -> None:
        self._all = {"own": Replica(), "chat": Replica(), "other": Replica()}

    def route(self, gateway: Gateway) -> None:
        """Makes them the gateway's routes; none has been asked."""
        for each in self._all.values():
            each.received.clear()
        gateway.route(
            {
                service(): [self._all["own"]],
                service("chat", "gpt", namespace="team-b"): [self._all["chat"]],
                service("other", "gpt", "other", namespace="team-b", created=2): [self._all["other"]],
            }
        )

    def stop(self) -> None:
        """Stops them."""
        for each in self._all.values():
            each.stop()

    @property
    def asked(self) -> dict[str, list[str]]:
        """The paths of the requests that each got."""
        return {name: [each.path for each in one.received] for name, one in self._all.items() if one.received}


@pytest.fixture(scope="module")
def all_replicas() -> Iterator[Replicas]:
    """Those of the module."""
    made = Replicas()
    yield made
    made.stop()


@pytest.fixture
def replicas(gateway: Gateway, all_replicas: Replicas) -> Replicas:
    """They are the gateway's routes."""
    all_replicas.route(gateway)
    return all_replicas


@pytest.mark.parametrize(
    ("host", "path", "model", "reached"),
    [
        ("team-b.llm.example.com", "/v1/chat/completions", "other", {"other": ["/v1/chat/completions"]}),
        ("team-b.llm.example.com", "/v1/chat/completions", "gpt", {"chat": ["/v1/chat/completions"]}),
        ("team-b.llm.example.com", "/services/other/v1/x?a=%2F", "gpt", {"other": ["/v1/x?a=%2F"]}),
        ("other.team-b.llm.example.com", "/v1/chat/completions", "gpt", {"other": ["/v1/chat/completions"]}),
        ("other.team-b.llm.example.com", "/v1/chat/completions", None, {"other": ["/v1/chat/completions"]}),
        ("OTHER.Team-B.LLM.example.com.:8443", "/v1/x", None, {"other": ["/v1/x"]}),
        ("llm.example.com", "/v1/x", "chat", {"own": ["/v1/x"]}),
        ("llm.example.com", "/namespaces/team-b/v1/x", "other", {"other": ["/v1/x"]}),
        ("llm.example.org", "/namespaces/team-b/v1/x", "other", {"other": ["/v1/x"]}),
        ("team-bxllm.example.com", "/v1/x", "chat", {"own": ["/v1/x"]}),
    ],
)
def test_the_host_chooses_the_namespace_and_the_service(
    gateway: Gateway, replicas: Replicas, host: str, path: str, model: str | None, reached: dict[str, list[str]]
) -> None:
    assert gateway.ask(path, chat(model), headers={"Host": host}).status == 200
    assert replicas.asked == reached


@pytest.mark.parametrize(
    ("host", "path", "reached"),
    [
        ("team-a.llm.example.com", "/namespaces/team-b/v1/x", {"own": ["/namespaces/team-b/v1/x"]}),
        ("chat.team-a.llm.example.com", "/namespaces/team-b/v1/x", {"own": ["/namespaces/team-b/v1/x"]}),
        ("chat.team-b.llm.example.com", "/services/other/v1/x", {"chat": ["/services/other/v1/x"]}),
    ],
)
def test_no_path_leads_out_of_the_namespace_or_service_of_a_host(
    gateway: Gateway, replicas: Replicas, host: str, path: str, reached: dict[str, list[str]]
) -> None:
    gateway.ask(path, chat(None), headers={"Host": host})
    assert replicas.asked == reached


@pytest.mark.parametrize(
    "host",
    [
        "team-c.llm.example.com",
        "chat.team-c.llm.example.com",
        "third.team-b.llm.example.com",
        "x.chat.team-b.llm.example.com",
        "chat..team-b.llm.example.com",
        ".llm.example.com",
        "team_b.llm.example.com",
        "team-a@team-b.llm.example.com",
        "team-b.llm.example.com/.llm.example.com",
        "[team-b].llm.example.com",
        "team-b:80.llm.example.com",
        "team-b\x00.llm.example.com",
        "7.team-b.llm.example.com",
    ],
)
def test_other_hosts_below_the_domain_lead_nowhere(gateway: Gateway, replicas: Replicas, host: str) -> None:
    found = statuses(gateway.port, request("/v1/models/chat", "Connection: close", host=host))
    assert found in ([404], [400]), found
    assert not replicas.asked


def test_the_host_of_a_whole_url_is_the_one_that_counts(gateway: Gateway, replicas: Replicas) -> None:
    target = "http://other.team-b.llm.example.com/v1/models"
    sent = request(target, "Connection: close", host="team-a.llm.example.com")
    assert statuses(gateway.port, sent) == [200]
    assert replicas.asked == {"other": ["/v1/models"]}


def test_a_host_lists_the_models_of_its_namespace(gateway: Gateway, replicas: Replicas) -> None:
    listed = gateway.ask("/v1/models", headers={"Host": "team-b.llm.example.com"})
    assert [each["id"] for each in listed.json["data"]] == ["gpt", "other"]
    assert [each["owned_by"] for each in listed.json["data"]] == ["team-b/chat", "team-b/other"]
    assert "own" not in replicas.asked


def test_without_a_domain_a_host_plays_no_part(own_gateway: Gateway, replica: Make) -> None:
    own, other = replica(), replica()
    own_gateway.route({service(): [own], service(namespace="team-b"): [other]})
    for host in ("team-b.llm.example.com", "team-b", "team-b."):
        assert own_gateway.ask("/v1/x", chat(None), headers={"Host": host}).status == 200
    assert (len(own.posts), len(other.posts)) == (3, 0)


def test_a_host_that_leads_nowhere_is_told_the_form(gateway: Gateway) -> None:
    refused = gateway.ask("/v1/models", headers={"Host": f"a.b.{NAMESPACE}.{DOMAIN}"})
    assert (refused.status, refused.code) == (404, "no_service")
    assert f"SERVICE.NAMESPACE.{DOMAIN}" in refused.json["error"]["message"]
