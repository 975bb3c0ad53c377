"""The reader against a Prometheus that is well, slow, broken, or another program."""

import asyncio
import base64
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmservice_operator import metrics
from llmservice_operator.autoscaling import metrics_unavailable
from llmservice_operator.autoscaling.latency import Latency
from llmservice_operator.autoscaling.metrics_unavailable import MetricsUnavailable
from llmservice_operator.autoscaling.prometheus_queries import BOUNDS
from llmservice_operator.autoscaling.signals import Owned, Reading
from llmservice_operator.config.scaling import PrometheusSettings
from llmservice_operator.controller.prometheus.client import Prometheus
from support.prometheus import Answer, FakePrometheus

CHAT = ("team", "chat")
TOKEN = "a-token-that-is-secret"


@pytest.fixture
def fake() -> Iterator[FakePrometheus]:
    with FakePrometheus() as prometheus:
        yield prometheus


async def read(prometheus: FakePrometheus, **settings: Any) -> Reading:
    return await Prometheus(PrometheusSettings(url=prometheus.url, **settings)).read()


async def gap(prometheus: FakePrometheus, **settings: Any) -> MetricsUnavailable:
    """The same in two readings: it goes into a condition."""
    first, second = await read(prometheus, **settings), await read(prometheus, **settings)
    assert first.gap is not None
    assert (first.signals, first.gaps) == ({}, {})
    assert first == second
    return first.gap


async def test_what_was_measured_is_read(fake: FakePrometheus) -> None:
    fake.set(*CHAT, ttft=0.25, itl={50: 0.02, 90: 0.03, 95: 0.03, 99: 0.08}, running=3, waiting=1, finished=2.5, pods=2)
    found = (await read(fake)).signals[CHAT]
    assert found.latencies[Latency.TIME_TO_FIRST_TOKEN] == pytest.approx({50: 0.25, 90: 0.25, 95: 0.25, 99: 0.25})
    assert found.latencies[Latency.INTER_TOKEN_LATENCY] == pytest.approx({50: 0.02, 90: 0.03, 95: 0.03, 99: 0.08})
    assert Latency.REQUEST_LATENCY not in found.latencies
    assert (found.running, found.waiting, found.finished_per_second, found.pods) == (3, 1, 2.5, 2)


async def test_a_proxy_is_asked_for_a_prometheus_that_only_it_knows(fake: FakePrometheus) -> None:
    fake.set(*CHAT, running=3)
    elsewhere = PrometheusSettings(url="http://prometheus.corp.example:9090")
    assert (await Prometheus(elsewhere).read()).gap is not None
    found = await Prometheus(elsewhere.model_copy(update={"proxy": fake.url})).read()
    assert found.gap is None, found.gap
    assert found.signals[CHAT].running == 3
    assert {request.headers["host"] for request in fake.requests} == {"prometheus.corp.example:9090"}


async def test_no_proxy_of_the_environment_is_asked(fake: FakePrometheus, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert (await read(fake)).gap is None


async def test_queries_are_six_however_many_services_and_all_for_one_moment(fake: FakePrometheus) -> None:
    for number in range(50):
        fake.set("team", f"chat-{number}", running=number)
    counted = metrics.PROMETHEUS_QUERIES._value.get()
    begun = time.time()
    found = await read(fake)
    assert len(found.signals) == 50
    assert fake.queries == 6
    assert metrics.PROMETHEUS_QUERIES._value.get() - counted == 6
    assert len({request.form["time"] for request in fake.requests}) == 1
    assert begun - 1 <= float(fake.requests[0].form["time"]) <= time.time() + 1
    assert {request.method for request in fake.requests} == {"POST"}


async def test_what_nobody_has_a_target_for_is_asked_once_a_window(fake: FakePrometheus) -> None:
    clock = [1000.0]
    reader = Prometheus(PrometheusSettings(url=fake.url, window_seconds=60), now=lambda: clock[0])

    async def look() -> tuple[set[str], Reading]:
        before = len(fake.requests)
        found = await reader.read({Latency.INTER_TOKEN_LATENCY})
        return {request.name for request in fake.requests[before:]} & {latency.value for latency in Latency}, found

    fake.set(*CHAT, ttft=0.1, itl=0.01, e2e=1.0, running=1, finished=1)
    everything = {latency.value for latency in Latency}
    assert (await look())[0] == everything
    fake.set(*CHAT, ttft=0.2, itl=0.02, e2e=2.0, running=1, finished=1)
    for clock[0] in (1015.0, 1030.0, 1045.0):
        asked, found = await look()
        assert asked == {"timeToFirstToken", "interTokenLatency"}
        medians = {latency: by[50] for latency, by in found.signals[CHAT].latencies.items()}
        assert medians == pytest.approx(dict(zip(Latency, (0.2, 0.02, 1.0), strict=True)), rel=0.01)
    clock[0] = 1060.0
    asked, found = await look()
    assert asked == everything
    assert found.signals[CHAT].latencies[Latency.REQUEST_LATENCY][50] == pytest.approx(2.0, rel=0.01)
    clock[0] = 900.0  # the clock was set back
    assert (await look())[0] == everything


async def test_labels_window_and_matchers_are_the_platforms(fake: FakePrometheus) -> None:
    fake.set(*CHAT, running=1)
    found = await read(
        fake, namespace_label="kubernetes_ns", pod_label="kubernetes_pod", matchers='cluster="a"', window_seconds=90
    )
    assert found.signals[CHAT].running == 1
    assert all('cluster="a"' in request.form["query"] for request in fake.requests)


async def test_stale_and_unlabelled_series_are_told_apart(fake: FakePrometheus) -> None:
    fake.set(*CHAT, stale=True)
    fake.set("team", "well", running=1)
    fake.unmatched = {"job": "vllm", "instance": '10.0.0.7:8000"'}
    found = await read(fake)
    assert found.gap is None
    assert set(found.signals) == {("team", "well")}
    assert found.gaps[CHAT].reason == metrics_unavailable.STALE_SERIES
    assert "team/chat-0" in found.gaps[CHAT].message
    assert [each.labels for each in found.unmatched] == [r'{instance="10.0.0.7:8000\"", job="vllm"}']


@pytest.mark.parametrize("field", ["ttft", "itl", "e2e", "running", "waiting", "finished"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
async def test_no_number_is_a_gap_of_that_service_alone(fake: FakePrometheus, field: str, value: float) -> None:
    fake.set(*CHAT, **{field: value})
    fake.set("team", "well", running=1)
    found = await read(fake)
    assert found.gaps[CHAT].reason == metrics_unavailable.NOT_A_NUMBER
    assert set(found.signals) == {("team", "well")}


async def test_without_a_url_the_chart_value_to_set_is_named() -> None:
    found = (await Prometheus(PrometheusSettings()).read()).gap
    assert found is not None
    assert found.reason == metrics_unavailable.NO_PROMETHEUS
    assert "scaling.prometheus.url" in found.message


async def test_nobody_listens(fake: FakePrometheus) -> None:
    fake.stop()
    found = await gap(fake)
    assert found.reason == metrics_unavailable.PROMETHEUS_UNREACHABLE
    assert found.message == f"Prometheus at {fake.url} can't be reached: connection refused"
    fake.start()
    assert (await read(fake)).gap is None


async def test_a_name_without_an_address() -> None:
    found = (await Prometheus(PrometheusSettings(url="http://prometheus.invalid:9090")).read()).gap
    assert found is not None
    assert found.reason == metrics_unavailable.PROMETHEUS_UNREACHABLE
    assert "can't be resolved" in found.message


async def test_a_slow_prometheus_is_left_after_the_limit(fake: FakePrometheus) -> None:
    fake.delay = 60
    found = await Prometheus(PrometheusSettings(url=fake.url, timeout_seconds=0.2)).read()
    assert found.gap is not None, "it waited for the answer"
    assert found.gap.reason == metrics_unavailable.PROMETHEUS_TIMEOUT
    assert "within 0.2 s" in found.gap.message
    assert {request.form["timeout"] for request in fake.requests} == {"0.2"}


GOOD = b'{"status":"success","data":{"resultType":"vector","result":[]}}'


@pytest.mark.parametrize(
    ("answer", "reason", "says"),
    [
        (Answer(200, b"<html>Sign in</html>"), metrics_unavailable.PROMETHEUS_UNREACHABLE, "not JSON"),
        (Answer(200, GOOD[:40]), metrics_unavailable.PROMETHEUS_UNREACHABLE, "not JSON"),
        (Answer(200, b"[" * 100_000), metrics_unavailable.PROMETHEUS_UNREACHABLE, "not JSON"),
        (Answer(200, b"[]"), metrics_unavailable.PROMETHEUS_UNREACHABLE, "not in the format of the Prometheus API"),
        (
            Answer(200, b'{"status":"success"}'),
            metrics_unavailable.PROMETHEUS_UNREACHABLE,
            "not in the format of the Prometheus API",
        ),
        (
            Answer(200, GOOD.replace(b"[]", b'[{"metric":{},"value":[1]}]')),
            metrics_unavailable.PROMETHEUS_UNREACHABLE,
            "not in the format of the Prometheus API",
        ),
        (
            Answer(200, GOOD.replace(b"[]", b'[{"metric":{},"value":[1,"x"]}]')),
            metrics_unavailable.PROMETHEUS_UNREACHABLE,
            "not in the format of the Prometheus API",
        ),
        (Answer(200, GOOD.replace(b"vector", b"matrix")), metrics_unavailable.PROMETHEUS_UNREACHABLE, "not a vector"),
        (
            Answer(200, GOOD[:-1] + b',"warnings":["store 1 is gone"]}'),
            metrics_unavailable.PROMETHEUS_UNREACHABLE,
            "store 1 is gone",
        ),
        (Answer(200, GOOD[:-1] + b',"isPartial":true}'), metrics_unavailable.PROMETHEUS_UNREACHABLE, "incomplete"),
        (
            Answer(200, GOOD, {"Content-Length": "5000"}),
            metrics_unavailable.PROMETHEUS_UNREACHABLE,
            "before the response is complete",
        ),
        (Answer(500, b"oops"), metrics_unavailable.PROMETHEUS_UNREACHABLE, "returns status 500: oops"),
        (
            Answer(502, b"<html><h1>Bad gateway</h1></html>"),
            metrics_unavailable.PROMETHEUS_UNREACHABLE,
            "returns status 502",
        ),
        (Answer(404, b"404 page not found"), metrics_unavailable.PROMETHEUS_UNREACHABLE, "the URL without /api/v1"),
        (
            Answer(302, b"", {"Location": "https://u:p@sso/login?state=1"}),
            metrics_unavailable.PROMETHEUS_UNREACHABLE,
            "redirects to https://sso/login",
        ),
        (Answer(401, b"Unauthorized"), metrics_unavailable.PROMETHEUS_REFUSED, "scaling.prometheus.tokenSecret"),
        (Answer(403, b"no tenant"), metrics_unavailable.PROMETHEUS_REFUSED, "no tenant"),
        (
            Answer(400, b'{"status":"error","errorType":"bad_data","error":"parse error: unexpected\\n<EOF>"}'),
            metrics_unavailable.PROMETHEUS_REFUSED,
            "returns status 400: parse error: unexpected <EOF>",
        ),
        (
            Answer(422, b'{"status":"error","errorType":"execution","error":"%s"}' % (b"too many samples " * 100)),
            metrics_unavailable.PROMETHEUS_REFUSED,
            "too many samples",
        ),
        (
            Answer(200, b'{"status":"error","errorType":"execution","error":"no"}'),
            metrics_unavailable.PROMETHEUS_REFUSED,
            ": no",
        ),
        (
            Answer(503, b'{"status":"error","errorType":"timeout","error":"query timed out in 1.23 s"}'),
            metrics_unavailable.PROMETHEUS_TIMEOUT,
            "within 10 s",
        ),
    ],
)
async def test_each_wrong_answer_says_what_is_wrong(
    fake: FakePrometheus, answer: Answer, reason: str, says: str
) -> None:
    fake.set(*CHAT, running=1)
    fake.answer = answer
    found = await gap(fake)
    assert found.reason == reason
    assert says in found.message
    assert len(found.message) < 500
    assert found.message.isprintable()


async def test_one_query_that_fails_spoils_the_reading(fake: FakePrometheus) -> None:
    fake.set(*CHAT, running=1)
    fake.answers["requestLatency"] = Answer(500, b"oops")
    assert (await gap(fake)).reason == metrics_unavailable.PROMETHEUS_UNREACHABLE


async def test_an_answer_without_end_is_cut(fake: FakePrometheus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmservice_operator.controller.prometheus.client.LONGEST", 1 << 20)
    fake.answer = Answer(200, b" " * (3 << 20))
    assert "longer than 1 MiB" in (await gap(fake)).message


def owned(*names: tuple[str, str]) -> Owned:
    """Services of one replica each."""
    return {name: {f"{name[1]}-0": frozenset()} for name in names}


MANY = [(f"team-{number:03}", "chat") for number in range(100)]
TOO_LONG = Answer(200, b" " * (2 << 20))
TOO_MANY = Answer(
    422, b'{"status":"error","errorType":"execution","error":"query processing would load too many samples"}'
)


@pytest.mark.parametrize("answer", [TOO_LONG, TOO_MANY], ids=["too-long", "too-many-samples"])
async def test_a_namespace_with_too_many_series_is_a_gap_there_alone(
    fake: FakePrometheus, monkeypatch: pytest.MonkeyPatch, answer: Answer
) -> None:
    monkeypatch.setattr("llmservice_operator.controller.prometheus.client.LONGEST", 1 << 20)
    for name in MANY:
        fake.set(*name, running=1, finished=1)
    fake.crowded = {"team-007": answer, "team-042": answer}
    reader = Prometheus(PrometheusSettings(url=fake.url))
    found = await reader.read(owned=owned(*MANY))
    assert found.gap is None
    assert set(found.gaps) == {("team-007", "chat"), ("team-042", "chat")}
    assert {gap.reason for gap in found.gaps.values()} == {metrics_unavailable.METRICS_INVALID}
    assert "team-007" in found.gaps["team-007", "chat"].message
    assert set(found.signals) == set(MANY) - set(found.gaps)
    for _ in range(3):
        before = fake.queries
        again = await reader.read(owned=owned(*MANY))
        assert again == found
        assert fake.queries - before <= 6, "the search is over"


async def test_series_of_a_namespace_without_services_stop_nobody(
    fake: FakePrometheus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmservice_operator.controller.prometheus.client.LONGEST", 1 << 20)
    fake.set(*CHAT, running=1, finished=1)
    fake.crowded = {"evil": TOO_LONG}
    reader = Prometheus(PrometheusSettings(url=fake.url))
    assert set((await reader.read(owned=owned(CHAT))).signals) == {CHAT}
    before = fake.queries
    assert set((await reader.read(owned=owned(CHAT))).signals) == {CHAT}
    assert fake.queries - before <= 6


async def test_a_namespace_that_was_left_out_is_asked_for_again(
    fake: FakePrometheus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmservice_operator.controller.prometheus.client.LEFT_OUT_SECONDS", 0.0)
    for name in MANY:
        fake.set(*name, running=1, finished=1)
    fake.crowded = {"team-007": TOO_MANY}
    reader = Prometheus(PrometheusSettings(url=fake.url))
    assert ("team-007", "chat") in (await reader.read(owned=owned(*MANY))).gaps
    fake.crowded = {}
    found = await reader.read(owned=owned(*MANY))
    assert set(found.signals) == set(MANY)


async def test_a_prometheus_that_refuses_everything_is_everybodys_gap_and_not_searched_again(
    fake: FakePrometheus,
) -> None:
    fake.crowded = {name[0]: TOO_MANY for name in MANY}
    reader = Prometheus(PrometheusSettings(url=fake.url))
    found = await reader.read(owned=owned(*MANY))
    assert found.gap is not None
    assert found.gap.reason == metrics_unavailable.PROMETHEUS_REFUSED
    assert fake.queries < 6 * 80, "the search is bounded"
    before = fake.queries
    assert (await reader.read(owned=owned(*MANY))).gap == found.gap
    assert fake.queries - before == 6
    fake.crowded = {}
    for name in MANY:
        fake.set(*name, running=1)
    assert set((await reader.read(owned=owned(*MANY))).signals) == set(MANY)


async def test_a_search_ends_in_time_and_the_next_look_goes_on(
    fake: FakePrometheus, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in MANY:
        fake.set(*name, running=1, finished=1)
    fake.crowded = {"team-007": TOO_MANY}
    monkeypatch.setattr("llmservice_operator.controller.prometheus.client.SEARCH_SECONDS", 0.0)
    found = await Prometheus(PrometheusSettings(url=fake.url)).read(owned=owned(*MANY))
    assert found.gap is not None
    assert found.gap.reason == metrics_unavailable.PROMETHEUS_REFUSED
    assert fake.queries == 6


async def test_pods_without_series_are_asked_for_with_one_more_query(fake: FakePrometheus) -> None:
    fake.set("team", "well", running=1)
    fake.up = {("team", "failing-0"): 0.0, ("team", "failing-1"): 1.0, ("team", "dropped-0"): 1.0}
    names = [("team", name) for name in ("well", "failing", "dropped", "unknown")]
    reader = Prometheus(PrometheusSettings(url=fake.url, matchers='cluster="a"'))
    found = await reader.read(owned={**owned(*names), ("team", "empty"): {}})
    assert found.scraped == {("team", "failing"): False, ("team", "dropped"): True}
    assert fake.queries == 7
    query = fake.requests[-1].form["query"]
    assert 'cluster="a"' in query and "failing" in query
    assert "well" not in query and "empty" not in query
    fake.set("team", "failing", running=1)
    fake.set("team", "dropped", running=1)
    fake.set("team", "unknown", running=1)
    await reader.read(owned=owned(*names))
    assert fake.queries == 7 + 6, "no further query if all have series"


async def test_a_question_about_scrapes_that_is_not_answered_harms_nothing(fake: FakePrometheus) -> None:
    fake.set("team", "well", running=1)
    fake.up = {("team", "x" * 100_000): 1.0}
    found = await Prometheus(PrometheusSettings(url=fake.url)).read(owned=owned(("team", "well"), CHAT))
    assert found.gap is None
    assert (set(found.signals), found.scraped) == ({("team", "well")}, {})


@pytest.mark.parametrize(
    "answer",
    [Answer(503, b"no healthy upstream"), Answer(200, b'{"status":"success","data":{}}'), TOO_LONG],
    ids=["not-answered", "makes-no-sense", "too-long"],
)
async def test_a_question_that_only_messages_need_stops_no_reading(fake: FakePrometheus, answer: Answer) -> None:
    fake.set(*CHAT, running=1)
    fake.answers["unmatched"] = answer
    found = await read(fake)
    assert (found.gap, set(found.signals), found.unmatched) == (None, {CHAT}, ())


async def test_a_series_whose_labels_are_long_is_left_unsaid(fake: FakePrometheus) -> None:
    fake.set(*CHAT, running=1)
    fake.unmatched = {"job": "x" * (1 << 20)}
    found = await read(fake)
    assert set(found.signals) == {CHAT}
    assert found.unmatched == ()


async def test_pods_of_nobody_are_their_services_gap(fake: FakePrometheus) -> None:
    fake.set(*CHAT, running=1, pods=2)
    fake.set("team", "well", running=1)
    found = await Prometheus(PrometheusSettings(url=fake.url)).read(owned=owned(CHAT, ("team", "well")))
    assert set(found.signals) == {("team", "well")}
    assert "team/chat-1" in found.gaps[CHAT].message


async def test_a_redirect_is_not_followed(fake: FakePrometheus) -> None:
    with FakePrometheus() as elsewhere:
        fake.answer = Answer(307, b"", {"Location": f"{elsewhere.url}/api/v1/query"})
        assert "redirects are not followed" in (await gap(fake)).message
        assert elsewhere.queries == 0


async def test_token_and_headers_are_sent_and_the_token_may_change(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("old-token")
    with FakePrometheus(token=TOKEN, headers={"X-Scope-OrgID": "team"}, path="/tenant/prom") as fake:
        fake.set(*CHAT, running=1)
        settings = PrometheusSettings(url=fake.url, token_file=file, headers={"X-Scope-OrgID": "team"})
        reader = Prometheus(settings)
        assert (await reader.read()).gap == MetricsUnavailable(
            metrics_unavailable.PROMETHEUS_REFUSED,
            f"Prometheus at {fake.url} returns status 401: Unauthorized. Check the operator's credentials and tenant: "
            "scaling.prometheus.tokenSecret, basicAuthSecret, clientCertificateSecret and headers (the tenant, such as "
            "X-Scope-OrgID)",
        )
        file.write_text(f"{TOKEN}\n")
        assert (await reader.read()).signals[CHAT].running == 1


async def test_user_and_password_are_sent_and_the_password_may_change(tmp_path: Path) -> None:
    """As Grafana Cloud and many proxies want it."""
    user, password = tmp_path / "username", tmp_path / "password"
    user.write_text("1234\n")
    password.write_text("old-password")
    login = base64.b64encode(b"1234:a:new password").decode()
    with FakePrometheus(headers={"Authorization": f"Basic {login}"}) as fake:
        fake.set(*CHAT, running=1)
        reader = Prometheus(PrometheusSettings(url=fake.url, username_file=user, password_file=password))
        refused = (await reader.read()).gap
        assert refused is not None and refused.reason == metrics_unavailable.PROMETHEUS_REFUSED
        assert "basicAuthSecret" in refused.message
        password.write_text("a:new password")
        assert (await reader.read()).signals[CHAT].running == 1


@pytest.mark.parametrize("echo", ["a-long-password", base64.b64encode(b"team:a-long-password").decode()])
async def test_no_text_holds_a_password(fake: FakePrometheus, tmp_path: Path, echo: str) -> None:
    user, password = tmp_path / "username", tmp_path / "password"
    user.write_text("team")
    password.write_text("a-long-password")
    fake.answer = Answer(403, f"{echo} may not".encode())
    found = await gap(fake, username_file=user, password_file=password)
    assert "may not" in found.message and echo not in found.message


@pytest.mark.parametrize(("user", "password"), [("", "p"), ("a:b", "p"), ("team", ""), ("team", "two\nlines")])
async def test_a_useless_user_or_password_is_not_sent(
    fake: FakePrometheus, tmp_path: Path, user: str, password: str
) -> None:
    files = tmp_path / "username", tmp_path / "password"
    for file, text in zip(files, (user, password), strict=True):
        file.write_text(text)
    found = await gap(fake, username_file=files[0], password_file=files[1])
    assert str(tmp_path) in found.message
    assert fake.queries == 0


def answered(*rows: str, **more: Any) -> Answer:
    """An answer with these rows of JSON."""
    tail = "".join(f',"{name}":{json.dumps(value)}' for name, value in more.items())
    return Answer(
        200, f'{{"status":"success","data":{{"resultType":"vector","result":[{",".join(rows)}]}}{tail}}}'.encode()
    )


@pytest.mark.parametrize(
    "warning",
    [
        # Prometheus 2.47 has it for every rate of buckets.
        'PromQL info: metric might not be a counter, name does not end in _total/_sum/_count: "x_bucket" (1:6)',
        "PromQL warning: encountered a mix of histograms and floats for aggregation (1:1)",
    ],
)
async def test_remarks_on_a_query_do_not_make_an_answer_incomplete(fake: FakePrometheus, warning: str) -> None:
    fake.set(*CHAT, ttft=0.2, running=3)
    bucket = '{"metric":{"namespace":"team","llmservice":"chat","le":"%s"},"value":[1,"%s"]}'
    fake.answers["timeToFirstToken"] = answered(
        *(bucket % (bound, 1.0) for bound in (*BOUNDS[Latency.TIME_TO_FIRST_TOKEN], "+Inf")),
        warnings=[warning],
        infos=["x"],
    )
    found = await read(fake)
    assert found.gap is None
    assert found.signals[CHAT].latencies[Latency.TIME_TO_FIRST_TOKEN]
    fake.answers["timeToFirstToken"] = answered(warnings=[warning, "store 1 is gone"])
    incomplete = (await read(fake)).gap
    assert incomplete is not None and "store 1 is gone" in incomplete.message


NATIVE_SAMPLE = '"histogram":[1,{"count":"2","sum":"1","buckets":[[0,"0","1","2"]]}]'


async def test_native_histograms_of_one_service_are_no_error_of_the_others(fake: FakePrometheus) -> None:
    """A pod may export them under the engines' names: their samples are no numbers, and count as absent."""
    fake.set("team", "well", ttft=0.2, running=1)
    labels = '{"metric":{"namespace":"team","llmservice":"%s"%s},%s}'
    buckets = [labels % ("evil", ',"le":"+Inf"', NATIVE_SAMPLE)]
    buckets += [
        labels % ("well", f',"le":"{bound}"', '"value":[1,"1"]')
        for bound in (*BOUNDS[Latency.TIME_TO_FIRST_TOKEN], "+Inf")
    ]
    fake.answers["timeToFirstToken"] = answered(*buckets)
    signals = {"running": 1, "waiting": 0, "finished": 1, "pods": 1}
    flow = [labels % ("evil", ',"signal":"running"', NATIVE_SAMPLE)]
    flow += [labels % ("well", f',"signal":"{name}"', f'"value":[1,"{value}"]') for name, value in signals.items()]
    fake.answers["flow"] = answered(*flow)
    found = await read(fake)
    assert found.gap is None
    assert set(found.signals) == {("team", "well")}
    assert found.signals["team", "well"].latencies[Latency.TIME_TO_FIRST_TOKEN]


async def test_no_text_holds_a_secret(fake: FakePrometheus, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    file = tmp_path / "token"
    file.write_text(TOKEN)
    fake.answer = Answer(403, f"Bearer {TOKEN} with key another-secret may not".encode())
    found = await gap(fake, token_file=file, headers={"X-Key": "another-secret"})
    assert "may not" in found.message
    assert not any(secret in found.message + caplog.text for secret in (TOKEN, "another-secret"))
    address = fake.url.replace("http://", "http://user:word@")
    reported = (await Prometheus(PrometheusSettings.model_construct(url=address)).read()).gap
    assert reported is not None
    assert "word" not in reported.message


@pytest.mark.parametrize("content", [None, "", "two words", "two\nlines"])
async def test_a_useless_token_file_is_named(fake: FakePrometheus, tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_text(content)
    found = await gap(fake, token_file=file)
    assert str(file) in found.message
    assert fake.queries == 0


async def test_https_with_its_own_ca(tmp_path: Path) -> None:
    with FakePrometheus(tls=True) as fake:
        fake.set(*CHAT, running=1)
        assert (await read(fake, ca_file=fake.ca_file)).signals[CHAT].running == 1
        assert (await read(fake, insecure=True)).signals[CHAT].running == 1
        found = await gap(fake)
        assert found.reason == metrics_unavailable.PROMETHEUS_UNREACHABLE
        assert "certificate is not trusted" in found.message
        assert "caConfigMap" in found.message
        wrong = await gap(fake, ca_file=tmp_path / "ca.crt")
        assert str(tmp_path / "ca.crt") in wrong.message


async def test_a_renewed_ca_is_taken_up() -> None:
    with FakePrometheus(tls=True) as fake, FakePrometheus(tls=True) as other:
        reader = Prometheus(PrometheusSettings(url=fake.url, ca_file=other.ca_file))
        assert (await reader.read()).gap is not None
        renewed = other.ca_file.with_suffix(".new")
        renewed.write_bytes(fake.ca_file.read_bytes())
        renewed.rename(other.ca_file)
        assert (await reader.read()).gap is None


async def test_a_client_certificate_is_shown_where_one_is_asked_for() -> None:
    with FakePrometheus(tls=True, client_certificate=True) as fake:
        trusted = {"ca_file": fake.ca_file}
        assert (await read(fake, **trusted, cert_file=fake.cert_file, key_file=fake.key_file)).gap is None
        without = await gap(fake, **trusted)
        assert without.reason == metrics_unavailable.PROMETHEUS_UNREACHABLE
        assert "clientCertificateSecret" in without.message
        mixed = await gap(fake, **trusted, cert_file=fake.cert_file, key_file=fake.ca_file)
        assert str(fake.cert_file) in mixed.message


async def test_plain_http_where_https_is_spoken_and_the_other_way_round(fake: FakePrometheus) -> None:
    with FakePrometheus(tls=True) as secure:
        for url in (fake.url.replace("http", "https"), secure.url.replace("https", "http")):
            found = (await Prometheus(PrometheusSettings(url=url)).read()).gap
            assert found is not None
            assert found.reason == metrics_unavailable.PROMETHEUS_UNREACHABLE


async def test_a_reading_can_be_given_up(fake: FakePrometheus) -> None:
    fake.delay = 60
    task = asyncio.ensure_future(read(fake))
    await asyncio.to_thread(fake.wait_for_queries)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
