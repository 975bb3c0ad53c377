"""Which service gets a request: by the address, by the model, by the key."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from support.nginx_gateway import Gateway, Replica, chat, service

Make = Callable[..., Replica]


def test_the_model_chooses_the_service(gateway: Gateway, replica: Make) -> None:
    one, other = replica(), replica()
    gateway.route({service("one", "org/One-7B", "one"): [one], service("other"): [other]})
    for model in ("org/One-7B", "one", "other"):
        assert gateway.chat(model).status == 200
    assert [json.loads(each.body)["model"] for each in one.posts] == ["org/One-7B", "one"]
    assert [json.loads(each.body)["model"] for each in other.posts] == ["other"]


@pytest.mark.parametrize(
    "body",
    [
        b'{"messages": [{"content": "a \\" } ] { [", "x": [[{}]]}], "tools": ["\\\\"], "t": null, "model": "other"}',
        b' \n{\t"model" : "other" , "messages":[]}',
        b'{"mod\\u0065l": "oth\\u0065r", "prompt": "x"}',
        b'{"metadata": {"model": "one"}, "model": "other", "prompt": "x"}',
        b'{"prompt": [1, 2, [3]], "model": "other"}',
    ],
)
def test_the_model_is_found_wherever_it_is(gateway: Gateway, replica: Make, body: bytes) -> None:
    one, other = replica(), replica()
    gateway.route({service("one"): [one], service("other"): [other]})
    assert gateway.ask("/v1/chat/completions", body).status == 200
    assert [each.body for each in other.posts] == [body]
    assert not one.posts


def test_a_form_with_a_sound_file_has_its_model_in_a_field(gateway: Gateway, replica: Make) -> None:
    one, other = replica(), replica()
    gateway.route({service("one"): [one], service("other"): [other]})
    body = (
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n\x00\xff\r\n'
        b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nother\r\n--x--\r\n'
    )
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    assert gateway.ask("/v1/audio/transcriptions", body, headers=headers).status == 200
    assert len(other.posts) == 1


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b'{"model": ', b'{"model": 3}', b'{"model": "a', b"\x00", b'{"a": ' + b"[" * 200_000]
)
def test_a_body_without_a_readable_model_is_refused_if_several_services_could_be_meant(
    gateway: Gateway, replica: Make, body: bytes
) -> None:
    gateway.route({service("one"): [replica()], service("other"): [replica()]})
    refused = gateway.ask("/v1/chat/completions", body)
    assert (refused.status, refused.code) == (400, "model_required")
    assert "one, other" in refused.json["error"]["message"]


def test_without_a_model_the_only_service_gets_it(gateway: Gateway, replica: Make) -> None:
    only = replica()
    gateway.route({service(): [only]})
    assert gateway.chat(None).status == 200
    assert len(only.posts) == 1


def test_without_a_model_the_keys_only_service_gets_it(gateway: Gateway, replica: Make) -> None:
    one, other = replica(["key-1", "both"]), replica(["key-2", "both"])
    gateway.route({service("one"): [one], service("other"): [other]})
    assert gateway.chat(None, key="key-2").status == 200
    assert (len(one.posts), len(other.posts)) == (0, 1)
    assert gateway.chat(None, key="both").code == "model_required"
    denied = gateway.chat(None, key="wrong")
    assert (denied.status, denied.code) == (401, "invalid_api_key")
    assert "one" not in denied.json["error"]["message"].split()


def test_models_are_listed_that_the_key_may_use(gateway: Gateway, replica: Make) -> None:
    services = {
        service("one", "m-1", "m-2"): [replica(["key"])],
        service("other", "m-3"): [replica(["another"])],
        service("open", "m-4"): [replica()],
    }
    gateway.route(services)
    listed = gateway.ask("/v1/models", key="key")
    assert [each["id"] for each in listed.json["data"]] == ["m-1", "m-2", "m-4"]
    assert all(each["object"] == "model" for each in listed.json["data"])
    assert [each["id"] for each in gateway.ask("/v1/models").json["data"]] == ["m-4"]


def test_a_question_about_a_key_has_the_key_and_no_other_header_of_the_client(gateway: Gateway, replica: Make) -> None:
    one = replica(["key"])
    gateway.route({service("one"): [one], service("other"): [replica(["key"])]})
    gateway.ask("/v1/models", key="key", headers={"Cookie": "a", "X-Other": "b", "Anthropic-Version": "c"})
    (asked,) = one.received
    assert asked.headers["Authorization"] == "Bearer key"
    assert {each.lower() for each in asked.headers} <= {
        *("authorization", "x-api-key", "host", "connection", "x-request-id", "x-forwarded-for", "x-forwarded-proto")
    }


def test_the_path_chooses_the_service_and_the_namespace(gateway: Gateway, replica: Make) -> None:
    here, there, other = replica(), replica(), replica()
    gateway.route(
        {
            service(): [here],
            service(namespace="team-b"): [there],
            service("other", "chat", namespace="team-b", created=2): [other],
        }
    )
    assert gateway.chat("chat").status == 200
    assert gateway.chat("chat", path="/namespaces/team-b/v1/chat/completions").status == 200
    assert gateway.chat("chat", path="/namespaces/team-b/services/other/v1/chat/completions?x=%2F").status == 200
    assert [each.path for each in here.posts] == ["/v1/chat/completions"]
    assert [each.path for each in there.posts] == ["/v1/chat/completions"]
    assert [each.path for each in other.posts] == ["/v1/chat/completions?x=%2F"]


def test_a_model_name_of_another_namespace_gets_nothing_of_this_one(gateway: Gateway, replica: Make) -> None:
    mine, thief = replica(["key"]), replica()
    gateway.route(
        {service("mine", "gpt"): [mine], service("thief", "gpt", "other", namespace="team-b", created=0): [thief]}
    )
    assert gateway.chat("gpt", key="key").status == 200
    assert gateway.chat("other", key="key").status == 404
    assert gateway.chat(None, key="wrong").status == 401
    gateway.ask("/v1/models", key="key")
    assert not thief.received


def test_of_two_services_with_a_model_name_the_older_one_gets_it(gateway: Gateway, replica: Make) -> None:
    old, new = replica(), replica()
    gateway.route({service("a-new", "gpt", created=2): [new], service("old", "gpt", created=1): [old]})
    gateway.chat("gpt")
    gateway.chat("gpt", path="/services/a-new/v1/chat/completions")
    assert (len(old.posts), len(new.posts)) == (1, 1)


def test_what_is_not_served_is_named(gateway: Gateway, replica: Make) -> None:
    gateway.route({service("one"): [replica()], service("asleep"): []})
    assert gateway.chat("two").code == "model_not_found"
    assert gateway.chat("x", path="/services/two/v1/completions").code == "no_service"
    assert gateway.chat("x", path="/namespaces/none/v1/completions").code == "no_service"
    asleep = gateway.chat("asleep")
    assert (asleep.status, asleep.code, asleep.headers["Retry-After"]) == (503, "no_ready_replica", "5")


@pytest.mark.parametrize(
    "path", ["/v1//chat", "/services/one/../other/v1", "/v1/%63hat", "/services/one/v1/a;b", "/v1/x?y=/services/other/"]
)
def test_the_rest_of_a_path_reaches_the_replica_as_it_was_sent(gateway: Gateway, replica: Make, path: str) -> None:
    one, other = replica(), replica()
    gateway.route({service("one"): [one], service("other"): [other]})
    gateway.ask(path, chat("one"))
    assert [each.path for each in one.posts] == [path.removeprefix("/services/one")]
    assert not other.posts


def test_before_the_first_routes_it_is_not_ready(own_gateway: Gateway, replica: Make) -> None:
    assert own_gateway.ask("/health").status == 503
    assert own_gateway.chat("chat").code == "no_routes"
    own_gateway.route({service(): [replica()]})
    assert own_gateway.ask("/health").status == 200
    assert own_gateway.post_routes(b"no JSON")[0] == 400
    assert own_gateway.chat("chat").status == 200


def test_a_list_of_no_models_is_an_empty_list(gateway: Gateway, replica: Make) -> None:
    gateway.route({service(): [replica(keys=["one"])]})
    found = gateway.ask("/v1/models", key="two")
    assert (found.status, found.json) == (200, {"object": "list", "data": []})
