"""Which web pages may read answers, refusals included: those of the origins that the service lists, and no others."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from llmservice_contract.policy import BadPolicy, read_policy
from llmservice_runtime.gateway.cors import is_preflight

COMPLETIONS = "/v1/completions"
BODY = {"prompt": "12345678", "max_tokens": 10}
PAGE = "https://chat.example.com"
ORIGIN = (b"origin", PAGE.encode())
PREFLIGHT = [ORIGIN, (b"access-control-request-method", b"POST"), (b"access-control-request-headers", b"authorization")]
ALLOW = "access-control-allow-origin"


def allow(house: Any, *origins: str) -> None:
    house.policy = msgspec.structs.replace(house.policy, allowed_origins=origins)


async def test_a_preflight_of_a_listed_origin_is_answered_without_a_key_and_without_vllm(house: Any) -> None:
    allow(house, "http://localhost:3000", PAGE)
    reply = await house.ask("OPTIONS", COMPLETIONS, key=None, headers=PREFLIGHT)
    assert (reply.status, reply.body, reply.headers[ALLOW], reply.headers["vary"]) == (204, b"", PAGE, "Origin")
    assert "POST" in reply.headers["access-control-allow-methods"]
    assert "authorization" in reply.headers["access-control-allow-headers"]
    assert house.app.scopes == []


@pytest.mark.parametrize("origins", [(), ("https://other.example.com",), ("https://chat.example.com:8443",)])
async def test_a_preflight_of_another_origin_is_refused(house: Any, origins: tuple[str, ...]) -> None:
    allow(house, *origins)
    reply = await house.ask("OPTIONS", COMPLETIONS, key=None, headers=PREFLIGHT)
    assert (reply.status, reply.error["code"]) == (403, "origin_not_allowed")
    assert ALLOW not in reply.headers
    assert (house.app.scopes, house.lines()) == ([], [])


async def test_a_page_may_read_answers_and_refusals(house: Any) -> None:
    allow(house, PAGE)
    for key, status in (("", 200), (None, 401), ("wrong", 401)):
        reply = await house.ask("POST", COMPLETIONS, BODY, key=key, headers=[ORIGIN])
        assert (reply.status, reply.headers[ALLOW], reply.headers["vary"]) == (status, PAGE, "Origin")
        assert reply.headers["access-control-expose-headers"] == "*"
        assert "access-control-allow-credentials" not in reply.headers


async def test_no_other_page_may_read_anything(house: Any) -> None:
    for origins in ((), (PAGE,)):
        allow(house, *origins)
        for origin in (b"https://evil.example.com", b"null", b"https://chat.example.com.evil.com", b"\xff", b""):
            for key in ("", None):
                reply = await house.ask("POST", COMPLETIONS, BODY, key=key, headers=[(b"origin", origin)])
                assert ALLOW not in reply.headers
        twice = await house.ask("POST", COMPLETIONS, BODY, headers=[ORIGIN, (b"origin", b"https://evil.example.com")])
        assert ALLOW not in twice.headers


async def test_what_the_application_allows_is_not_passed_on(house: Any) -> None:
    async def answer(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        headers = [(b"Access-Control-Allow-Origin", b"https://evil.example.com"), (b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    allow(house, PAGE)
    house.app.answer = answer
    reply = await house.ask("POST", COMPLETIONS, BODY, headers=[ORIGIN])
    assert [value for name, value in reply.headers.items() if name.lower() == ALLOW] == [PAGE]


async def test_all_pages_may_be_allowed(house: Any) -> None:
    allow(house, "*")
    for headers in ([ORIGIN], [(b"origin", b"null")], []):
        reply = await house.ask("POST", COMPLETIONS, BODY, headers=headers)
        assert reply.headers[ALLOW] == "*"
    assert (await house.ask("OPTIONS", COMPLETIONS, key=None, headers=PREFLIGHT)).headers[ALLOW] == "*"


async def test_answers_depend_on_the_origin_also_if_there_is_none(house: Any) -> None:
    allow(house, PAGE)
    assert (await house.ask("POST", COMPLETIONS, BODY)).headers["vary"] == "Origin"
    allow(house)
    assert "vary" not in (await house.ask("POST", COMPLETIONS, BODY, headers=[ORIGIN])).headers


def test_a_preflight_names_origin_and_method() -> None:
    scope = {"type": "http", "method": "OPTIONS", "path": COMPLETIONS, "headers": PREFLIGHT}
    assert is_preflight(scope)
    assert not is_preflight(scope | {"headers": PREFLIGHT[:1]})
    assert not is_preflight(scope | {"headers": PREFLIGHT[1:]})
    assert not is_preflight(scope | {"method": "POST"})
    assert not is_preflight(scope | {"type": "websocket"})


@pytest.mark.parametrize(
    "origin", ["*", PAGE, "http://localhost:3000", "http://[::1]:8080", "vscode-webview://abc", "app://-"]
)
def test_origins_have_the_form_in_which_browsers_send_them(origin: str) -> None:
    assert read_policy(f'{{"allowedOrigins": ["{origin}"]}}').allowed_origins == (origin,)


@pytest.mark.parametrize(
    "origin",
    ["", "null", "chat.example.com", f"{PAGE}/", "HTTPS://chat.example.com", "https://*.example.com", "https://a b"],
)
def test_another_form_is_an_error(origin: str) -> None:
    with pytest.raises(BadPolicy, match="allowedOrigins"):
        read_policy(f'{{"allowedOrigins": ["{origin}"]}}')
