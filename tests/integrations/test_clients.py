"""The SDKs and the proxies that users have, unchanged, in front of real vLLM and of replicas that come and go."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import openai
import pytest

from llmservice_contract.policy import Policy
from support.access import AccessFiles
from support.browser import result_of, web_page
from support.cache import CACHE
from support.cluster import wait_until
from support.engine import ROOT
from support.gateway_server import EVENT_SECONDS
from support.guarded import CLIENT, Guarded, guarded_engine
from support.nginx import nginx
from support.ports import free_port
from support.raw_http import request as raw_request
from support.raw_http import statuses
from support.service_address import ServiceAddress
from support.traefik import traefik
from support.web import answers

CALLS_SECONDS = 240
LAME_DUCK_SECONDS = 5
LONG_SECONDS = 120
TEXT, STREAM = "a text", "a stream"
PROXIES: Mapping[str, Callable[..., AbstractContextManager[str]]] = {
    "nginx": nginx,
    "traefik": traefik,
}
LARGE_BYTES = 6 * 1024 * 1024
EXPECTED: dict[str, Any] = {
    "openai chat": TEXT,
    "openai stream": STREAM,
    "openai models": ["tiny"],
    "openai one model": "tiny",
    "openai no such model": ("NotFoundError", 404, "model_not_found"),
    "openai slash at the end of the base URL": TEXT,
    "openai base URL without /v1": ("NotFoundError", 404, "unknown_url"),
    "openai unknown key": ("AuthenticationError", 401, "invalid_api_key"),
    "openai above a cap": ("BadRequestError", 400, "max_tokens"),
    "openai above a limit": ("RateLimitError", 429, "rate_limit_exceeded"),
    "anthropic message": TEXT,
    "anthropic stream": STREAM,
    "anthropic bearer": TEXT,
    "anthropic models": ["tiny"],
    "anthropic unknown key": ("AuthenticationError", 401, "authentication_error"),
    "anthropic above a cap": ("BadRequestError", 400, "invalid_request_error"),
    "anthropic above a limit": ("RateLimitError", 429, "rate_limit_error"),
    "anthropic unknown path": ("NotFoundError", 404, "not_found_error"),
    "litellm openai": TEXT,
    "litellm openai stream": STREAM,
    "litellm openai unknown key": ("AuthenticationError", 401, None),
    "litellm anthropic": TEXT,
    "litellm anthropic stream": STREAM,
    "litellm anthropic unknown key": ("AuthenticationError", 401, None),
    "langchain openai": TEXT,
    "langchain openai stream": STREAM,
    "langchain openai unknown key": (None, 401, None),
    "langchain anthropic": TEXT,
    "langchain anthropic stream": STREAM,
    "langchain anthropic unknown key": (None, 401, None),
}
"""What each call returns, or the exception, its status and the code or type that the SDK read."""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with guarded_engine(tmp_path_factory.mktemp("guarded")) as made:
        made.engine.wait_until_ready()
        yield made


@pytest.fixture(scope="module", params=["direct", *PROXIES])
def outcomes(
    request: pytest.FixtureRequest, engine: Guarded, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, Any]]:
    """Of all calls, by their names."""
    with ExitStack() as stack:
        url, limited = engine.url, "busy"
        if proxy := PROXIES.get(request.param):
            url = stack.enter_context(proxy(tmp_path_factory.mktemp("proxy") / "proxy", [engine.engine.port]))
        python = CACHE / "venvs" / "clients" / "bin" / "python"
        if not python.exists():
            pytest.fail("the SDKs are not on this machine: hack/venv/clients")
        script = [
            python,
            "-P",
            ROOT / "tests" / "support" / "sdk_calls.py",
            url,
            engine.keys[CLIENT],
            engine.keys[limited],
        ]
        done = subprocess.run(script, capture_output=True, text=True, timeout=CALLS_SECONDS)
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("name", EXPECTED)
def test_sdks_work_unchanged(outcomes: dict[str, dict[str, Any]], name: str) -> None:
    found, expected = outcomes[name], EXPECTED[name]
    if isinstance(expected, tuple):
        kind, status, code = expected
        assert "error" in found
        assert kind in (None, found["error"]), found
        assert found["status_code"] == status, found
        assert code is None or code in (found["code"], found["type"]), found
    elif expected is TEXT:
        assert found.get("value"), found
    elif expected is STREAM:
        parts = found.get("value") or []
        assert len([part for part in parts if part]) > 1, found
    else:
        assert found.get("value") == expected, found


def test_anthropics_sdk_counts_tokens_and_knows_its_requests(outcomes: dict[str, dict[str, Any]]) -> None:
    assert outcomes["anthropic count"]["value"] > 0
    assert outcomes["anthropic request id"]["value"]
    assert outcomes["anthropic unknown key"]["request_id"]
    assert outcomes["openai unknown key"]["request_id"]


def test_each_call_has_an_expectation(outcomes: dict[str, dict[str, Any]]) -> None:
    assert set(outcomes) == {*EXPECTED, "anthropic count", "anthropic request id"}


@contextmanager
def replica(
    directory: Path, age_seconds: int = LONG_SECONDS, port: int | None = None, environ: Mapping[str, str] | None = None
) -> Iterator[int]:
    """The port of one without a model, whose lame duck lasts LAME_DUCK_SECONDS."""
    port = port or free_port()
    environ = {"PYTHONPATH": str(ROOT / "runtime"), **(environ or {})}
    script = [sys.executable, "-P", ROOT / "tests" / "support" / "gateway_server.py"]
    times = [str(each) for each in (port, LAME_DUCK_SECONDS, age_seconds)]
    with (directory / f"replica-{port}.log").open("wb") as log:
        process = subprocess.Popen([*script, *times], env=environ, stdout=log, stderr=log)
    try:
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/health"), "the replica answers", timeout=LONG_SECONDS)
        yield port
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def replicas(tmp_path: Path) -> Iterator[list[int]]:
    with ExitStack() as stack:
        yield [stack.enter_context(replica(tmp_path)) for _ in range(2)]


def begin_drain(port: int) -> http.client.HTTPConnection:
    """As the pod's preStop hook does. The answer comes at the drain's end."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LONG_SECONDS)
    connection.request("POST", "/drain")
    wait_until(lambda: not ready(port), "the replica drains")
    return connection


def ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", "/ready")
    return bool(json.loads(connection.getresponse().read())["ready"])


def client_of(url: str) -> openai.OpenAI:
    """One that tries nothing twice."""
    return openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)


def ask(client: openai.OpenAI) -> int:
    """Which replica answers."""
    chat = client.chat.completions.create(model="m", messages=[], max_tokens=1)
    return int(chat.choices[0].message.content or 0)


@pytest.mark.parametrize("through", ["kube-proxy", *PROXIES])
def test_clients_with_kept_connections_notice_no_drain(tmp_path: Path, replicas: list[int], through: str) -> None:
    first, second = replicas
    with ExitStack() as stack:
        service = stack.enter_context(ServiceAddress([first]))
        url = service.url
        if proxy := PROXIES.get(through):
            url = stack.enter_context(proxy(tmp_path / "proxy", [service.port]))
        busy, idle = (stack.enter_context(client_of(url)) for _ in range(2))
        assert (ask(busy), ask(idle)) == (first, first)
        drain = stack.enter_context(closing(begin_drain(first)))
        service.ready = (second,)
        # The request that brings the news, and one with the next connection.
        assert ask(busy) in replicas
        assert ask(busy) == second
        assert json.loads(drain.getresponse().read())["drained"]
        assert ask(busy) == second
        assert ask(idle) == second


def test_a_new_replica_gets_requests_of_clients_that_keep_their_connection(tmp_path: Path) -> None:
    with ExitStack() as stack:
        first, second = (stack.enter_context(replica(tmp_path, age_seconds=1)) for _ in range(2))
        service = stack.enter_context(ServiceAddress([first]))
        client = stack.enter_context(client_of(service.url))
        assert ask(client) == first
        service.ready = (first, second)
        wait_until(lambda: ask(client) == second, "the new replica answers", timeout=LONG_SECONDS)


def test_a_drained_replica_refuses_by_name_and_ends_the_connection(replicas: list[int]) -> None:
    with closing(begin_drain(replicas[0])) as drain, client_of(f"http://127.0.0.1:{replicas[0]}") as client:
        assert json.loads(drain.getresponse().read())["drained"]
        with pytest.raises(openai.InternalServerError) as refused:
            ask(client)
    assert (refused.value.status_code, refused.value.code) == (503, "draining")
    assert refused.value.response.headers["connection"] == "close"


@pytest.mark.parametrize("through", PROXIES)
def test_a_retry_through_a_proxy_that_knows_both_replicas_reaches_the_other(
    tmp_path: Path, replicas: list[int], through: str
) -> None:
    """As an ingress controller that balances pods by itself, and has not yet read that one of them drains."""
    first, second = replicas
    with ExitStack() as stack:
        url = stack.enter_context(PROXIES[through](tmp_path / "proxy", replicas))
        client = stack.enter_context(openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=2))
        assert {ask(client) for _ in range(4)} == {first, second}
        drain = stack.enter_context(closing(begin_drain(first)))
        assert json.loads(drain.getresponse().read())["drained"]
        assert [ask(client) for _ in range(4)] == [second] * 4


@pytest.mark.parametrize("through", PROXIES)
def test_a_replica_that_ends_leaves_the_proxy_no_connection_that_fails(tmp_path: Path, through: str) -> None:
    """The proxy keeps idle connections to the pod, which ends after its drain."""
    with ExitStack() as stack:
        first = stack.enter_context(ExitStack())
        gone = first.enter_context(replica(tmp_path))
        other = stack.enter_context(replica(tmp_path))
        service = stack.enter_context(ServiceAddress([gone]))
        client = stack.enter_context(
            client_of(stack.enter_context(PROXIES[through](tmp_path / "proxy", [service.port])))
        )
        assert ask(client) == gone
        with closing(begin_drain(gone)) as drain:
            service.ready = (other,)
            assert json.loads(drain.getresponse().read())["drained"]
        first.close()
        assert [ask(client) for _ in range(3)] == [other] * 3


@pytest.mark.parametrize("encodings", ["identity", "gzip", "br, zstd, gzip"])
@pytest.mark.parametrize("through", PROXIES)
def test_events_pass_a_proxy_that_compresses_one_by_one(
    tmp_path: Path, replicas: list[int], through: str, encodings: str
) -> None:
    count = 10
    body = json.dumps({"model": "m", "messages": [], "max_tokens": count, "stream": True})
    headers = {"Content-Type": "application/json", "Accept-Encoding": encodings}
    with PROXIES[through](tmp_path / "proxy", replicas) as url:
        connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=LONG_SECONDS)
        with closing(connection):
            connection.request("POST", "/v1/chat/completions", body, headers)
            response = connection.getresponse()
            begun, parts = time.monotonic(), 0
            while response.read1(65_536):
                parts += 1
            took = time.monotonic() - begun
    assert response.status == 200
    assert parts >= count
    # Kept back, all of them would come with the last one.
    assert took > EVENT_SECONDS * (count - 2)


@pytest.mark.parametrize("through", PROXIES)
def test_large_bodies_pass(tmp_path: Path, replicas: list[int], through: str) -> None:
    """A prompt with images, for example."""
    with PROXIES[through](tmp_path / "proxy", replicas[:1]) as url, client_of(url) as client:
        message: Any = {"role": "user", "content": "x" * LARGE_BYTES}
        chat = client.chat.completions.create(model="m", messages=[message], max_tokens=1)
    assert chat.choices[0].message.content == str(replicas[0])


@pytest.mark.parametrize("through", ["direct", *PROXIES])
def test_clients_that_offer_http2_get_answers(tmp_path: Path, replicas: list[int], through: str) -> None:
    """As Java's HttpClient does, and so Spring AI and LangChain4j, in each request to an http:// URL."""
    offer = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABk")
    body = json.dumps({"model": "m", "messages": [], "max_tokens": 1})
    one = raw_request("/v1/chat/completions", *offer, method="POST", host="127.0.0.1", body=body)
    with ExitStack() as stack:
        port = replicas[0]
        if proxy := PROXIES.get(through):
            port = int(stack.enter_context(proxy(tmp_path / "proxy", replicas)).rpartition(":")[2])
        assert statuses(port, one * 2) == [200, 200]


ASK_FROM_A_PAGE = """
  const ask = async key => {{
    const answer = await fetch("{url}/v1/chat/completions", {{
      method: "POST",
      headers: {{"Authorization": "Bearer " + key, "Content-Type": "application/json", "X-Stainless-Lang": "js"}},
      body: JSON.stringify({{model: "m", messages: [], max_tokens: 3, stream: key === "{key}"}}),
    }});
    return [answer.status, answer.headers.get("x-request-id") !== null, await answer.text()];
  }};
  return [await ask("{key}"), await ask("wrong")];
"""


@pytest.mark.parametrize("through", ["direct", *PROXIES])
@pytest.mark.parametrize("listed", [True, False])
def test_a_page_in_a_browser_reads_answers_and_refusals_if_its_origin_is_listed(
    tmp_path: Path, listed: bool, through: str
) -> None:
    port = free_port()
    with ExitStack() as stack:
        directory = tmp_path / "access"
        directory.mkdir()
        access = AccessFiles(directory, Policy(require_keys=True, allowed_origins=("https://chat.example.com",)))
        key = access.make_key()
        proxy, proxy_port = PROXIES.get(through), free_port()
        script = ASK_FROM_A_PAGE.format(url=f"http://127.0.0.1:{proxy_port if proxy else port}", key=key)
        page = stack.enter_context(web_page(script))
        if listed:
            policy = Policy(require_keys=True, allowed_origins=(page,))
            (directory / "access.json").write_text(policy.to_json())
        stack.enter_context(replica(tmp_path, port=port, environ=access.environ))
        if proxy:
            stack.enter_context(proxy(tmp_path / "proxy", [port], port=proxy_port))
        result = json.loads(result_of(page, tmp_path / "profile"))
    if not listed:
        assert result == "TypeError"
        return
    answered, refused = result
    assert answered[:2] == [200, True]
    assert answered[2].endswith("data: [DONE]\n\n")
    assert refused[:2] == [401, True]
    assert json.loads(refused[2])["error"]["code"] == "invalid_api_key"
