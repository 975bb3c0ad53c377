"""Which routes of real vLLM answer to whom: the front's table against vLLM's own, every route and method without a key,
tricks with single bytes, and requests made from the schema.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import hypothesis
import pytest
import requests
import schemathesis
from prometheus_client.parser import text_string_to_metric_families

from llmservice_runtime.gateway.routes import ROUTES, Access
from support.campaign import FULL
from support.cluster import wait_until
from support.guarded import ADMIN, CLIENT, Guarded
from support.raw_http import request, statuses
from support.tricks import MODELS, UNKNOWN_KEY, WEBSOCKET, tricks

PUBLIC = {"GET /health", "GET /ping", "GET /ready"}
OWN = {"POST /v1/batch", "GET /ready", "POST /drain"}
WITHOUT_ITS_SDK = {"POST /cohere/v2/chat", "POST /cohere/v2/chat/render"}
"""vLLM registers them where a package is installed that no image has."""
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "WEBSOCKET")
FROM_ELSEWHERE = "X-Forwarded-For"
"""With it a request of this machine is none of the same pod."""
EXAMPLES = 20 if FULL else 5
"""Of each route."""
ID = re.compile(r"\{\w+\}")
TURN = [{"role": "user", "content": "The quick brown fox"}]
ASKED: dict[str, Any] = {"model": "tiny", "max_tokens": 4}
GOOD: dict[str, dict[str, Any]] = {
    "/v1/completions": ASKED | {"prompt": "The quick brown fox"},
    "/v1/chat/completions": ASKED | {"messages": TURN},
    "/v1/messages": ASKED | {"messages": TURN},
    "/v1/responses": {"model": "tiny", "max_output_tokens": 4, "input": "The quick brown fox"},
    "/v1/batch": {"prompts": ["The quick brown fox"], "max_tokens": 4},
    "/tokenize": {"prompt": "The quick brown fox"},
}
"""Requests that are answered. Made bodies are mostly refused: each of their fields is sent beside these too."""
PATIENCE_SECONDS = 60
NOT_FOR_THIS_MODEL = {"/v1/systemone"}
"""vLLM says 501 where a model makes no structured decisions, as the small one does not."""


def speak(guarded: Guarded, sent: bytes) -> list[int]:
    """The statuses of all answers to these bytes."""
    return statuses(guarded.engine.port, sent)


def status_of(guarded: Guarded, row: str, key: str | None = None) -> int:
    """Of one request for a row of the table; 0: there was no answer."""
    method, path = row.replace("{id}", "x1").split(" ")
    headers = [f"{FROM_ELSEWHERE}: 10.0.0.1", *([f"Authorization: Bearer {guarded.keys[key]}"] if key else [])]
    if method == "WEBSOCKET":
        sent = request(path, *headers, *WEBSOCKET)
    else:
        sent = request(path, *headers, "Connection: close", "Content-Length: 0", method=method)
    return next(iter(speak(guarded, sent)), 0)


def statuses_of(guarded: Guarded, rows: list[str], key: str | None = None) -> dict[str, int]:
    with ThreadPoolExecutor(4) as clients:
        return dict(zip(rows, clients.map(lambda row: status_of(guarded, row, key), rows), strict=True))


def reached(guarded: Guarded) -> dict[tuple[str, str], float]:
    """How many requests vLLM's own app has answered, by its route and status; it counts none of public ones."""
    return {
        (each.labels["handler"], each.labels["status"]): each.value
        for family in text_string_to_metric_families(guarded.engine.metrics())
        for each in family.samples
        if each.name == "http_requests_total"
    }


def test_the_table_is_vllms_own(app: dict[str, Any]) -> None:
    registered = set(app["routes"])
    assert sorted(registered - set(ROUTES)) == [], "routes of vLLM that the table lacks"
    assert sorted(set(ROUTES) - registered - WITHOUT_ITS_SDK) == [], "rows that are no route of vLLM's"
    assert registered > OWN
    assert app["mounts"] == ["/metrics", "/static"]


def test_without_a_key_only_the_public_answer(guarded: Guarded, app: dict[str, Any]) -> None:
    paths = {row.partition(" ")[2] for row in {*app["routes"], *ROUTES}} | {"/static", "/"}
    rows = sorted(f"{method} {path}" for path in paths for method in METHODS)
    answers = statuses_of(guarded, rows)
    expected = {row: {401} for row in rows} | {"POST /drain": {403}}
    expected |= {row: {200} for row in PUBLIC} | {row.replace("GET", "HEAD"): {200, 405} for row in PUBLIC}
    assert {row: status for row, status in answers.items() if status not in expected[row]} == {}


def test_a_clients_key_opens_the_api_and_no_admin_route(guarded: Guarded) -> None:
    admins = [row for row, route in ROUTES.items() if route.access is Access.ADMIN]
    answers = statuses_of(guarded, admins, CLIENT)
    assert {row: status for row, status in answers.items() if status != 403} == {}
    assert status_of(guarded, "GET /v1/models", CLIENT) == 200
    for row in ("GET /version", "GET /metrics"):
        assert status_of(guarded, row, ADMIN) == 200, "what is refused is there"
    assert status_of(guarded, "POST /drain", ADMIN) == 403, "only for the same pod, with any key"


@dataclass(frozen=True)
class Seen:
    """What came of the tricks."""

    answers: dict[str, list[int]]
    before: dict[tuple[str, str], float]
    after: dict[tuple[str, str], float]


@pytest.fixture(scope="module")
def seen(guarded: Guarded) -> Seen:
    """All tricks at once: the server waits some seconds before it closes a connection."""
    every, before = tricks(), reached(guarded)
    with ThreadPoolExecutor(len(every)) as clients:
        answers = clients.map(lambda each: speak(guarded, each.sent), every.values())
        return Seen(dict(zip(every, answers, strict=True)), before, reached(guarded))


@pytest.mark.parametrize("name", tricks())
def test_no_trick_stands_for_a_key(seen: Seen, name: str) -> None:
    answers = seen.answers[name]
    others = [status for status in answers if status != 200]
    assert len(answers) - len(others) <= tricks()[name].public, answers
    assert all(400 <= status < 500 for status in others), answers


def test_no_trick_reaches_vllm(guarded: Guarded, seen: Seen) -> None:
    assert seen.after == seen.before
    assert sum(map(bool, seen.answers.values())) > len(seen.answers) / 2, "most are answered, not dropped"
    assert status_of(guarded, "GET /v1/models", CLIENT) == 200, "it still serves"
    assert reached(guarded) != seen.after, "what reaches it is counted"


@pytest.mark.parametrize("beside", ["", "Bearer ", "Basic YTpi", f"Bearer {UNKNOWN_KEY}"])
def test_a_key_beside_something_else_is_none(guarded: Guarded, beside: str) -> None:
    key = f"Bearer {guarded.keys[CLIENT]}"
    for values in ((beside, key), (key, beside)):
        headers = [f"Authorization: {value}" for value in values]
        assert speak(guarded, request(MODELS, *headers, "Connection: close")) == [401]


def test_a_refused_websocket_leaves_one_line_without_its_path(guarded: Guarded) -> None:
    log, secret = guarded.engine.log, f"/v1/realtime?api_key={UNKNOWN_KEY}"
    before = len(log.read_text())
    headers = (f"{FROM_ELSEWHERE}: 10.0.0.1", "X-Request-Id: socket-1", *WEBSOCKET)
    assert speak(guarded, request(secret, *headers)) == [401]
    wait_until(lambda: "request_id=socket-1" in log.read_text()[before:], "the front's line", timeout=30, every=0.1)
    reported = log.read_text()[before:]
    assert UNKNOWN_KEY not in reported
    assert "ERROR" not in reported


@pytest.fixture(scope="module")
def api(app: dict[str, Any]) -> Any:
    """The routes for clients, as the schema of the running app has them."""
    openapi = app["openapi"]
    for path, methods in list(openapi["paths"].items()):
        openapi["paths"][path] = {method: each for method, each in methods.items() if is_for_clients(method, path)}
    schema = schemathesis.openapi.from_dict(openapi)
    schema.config.phases.coverage.enabled = False  # thousands of examples, one for each value of each field
    return schema


def is_for_clients(method: str, path: str) -> bool:
    route = ROUTES.get(f"{method.upper()} {ID.sub('{id}', path)}")
    return route is not None and route.access is Access.CLIENT


schema = schemathesis.pytest.from_fixture("api")


@schema.parametrize()
@hypothesis.settings(
    max_examples=EXAMPLES,
    derandomize=True,
    phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
    suppress_health_check=list(hypothesis.HealthCheck),
)
def test_nothing_that_the_schema_allows_is_an_error_of_the_server(case: schemathesis.Case, guarded: Guarded) -> None:
    answer = case.call(base_url=guarded.url, headers=guarded.headers, timeout=PATIENCE_SECONDS)
    if case.path in NOT_FOR_THIS_MODEL and answer.status_code == 501:
        return
    assert answer.status_code < 500, answer.text
    if case.path in GOOD and isinstance(case.body, dict):
        for name, value in case.body.items():
            one = {name: value, **GOOD[case.path]}
            answer = post(guarded, case.path, one)
            assert answer.status_code < 500, (one, answer.text)


@pytest.mark.parametrize("path", GOOD)
def test_a_good_request_is_answered(guarded: Guarded, path: str) -> None:
    answer = post(guarded, path, GOOD[path])
    assert answer.status_code == 200, answer.text


def post(guarded: Guarded, path: str, body: dict[str, Any]) -> requests.Response:
    return requests.post(guarded.url + path, json=body, headers=guarded.headers, timeout=PATIENCE_SECONDS)
