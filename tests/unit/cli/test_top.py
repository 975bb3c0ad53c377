"""`kubectl llm top`, as a person meets it. The pages are of a real vLLM with its runtime, 5 s apart: 12 requests of 64
tokens ended in between, and others went on.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from builders.pods import a_pod
from llmservice_operator.cli.top import engines
from llmservice_operator.cli.top.figures import figures, read
from llmservice_operator.cli.top.prometheus import Prometheus
from support.fake_api import refusal
from support.prometheus import Answer, FakePrometheus
from unit.cli.conftest import Done, Terminal

RECORDED = Path(__file__).parents[2] / "fixtures" / "metrics"
BEFORE, AFTER = ((RECORDED / f"{name}.txt").read_text() for name in ("before", "after"))
TOKENS = 591
"""Generated between the two."""
COST = {"currency": "EUR", "perHour": "4.98"}


def top(terminal: Terminal, line: str = "") -> Done:
    return terminal.run(f"top {line}", group=())


def with_metrics_port(pod: dict[str, Any]) -> dict[str, Any]:
    """As the operator makes its pods."""
    ports = [{"name": "http", "containerPort": 8000}, {"name": "metrics", "containerPort": 8002}]
    pod["spec"]["containers"][0]["ports"] = ports
    return pod


def reported(*pages: str | tuple[int, Any]) -> Callable[[], str | tuple[int, Any]]:
    """One page after the other, and then the last one for ever."""
    rest: Iterable[str | tuple[int, Any]] = itertools.chain(pages, itertools.repeat(pages[-1]))
    iterator = iter(rest)
    return lambda: next(iterator)


def service(
    terminal: Terminal, name: str = "chat", namespace: str = "team-a", *, engines: int = 1, **status: Any
) -> None:
    """A service with so many engines, each of which tells both pages."""
    around = terminal.api.around = terminal.api.around or {"pods": []}
    pods = around["pods"]
    assert isinstance(pods, list)
    for number in range(engines):
        pod = with_metrics_port(a_pod(f"{name}-{number}", namespace).ready().build())
        pods.append(pod)
        terminal.api.texts[f"pods/{name}-{number}:8002/proxy/metrics"] = reported(BEFORE, AFTER)
    terminal.api.place(
        "LLMService", namespace, name, spec={"replicas": engines}, status={"readyReplicas": engines, **status}
    )


def test_live_figures_of_an_engine_with_its_cost(terminal: Terminal) -> None:
    service(terminal, cost=COST)
    done = top(terminal)
    assert (done.status, done.err) == (0, "")
    assert done.out.splitlines() == [
        "NAME   READY   REQ/S   TOK/S   TTFT P50/P99   ITL P50/P99   KV   RUN/WAIT   COST/H     COST/MTOK",
        "chat   1/1     2.4     118     65ms/80ms      35ms/201ms    0%   1/0        EUR 4.98   EUR 11.70",
    ]
    assert terminal.waits == [5]


def test_engines_of_a_service_count_together(terminal: Terminal) -> None:
    service(terminal, engines=3)
    (row,) = top(terminal, "-o json").json["items"]
    assert row["requestsPerSecond"] == pytest.approx(3 * 12 / 5)
    assert row["generatedTokensPerSecond"] == pytest.approx(3 * TOKENS / 5, rel=0.001)
    assert row["timeToFirstToken"]["p99"] == pytest.approx(0.0797, abs=1e-4)
    assert (row["requestsRunning"], row["cost"]) == (3, None)


def test_what_is_not_known_is_no_zero(terminal: Terminal) -> None:
    service(terminal, engines=0)
    assert top(terminal).out.splitlines()[1] == "chat   0/0     -       -       -              -             -    -"
    (row,) = top(terminal, "-o json").json["items"]
    assert row["requestsPerSecond"] is None and row["timeToFirstToken"] is None


def test_an_engine_that_started_anew_in_between_counts_for_nothing_per_second(terminal: Terminal) -> None:
    service(terminal)
    terminal.api.texts["pods/chat-0:8002/proxy/metrics"] = reported(AFTER, BEFORE)
    (row,) = top(terminal, "-o json").json["items"]
    assert row["requestsPerSecond"] is None
    assert row["requestsRunning"] == 6


def test_a_silent_engine_is_named_and_the_others_are_shown(terminal: Terminal) -> None:
    service(terminal, engines=2)
    away = refusal(503, "error trying to reach service: dial tcp 10.0.0.1:8002: connect: connection refused")
    terminal.api.texts["pods/chat-1:8002/proxy/metrics"] = reported(away)
    done = top(terminal)
    assert "chat   2/2     2.4" in done.out
    assert "No metrics: " in done.err and "pod chat-1:8002 in namespace team-a" in done.err
    assert "--prometheus URL" in done.err


def test_who_may_not_reach_the_pods_is_told_what_to_ask_for(terminal: Terminal) -> None:
    service(terminal)
    terminal.api.texts["pods/chat-0:8002/proxy/metrics"] = reported(refusal(403, "forbidden", "Forbidden"))
    done = top(terminal)
    assert (done.status, done.out) == (1, "")
    assert "the permission to `get` pods/proxy in that namespace" in done.err
    assert "--prometheus URL needs no such permission" in done.err


def test_a_pod_that_an_older_operator_made_is_asked_at_its_http_port(terminal: Terminal) -> None:
    service(terminal)
    around = terminal.api.around
    assert around is not None
    del around["pods"][0]["spec"]["containers"][0]["ports"][1]  # type: ignore[index]
    terminal.api.texts = {"pods/chat-0:8000/proxy/metrics": reported(BEFORE, AFTER)}
    assert "chat   1/1     2.4" in top(terminal).out


def test_all_namespaces_one_service_and_none(terminal: Terminal) -> None:
    service(terminal)
    service(terminal, "code", "team-b")
    names = [line.split()[:2] for line in top(terminal, "-A").out.splitlines()[1:]]
    assert names == [["team-a", "chat"], ["team-b", "code"]]
    calls = terminal.api.calls
    calls.clear()
    assert "code" not in top(terminal, "chat").out
    assert sum(call.startswith("get Pod/proxy/metrics") for call in calls) == 2
    assert top(terminal, "nosuch").status == 1
    assert "There is no LLMService in namespace team-c." in top(terminal, "-n team-c").err


def test_too_many_engines_are_not_asked_through_the_api_server(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "MOST_ENGINES", 2)
    service(terminal, engines=3)
    done = top(terminal)
    assert done.status == 1
    assert "3 engines run there" in done.err
    assert not any(call.startswith("get Pod/proxy/metrics") for call in terminal.api.calls)


def test_watching_goes_on_until_it_is_interrupted_and_costs_one_look_each(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    service(terminal)
    shown: list[str] = []

    def give(text: str) -> None:
        shown.append(text)
        if len(shown) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules["llmservice_operator.cli.top"], "give_screen", give)
    done = top(terminal, "-w --interval 2")
    assert (done.status, done.err) == (0, "")
    assert terminal.waits == [2, 2, 2]
    assert sum(call.startswith("get Pod/proxy/metrics") for call in terminal.api.calls) == 4
    assert "2.4" not in shown[1], "nothing ended between the second look and the third"


def test_prometheus_gives_the_same_figures_without_a_right_to_pods(terminal: Terminal) -> None:
    terminal.api.place("LLMService", "team-a", "chat", spec={"replicas": 3}, status={"readyReplicas": 3})
    with FakePrometheus() as prometheus:
        prometheus.set(
            "team-a", "chat", ttft={50: 0.2, 99: 1.5}, itl=0.03, running=3, waiting=1, finished=2.5, generated=80
        )
        share = Prometheus(prometheus.url, "team-a", "", 60).kv_cache
        prometheus.plain[share] = None
        done = top(terminal, f"--prometheus {prometheus.url}")
    assert done.out.splitlines()[1] == "chat   3/3     2.5     80.0    200ms/1.5s     30ms/30ms     -    3/1"
    assert terminal.waits == []


def test_no_prometheus_there(terminal: Terminal) -> None:
    with FakePrometheus() as prometheus:
        prometheus.answer = Answer(404, b"no")
        assert f"there is no Prometheus at {prometheus.url}" in top(terminal, f"--prometheus {prometheus.url}").err
    assert "can't be reached" in top(terminal, f"--prometheus {prometheus.url}").err


@pytest.mark.parametrize("line", ["--interval 0", "--interval x", "--prometheus localhost:9090", "-o yaml", "a b"])
def test_lines_that_make_no_sense(terminal: Terminal, line: str) -> None:
    with pytest.raises(SystemExit) as left:
        top(terminal, line)
    assert left.value.code == 2


def test_one_service_of_all_namespaces_is_refused(terminal: Terminal) -> None:
    assert "a service is in one namespace" in top(terminal, "chat -A").err


def test_a_page_without_requests_has_rates_of_zero_and_no_percentiles() -> None:
    page = read(BEFORE, 0.0)
    found = figures([(page, read(BEFORE, 5.0))])
    assert (found.requests_per_second, found.tokens_per_second) == (0, 0)
    assert (found.first_token, found.between_tokens) == ({}, {})
