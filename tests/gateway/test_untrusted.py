"""What tenants write and what clients send: nothing breaks out, nothing crosses namespaces, memory is bounded."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as some

from llmservice_operator.gateway.configuration import render
from llmservice_operator.gateway.routes import document, read_replica, read_service
from llmservice_operator.resources import names
from support.cluster import wait_until
from support.nginx_gateway import (
    NAMESPACE,
    NGINX,
    Gateway,
    Replica,
    begin,
    chat,
    configuration,
    nginx_gateway,
    service,
)
from support.raw_http import request, statuses

Make = Callable[..., Replica]
CAMPAIGN = os.environ.get("CAMPAIGN") == "full"
OBJECTS = 100_000 if CAMPAIGN else 400
BODIES = 20_000 if CAMPAIGN else 100
EACH = 100
"""Objects of one document."""
BODIES_EACH = 20
pytestmark = pytest.mark.timeout(3600 if CAMPAIGN else 600)
# Hypothesis gives the seed: to draw each letter by itself would take it hours.
SEEDS = some.integers(0, 2**64 - 1)
RUN = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck), "phases": [Phase.generate]}
HOSTILE = (
    *('"', "'", "\\", "{", "}", ";", "$", "${x}", "\n", "\r\n", "#", "}}", "{{ 1 }}", "]]", "--", "\0", "é", "\u2028"),
    *("a", "/", ":", "..", "%2f", "<", "\ud800", "\x7f", "chat", NAMESPACE),
)
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789-"


def _text(random: Random) -> str:
    if random.random() < 0.5:
        return "".join(random.choices(HOSTILE, k=random.randrange(8)))
    return "".join(
        chr(random.choice((random.randrange(128), random.randrange(0x11000)))) for _ in range(random.randrange(20))
    )


def _value(random: Random) -> Any:
    kind = random.randrange(8)
    values = (
        None,
        random.randrange(-(2**70), 2**70),
        random.random(),
        True,
        [_text(random)],
        {_text(random): _text(random)},
    )
    return values[kind] if kind < len(values) else _text(random)


def _name(random: Random) -> Any:
    """Mostly one that Kubernetes accepts."""
    if random.random() < 0.2:
        return _value(random)
    return random.choice(LETTERS[:26]) + "".join(random.choices(LETTERS, k=random.randrange(20))) + "x"


def _model(random: Random) -> Any:
    if random.random() < 0.3:
        return _value(random)
    return random.choice(LETTERS[:26]) + "".join(random.choices(LETTERS + "._:/ABC", k=random.randrange(30)))


def _maybe(random: Random, usual: Any) -> Any:
    return usual if random.random() < 0.9 else _value(random)


def _service(random: Random) -> Any:
    meta = {
        "namespace": random.choice((NAMESPACE, _name(random))),
        "name": _name(random),
        "creationTimestamp": random.choice(("2026-01-01T00:00:00Z", _value(random))),
    }
    served = [_model(random) for _ in range(random.randrange(10))]
    keys = {"secretRef": _maybe(random, {"name": _name(random)})}
    spec = {
        "model": _maybe(random, {"servedNames": _maybe(random, served)}),
        "access": _maybe(random, {"prefixCache": _maybe(random, "PerKey"), "apiKeys": _maybe(random, keys)}),
        # Requests for one at zero would wait.
        "scaling": _maybe(random, {"minReplicas": _maybe(random, 1)}),
        "replicas": random.choice((0, 1, _value(random))),
        "scheduling": _maybe(random, {"maxNodeProvisionSeconds": _value(random)}),
    }
    canary = {
        "revision": _name(random),
        "weight": random.choice((random.randrange(-10, 110), _value(random))),
        "header": _name(random),
        "excludedRevision": _name(random),
    }
    condition = {
        "type": random.choice(("Stalled", "Scheduled", "ScalingActive", _value(random))),
        "status": random.choice(("True", "False", _value(random))),
        "reason": _value(random),
        "lastTransitionTime": _value(random),
    }
    status = {"canary": _maybe(random, canary), "conditions": _maybe(random, [_maybe(random, condition)])}
    return {"metadata": _maybe(random, meta), "spec": _maybe(random, spec), "status": _maybe(random, status)}


def _pod(random: Random, service: str) -> Any:
    labels = {names.INSTANCE_LABEL: _maybe(random, service), names.COMPONENT_LABEL: names.ENGINE_COMPONENT}
    labels[names.REVISION_LABEL] = _name(random)
    owner = {"kind": "StatefulSet", "name": _maybe(random, service), "controller": True}
    meta = {
        "namespace": NAMESPACE,
        "name": _name(random),
        "labels": _maybe(random, labels),
        "ownerReferences": _maybe(random, [owner]),
    }
    ready = {"type": "Ready", "status": "True"}
    status = {
        "conditions": _maybe(random, [ready]),
        "podIP": _maybe(random, random.choice(("192.0.2.1", "2001:db8::1"))),
    }
    return {"metadata": meta, "status": _maybe(random, status)}


@settings(max_examples=OBJECTS // EACH, **RUN)
@given(SEEDS)
def test_whatever_tenants_write_the_routes_are_accepted_and_lead_to_the_service(gateway: Gateway, seed: int) -> None:
    random = Random(seed)
    objects = [_service(random) for _ in range(EACH * 3 // 4)]
    services = {(each.namespace, each.name): each for each in map(read_service, objects) if each}
    own = sorted(name for namespace, name in services if namespace == NAMESPACE)
    with_pods, without = set(own[::2]), set(own[1::2])
    pods = [_pod(random, random.choice(sorted(with_pods) or ["chat"])) for _ in range(EACH // 4)]
    replicas = [each for each in map(read_replica, pods) if each]
    routes = document(services.values(), replicas)
    assert gateway.post_routes(json.dumps(routes).encode())[0] == 204
    with contextlib.closing(gateway.connect()) as connection:
        models = routes["namespaces"].get(NAMESPACE, {"models": {}})["models"]
        asked = [(model, owner) for model, owner in models.items() if owner in without]
        for model, owner in random.sample(asked, min(len(asked), 5)):
            answer = json.loads(begin(connection, "/v1/chat/completions", chat(model)).read())
            assert f" {NAMESPACE}/{owner} " in answer["error"]["message"]
    assert all(len(each.models) <= 8 for each in services.values())
    rotation = {(each.service, each.pod) for each in replicas if each.service in with_pods}
    assert gateway.in_rotation(NAMESPACE) == rotation


def test_the_configuration_has_nothing_of_tenants_and_only_plain_settings(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    directory = tmp_path_factory.mktemp("configuration")
    made = configuration(directory)
    plain = render(made)
    assert plain.count("{") == plain.count("}")
    for hostile in ('x"; }', "a b", "${x}", "x\n", "{{1}}", "a;"):
        with pytest.raises(ValueError, match="namespace"):
            render(configuration(directory, namespace=hostile))


def _json(random: Random, depth: int = 0) -> Any:
    kind = random.randrange(8 if depth < 4 else 5)
    if kind == 5:
        return [_json(random, depth + 1) for _ in range(random.randrange(4))]
    if kind > 5:
        return {_key(random): _json(random, depth + 1) for _ in range(random.randrange(4))}
    return (None, random.randrange(-(2**70), 2**70), random.random() * 1e300, False, _text(random))[kind]


def _key(random: Random) -> str:
    return random.choice(("messages", "prompt", "stream", "model", "Model", _text(random), _text(random)))


def _body(random: Random) -> tuple[bytes, Any]:
    """A JSON body whose keys may occur more than once, and the `model` that a JSON parser reads."""
    items = [(_key(random), _json(random)) for _ in range(random.randrange(6))]
    for _ in range(random.randrange(3)):
        items.insert(random.randrange(len(items) + 1), ("model", random.choice(("one", "two", _json(random)))))
    ascii_only, space = random.random() < 0.5, random.choice(("", " ", "\n\t"))

    def dumped(value: Any) -> str:
        return json.dumps(value, ensure_ascii=ascii_only, indent=2 if space else None)

    def key(text: str) -> str:
        if random.random() < 0.2 and text:
            at = random.randrange(len(text))
            if ord(text[at]) < 128:
                escaped = f"\\u{ord(text[at]):04{random.choice('xX')}}"
                return f"{dumped(text[:at])[:-1]}{escaped}{dumped(text[at + 1 :])[1:]}"
        return dumped(text)

    inside = f"{space},{space}".join(f"{key(name)}{space}:{space}{dumped(value)}" for name, value in items)
    text = f"{space}{{{space}{inside}{space}}}{space}"
    return text.encode("utf-8", "surrogatepass"), json.loads(text).get("model")


@settings(max_examples=BODIES // BODIES_EACH, **RUN)
@given(SEEDS)
def test_the_model_is_that_of_a_json_parser(gateway: Gateway, seed: int) -> None:
    gateway.route({service("one"): [], service("two"): []})
    random = Random(seed)
    with contextlib.closing(gateway.connect()) as connection:
        for _ in range(BODIES_EACH):
            sent, model = _body(random)
            error = json.loads(begin(connection, "/v1/chat/completions", sent).read())["error"]
            if model in ("one", "two"):
                assert (error["code"], f" {NAMESPACE}/{model} " in error["message"]) == ("no_ready_replica", True), sent
            elif error["code"] == "model_not_found":
                assert isinstance(model, str), sent
            else:
                assert (error["code"], "namespace's" in error["message"]) == ("no_ready_replica", True), sent


def test_a_large_body_of_quotes_or_brackets_is_read_in_bounded_steps(gateway: Gateway, replica: Make) -> None:
    one, other = replica(), replica()
    gateway.route({service("one"): [one], service("other"): [other]})
    quotes = b'{"messages": "' + b'\\"' * 4_000_000 + b'", "model": "other"}'
    assert gateway.ask("/v1/chat/completions", quotes).status == 200
    assert len(other.posts) == 1
    assert other.posts[0].body == quotes
    brackets = b'{"messages": ' + b"[]," * 4_000_000 + b'"model": "other"}'
    assert gateway.ask("/v1/chat/completions", brackets).code == "model_required"


def test_logs_have_neither_prompts_nor_keys_nor_queries(own_gateway: Gateway, replica: Make) -> None:
    own_gateway.route({service(): [replica(["KEY-1"])]})
    headers = {"X-Request-Id": "id-1", "Cookie": "COOKIE"}
    own_gateway.ask("/v1/chat/completions?QUERY=1", chat("chat", "PROMPT"), key="KEY-1", headers=headers)
    own_gateway.ask("/v1/chat/completions?QUERY=1", chat('x"\n{"\x1b', "PROMPT"), key="KEY-2")
    first, second = sorted(own_gateway.log(2), key=lambda line: str(line["status"]))
    assert (first["request_id"], first["status"], first["service"], first["path"]) == (
        "id-1",
        "200",
        "chat",
        "/v1/chat/completions",
    )
    assert (second["status"], second["service"]) == ("404", "")
    text = "".join(each.read_text() for each in own_gateway.directory.glob("*.log"))
    assert not [each for each in ("PROMPT", "KEY-", "QUERY", "COOKIE") if each in text]


def test_a_body_above_the_limit_is_refused(own_gateway: Gateway, replica: Make) -> None:
    only = replica()
    own_gateway.route({service(): [only]})
    assert own_gateway.ask("/v1/completions", b"x" * (33 * 2**20)).code == "gateway_413"
    chunked = (
        b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        + (b"100000\r\n" + b"x" * 2**20 + b"\r\n") * 34
    )
    assert statuses(own_gateway.port, chunked + b"0\r\n\r\n")[:1] == [413]
    assert not only.posts
    wait_until(lambda: own_gateway.metrics()["llmservice_gateway_held_body_bytes"] == 0, "no body is held")


def test_bodies_that_are_held_are_bounded_and_one_namespace_leaves_half_to_others(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with nginx_gateway(tmp_path_factory.mktemp("held"), held_bytes=2 * 2**20) as gateway:
        gateway.route({service(): [], service(namespace="team-b"): []})
        half = f"POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: {2**20}\r\n\r\n".encode()
        with socket.create_connection(("127.0.0.1", gateway.port)) as slow:
            slow.sendall(half)
            while not gateway.metrics()["llmservice_gateway_held_body_bytes"]:
                pass
            body = b"x" * 2**19
            refused = gateway.ask("/v1/completions", body)
            assert (refused.status, refused.code, refused.headers["Retry-After"]) == (503, "too_many_bodies", "1")
            assert gateway.ask("/namespaces/team-b/v1/completions", body).code != "too_many_bodies"
            assert gateway.ask("/v1/completions", b"{}").code != "too_many_bodies"


def test_refused_bodies_give_a_namespace_no_more_room(tmp_path: Path) -> None:
    quarter = 2**19
    with nginx_gateway(tmp_path / "gateway", held_bytes=4 * quarter) as gateway, contextlib.ExitStack() as held:

        def hold(path: str, length: int) -> socket.socket:
            """Sends the head of a request with so many bytes, and none of them."""
            before = gateway.metrics()["llmservice_gateway_held_body_bytes"]
            slow = held.enter_context(socket.create_connection(("127.0.0.1", gateway.port)))
            slow.sendall(f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n".encode())
            after = before + length
            wait_until(lambda: gateway.metrics()["llmservice_gateway_held_body_bytes"] == after, "it is held")
            return slow

        gateway.route({service(): [], service(namespace="team-b"): [], service(namespace="team-c"): []})
        path = "/namespaces/team-c/v1/completions"
        others = [hold("/v1/completions", 2 * quarter), hold("/namespaces/team-b/v1/completions", quarter)]
        assert [gateway.ask(path, b"x" * 2 * quarter).code for _ in range(4)] == ["too_many_bodies"] * 4
        for each in others:
            each.close()
        wait_until(lambda: gateway.metrics()["llmservice_gateway_held_body_bytes"] == 0, "no body is held")
        hold(path, 2 * quarter)
        assert gateway.ask(path, b"x" * quarter).code == "too_many_bodies"


@pytest.mark.parametrize("target", ["http://elsewhere.example", "http://elsewhere.example?x"])
def test_a_whole_url_as_target_leads_nowhere_else(gateway: Gateway, replica: Make, target: str) -> None:
    only = replica()
    gateway.route({service(): [only]})
    assert statuses(gateway.port, request(target, "Connection: close")) == [200]
    assert [each.path.partition("?")[0] for each in only.received] == ["/"]


def test_internal_locations_and_the_control_paths_are_not_for_clients(gateway: Gateway, replica: Make) -> None:
    only = replica()
    gateway.route({service(): [only]})
    assert gateway.ask("/_probe").status == 404
    for path in ("/routes", "/metrics", "/configuration"):
        gateway.ask(path, b"{}")
    assert [each.path for each in only.posts] == ["/routes", "/metrics", "/configuration"]
    assert gateway.chat("chat").status == 200


@pytest.mark.parametrize("target", ["/_probe", "/v1/chat/completions"])
def test_a_replica_has_no_say_over_nginx(own_gateway: Gateway, replica: Make, target: str) -> None:
    hostile = replica()
    hostile.headers = {"X-Accel-Redirect": target, "X-Accel-Limit-Rate": "1", "X-Accel-Buffering": "yes"}
    own_gateway.route({service(): [hostile]})
    assert own_gateway.chat("chat").json == {"replica": "replica"}
    assert len(hostile.received) == 1
    own_gateway.wait_for_rest()


def test_questions_for_the_services_of_a_key_are_asked_once_in_a_while(own_gateway: Gateway, replica: Make) -> None:
    replicas = [replica(["key"]), replica(["key"])]
    own_gateway.route({service("one"): [replicas[0]], service("other"): [replicas[1]]})
    for _ in range(20):
        assert own_gateway.chat(None, key="key").code == "model_required"
        assert own_gateway.chat(None, key="wrong").code == "invalid_api_key"
    assert all(len(each.received) <= 6 for each in replicas)


def test_after_all_these_the_configuration_is_as_before(gateway: Gateway) -> None:
    file = gateway.directory / "nginx.conf"
    checked = subprocess.run([NGINX, "-p", gateway.directory, "-e", "stderr", "-t", "-c", file], capture_output=True)
    assert checked.returncode == 0, checked.stderr
    gateway.reload()
    assert gateway.post_routes(b'{"namespaces": {}}')[0] == 204
    assert "lua" not in (gateway.directory / "error.log").read_text()
