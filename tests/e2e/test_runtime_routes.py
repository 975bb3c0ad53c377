"""Which routes of real vLLM answer to whom: the front's table against vLLM's own, every route and method without a key,
tricks with single bytes, and requests made from the schema.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import hypothesis
import pytest
import schemathesis
from prometheus_client.parser import text_string_to_metric_families

from llmservice_contract.keys import Role
from llmservice_contract.policy import Caps, Policy
from llmservice_runtime.front.routes import ROUTES, Access
from support.access import AccessFiles
from support.engine import READY_SECONDS, ROOT, Engine, make_model, vllm_python
from support.raw_http import request, statuses
from support.tricks import MODELS, STRANGER, WEBSOCKET, tricks

PUBLIC = {"GET /health", "GET /ping", "GET /metrics", "GET /ready"}
OWN = {"POST /v1/batch", "GET /ready", "POST /drain"}
WITHOUT_ITS_SDK = {"POST /cohere/v2/chat", "POST /cohere/v2/chat/render"}
"""vLLM registers them where a package is installed that no image has."""
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "WEBSOCKET")
FROM_ELSEWHERE = "X-Forwarded-For"
"""With it a request of this machine is none of the same pod."""
EXAMPLES = 20
"""Of each route."""
ID = re.compile(r"\{\w+\}")
NOT_FOR_THIS_MODEL = {"/v1/systemone"}
"""vLLM says 501 where a model makes no structured decisions, as the small one does not."""


@dataclass(frozen=True)
class Guarded:
    """An engine that asks for keys, and what vLLM says of the app that it runs."""

    engine: Engine
    app: dict[str, Any]
    client: str
    admin: str

    def status(self, row: str, key: str | None = None) -> int:
        """Of one request for a row of the table; 0: there was no answer."""
        method, path = row.replace("{id}", "x1").split(" ")
        headers = [f"{FROM_ELSEWHERE}: 10.0.0.1", *([f"Authorization: Bearer {key}"] if key else [])]
        if method == "WEBSOCKET":
            sent = request(path, *headers, *WEBSOCKET)
        else:
            sent = request(path, *headers, "Connection: close", "Content-Length: 0", method=method)
        return next(iter(self.speak(sent)), 0)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.engine.port}"

    def models(self, key: str) -> bytes:
        """A request for the list of models with this key."""
        return request(MODELS, f"Authorization: Bearer {key}", "Connection: close")

    def speak(self, sent: bytes) -> list[int]:
        """The statuses of all answers to these bytes."""
        return statuses(self.engine.port, sent)

    def reached(self) -> dict[tuple[str, str], float]:
        """How many requests vLLM's own app has answered, by its route and status; it counts none of public ones."""
        families = text_string_to_metric_families(self.engine.metrics())
        return {
            (each.labels["handler"], each.labels["status"]): each.value
            for family in families
            for each in family.samples
            if each.name == "http_requests_total"
        }


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    directory = tmp_path_factory.mktemp("guarded")
    access = AccessFiles(directory, Policy(requireKeys=True, caps=Caps(maxTokens=8, n=2, prompts=4)))
    client, admin = access.make_key(), access.make_key(role=Role.ADMIN)
    model = make_model(directory / "tiny")
    with Engine(directory, model, MAX_CONTEXT_LENGTH="512", **access.environ) as engine:
        app = app_of(engine)
        engine.wait_until_ready()
        yield Guarded(engine, app, client, admin)


def app_of(engine: Engine) -> dict[str, Any]:
    """What vLLM's own build_app registers, with the engine's settings and with others."""
    script = [vllm_python(), "-P", ROOT / "tests" / "support" / "vllm_app.py"]
    done = subprocess.run(script, env=engine.environ, capture_output=True, text=True, timeout=READY_SECONDS)
    assert done.returncode == 0, done.stderr[-4000:]
    app: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return app


def test_the_table_is_vllms_own(guarded: Guarded) -> None:
    registered = set(guarded.app["routes"])
    assert sorted(registered - set(ROUTES)) == [], "routes of vLLM that the table lacks"
    assert sorted(set(ROUTES) - registered - WITHOUT_ITS_SDK) == [], "rows that are no route of vLLM's"
    assert registered > OWN
    assert guarded.app["mounts"] == ["/metrics", "/static"]


def test_without_a_key_only_the_public_answer(guarded: Guarded) -> None:
    paths = {row.partition(" ")[2] for row in {*guarded.app["routes"], *ROUTES}} | {"/static", "/"}
    rows = sorted(f"{method} {path}" for path in paths for method in METHODS)
    with ThreadPoolExecutor(4) as clients:
        answers = dict(zip(rows, clients.map(guarded.status, rows), strict=True))
    expected = {row: {401} for row in rows} | {"POST /drain": {403}}
    expected |= {row: {200} for row in PUBLIC} | {row.replace("GET", "HEAD"): {200, 405} for row in PUBLIC}
    assert {row: status for row, status in answers.items() if status not in expected[row]} == {}


def test_a_clients_key_opens_the_api_and_no_admin_route(guarded: Guarded) -> None:
    admins = [row for row, route in ROUTES.items() if route.access is Access.ADMIN]
    with ThreadPoolExecutor(4) as clients:
        answers = dict(zip(admins, clients.map(lambda row: guarded.status(row, guarded.client), admins), strict=True))
    assert {row: status for row, status in answers.items() if status != 403} == {}
    assert guarded.status("GET /v1/models", guarded.client) == 200
    assert guarded.status("GET /version", guarded.admin) == 200, "what is refused is there"
    assert guarded.status("POST /drain", guarded.admin) == 403, "for the same pod alone, whoever asks"


@dataclass(frozen=True)
class Seen:
    """What came of the tricks."""

    answers: dict[str, list[int]]
    before: dict[tuple[str, str], float]
    after: dict[tuple[str, str], float]


@pytest.fixture(scope="module")
def seen(guarded: Guarded) -> Seen:
    """All tricks at once: the server waits some seconds before it closes a connection."""
    every, before = tricks(), guarded.reached()
    with ThreadPoolExecutor(len(every)) as clients:
        answers = clients.map(lambda each: guarded.speak(each.sent), every.values())
        return Seen(dict(zip(every, answers, strict=True)), before, guarded.reached())


@pytest.mark.parametrize("name", tricks())
def test_no_trick_stands_for_a_key(seen: Seen, name: str) -> None:
    answers = seen.answers[name]
    others = [status for status in answers if status != 200]
    assert len(answers) - len(others) <= tricks()[name].public, answers
    assert all(400 <= status < 500 for status in others), answers


def test_no_trick_reaches_vllm(guarded: Guarded, seen: Seen) -> None:
    assert seen.after == seen.before
    assert sum(map(bool, seen.answers.values())) > len(seen.answers) / 2, "most are answered, not dropped"
    assert guarded.speak(guarded.models(guarded.client)) == [200], "it still serves"
    assert guarded.reached() != seen.after, "what reaches it is counted"


@pytest.mark.parametrize("beside", ["", "Bearer ", "Basic YTpi", f"Bearer {STRANGER}"])
def test_a_key_beside_something_else_is_none(guarded: Guarded, beside: str) -> None:
    for values in ((beside, f"Bearer {guarded.client}"), (f"Bearer {guarded.client}", beside)):
        headers = [f"Authorization: {value}" for value in values]
        assert guarded.speak(request(MODELS, *headers, "Connection: close")) == [401]


@pytest.fixture(scope="module")
def api(guarded: Guarded) -> Any:
    """The routes for clients, as the schema of the running app has them."""
    openapi = guarded.app["openapi"]
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
    answer = case.call(base_url=guarded.url, headers={"Authorization": f"Bearer {guarded.client}"}, timeout=60)
    if case.path in NOT_FOR_THIS_MODEL and answer.status_code == 501:
        return
    assert answer.status_code < 500, answer.text
