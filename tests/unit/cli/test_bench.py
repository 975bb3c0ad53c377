"""`kubectl llm bench`: a load at given rates through the API server or to a URL, and which targets hold."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmservice_operator.autoscaling.latency import Latency, Target
from llmservice_operator.cli.bench import load
from llmservice_operator.cli.bench.figures import Sample, Verdict, highest_rate, percentile
from llmservice_operator.cli.inference.generation import Generation
from llmservice_operator.cli.main import main
from unit.cli.conftest import write_kubeconfig
from unit.cli.done import Done
from unit.cli.model_server import ModelServer, error, event, part, serving

TTFT = Target(Latency.TIME_TO_FIRST_TOKEN, 50, 0.5)
SCALING = {"maxReplicas": 4, "targets": {"timeToFirstToken": {"p50": "5s"}, "requestLatency": {"p90": "1ms"}}}


class User:
    def __init__(self, api: ModelServer, url: str, capfd: pytest.CaptureFixture[str]) -> None:
        self.api = api
        self.url = url
        self._capfd = capfd

    def bench(self, line: str = "--rates 40 --seconds 1") -> Done:
        status = main(["bench", "chat", "--seed", "1", *line.split()])
        return Done(status, *self._capfd.readouterr())


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[User]:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "LLM_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    api = ModelServer()
    api.is_ready(2)
    with serving(api) as url:
        monkeypatch.setenv("KUBECONFIG", str(write_kubeconfig(tmp_path / "kubeconfig", url)))
        yield User(api, url, capfd)


def answer(first: float, last: float) -> Generation:
    return Generation(began=0.0, chunks=[first, last], output_tokens=2)


def sample(rate: float, *firsts: float, failed: int = 0, not_sent: int = 0) -> Sample:
    errors = {"http_500": failed} if failed else {}
    return Sample(rate, 1.0, [answer(each, each + 1) for each in firsts], errors, not_sent=not_sent)


def test_each_rate_is_measured_and_compared_with_the_specs_targets(user: User) -> None:
    user.api.objects["LLMService", "team-a", "chat"]["spec"] = {"scaling": SCALING}
    reported = user.bench("--rates 20,10 --seconds 1 -o json").json
    assert [each["rate"] for each in reported["rates"]] == [10, 20]
    for rate in reported["rates"]:
        assert rate["succeeded"] == rate["requests"] > 3, rate["errors"]
        assert rate["readyReplicas"] == {"before": 2, "after": 2}
        first, whole = rate["targets"]
        assert (first["latency"], first["percentile"], first["targetSeconds"]) == ("timeToFirstToken", 50, 5)
        assert (first["verdict"], whole["latency"], whole["percentile"]) == ("Holds", "requestLatency", 90)
        assert rate["timeToFirstToken"]["p50"] <= rate["requestLatency"]["p50"]
    assert reported["rates"][1]["targets"][1]["verdict"] == "Exceeded"
    assert reported["highestRate"] is None


def test_requests_are_of_the_length_that_is_asked_for(user: User) -> None:
    user.bench("--rates 20 --seconds 1 --prompt-tokens 7 --max-tokens 9")
    assert all(path == "/v1/completions" for path, _ in user.api.requests)
    assert {body["max_tokens"] for _, body in user.api.requests} == {9}
    prompts = [body["prompt"] for _, body in user.api.requests]
    assert len(set(prompts)) == len(prompts) > 3, "a prefix cache must not help"
    assert {len(each.split()) for each in prompts} == {7}, "the server counts 7 tokens of each"


def test_the_number_of_words_follows_from_the_servers_own_count_of_tokens(user: User) -> None:
    def counting(path: str, body: dict[str, str]) -> Iterator[bytes]:
        usage = {"prompt_tokens": 2 * len(body["prompt"].split()), "completion_tokens": 1}
        return iter([part(path, "x"), event({"choices": [], "usage": usage}), b"data: [DONE]\n\n"])

    user.api.replies = counting  # type: ignore[assignment]
    user.bench("--rates 20 --seconds 1 --prompt-tokens 64")
    assert len(user.api.requests[-1][1]["prompt"].split()) == 32


def test_the_same_seed_gives_the_same_load(user: User) -> None:
    user.bench()
    first = sorted(body["prompt"] for _, body in user.api.requests)
    user.api.requests.clear()
    user.bench()
    assert sorted(body["prompt"] for _, body in user.api.requests) == first


def test_people_read_a_table_and_which_rate_holds(user: User) -> None:
    done = user.bench("--rates 40 --seconds 1 --target timeToFirstToken.p90=9s")
    assert done.status == 0
    assert "REQ/S" in done.out and "p90 timeToFirstToken" in done.out
    assert "All targets hold at up to 40 requests/s" in done.out


def test_a_low_rate_that_tells_too_little_hides_no_higher_one_that_holds(user: User) -> None:
    done = user.bench("--rates 2,60 --seconds 2 --target timeToFirstToken.p95=9s -o json")
    verdicts = [rate["targets"][0]["verdict"] for rate in done.json["rates"]]
    assert (verdicts, done.json["highestRate"]) == (["Unknown", "Holds"], 60)


@pytest.mark.parametrize(
    ("target", "said"), [("timeToFirstToken.p99=9s", "too few"), ("requestLatency.p50=1ms", "exceeded at 20")]
)
def test_without_a_rate_that_holds_it_says_whether_one_is_exceeded(user: User, target: str, said: str) -> None:
    done = user.bench(f"--rates 20 --seconds 1 --target {target}")
    assert said in done.out.partition("\n\n")[2].splitlines()[0]


def test_without_targets_it_says_so(user: User) -> None:
    assert "has no targets" in user.bench().out


@pytest.mark.parametrize(
    ("target", "status"), [("timeToFirstToken.p50=9s", 0), ("requestLatency.p50=1ms", 3), ("requestLatency.p99=9s", 4)]
)
def test_a_pipeline_can_ask_for_the_verdict_as_exit_status(user: User, target: str, status: int) -> None:
    assert user.bench(f"--rates 20 --seconds 1 --exit-code --target {target}").status == status


def test_too_few_requests_for_a_percentile_say_how_many_it_needs(user: User) -> None:
    done = user.bench("--rates 20 --seconds 1 --target timeToFirstToken.p99=9s")
    assert "unknown" in done.out and "needs 100" in done.out


def test_a_url_is_asked_instead_with_the_key_as_bearer(user: User) -> None:
    user.api.key = "sk-secret"
    user.api.is_ready(0)
    reported = user.bench(f"--rates 20 --seconds 1 --key sk-secret --url {user.url}/direct/v1 -o json").json
    assert reported["url"] == f"{user.url}/direct"
    assert reported["rates"][0]["failed"] == 0 < reported["rates"][0]["succeeded"]
    assert {headers.get("Authorization") for headers in user.api.headers} == {"Bearer sk-secret"}


def test_a_first_request_that_fails_ends_it_with_what_to_do(user: User) -> None:
    user.api.key = "sk-secret"
    done = user.bench()
    assert (done.status, done.out) == (1, "")
    assert "LLM_API_KEY" in done.err
    assert len(user.api.requests) == 1


def test_a_service_that_is_not_ready_gets_no_load(user: User) -> None:
    user.api.is_ready(0, reason="NoFreeDevices", message="No node has a free GPU")
    done = user.bench()
    assert (done.status, "NoFreeDevices" in done.err) == (1, True)
    assert not user.api.requests


def test_a_url_without_a_server_is_a_sentence(user: User) -> None:
    done = user.bench("--url http://127.0.0.1:1")
    assert (done.status, done.out, "http://127.0.0.1:1 did not respond" in done.err) == (1, "", True)


def test_refused_requests_count_as_failed_and_higher_rates_are_skipped(user: User) -> None:
    def limited(path: str, body: object) -> object:
        return error(429, "requests of tier default") if len(user.api.requests) > 4 else None

    user.api.replies = limited  # type: ignore[assignment]
    done = user.bench("--rates 30,60 --seconds 1 -o json --target requestLatency.p50=9s")
    (rate,) = done.json["rates"]
    assert rate["errors"]["http_429"] == rate["failed"] > rate["succeeded"]
    assert rate["targets"][0] | {"verdict": "Exceeded", "measuredSeconds": None} == rate["targets"][0]
    assert any("tier" in note and "higher limits" in note for note in done.json["notes"])
    assert "Skipping higher rates" in done.err


def test_a_change_of_replicas_meanwhile_is_told(user: User) -> None:
    def scaled(path: str, body: object) -> None:
        if len(user.api.requests) > 6:
            user.api.is_ready(3)

    user.api.replies = scaled
    reported = user.bench("--rates 30 --seconds 1 -o json").json
    assert reported["rates"][0]["readyReplicas"] == {"before": 2, "after": 3}
    assert any("from 2 to 3" in note for note in reported["notes"])


def test_answers_that_never_end_fail_in_time_and_are_counted_once(user: User) -> None:
    def endless(path: str, body: object) -> Iterator[bytes] | None:
        if len(user.api.requests) <= 4:
            return None
        return hanging(path)

    def hanging(path: str) -> Iterator[bytes]:
        yield part(path, "x")
        time.sleep(3)

    user.api.replies = endless
    reported = user.bench("--rates 10 --seconds 1 --timeout 1 -o json").json
    (rate,) = reported["rates"]
    assert rate["succeeded"] + rate["failed"] + rate["notSent"] == rate["requests"]
    assert rate["errors"].keys() == {"timeout"}


@pytest.mark.parametrize(
    "line",
    [
        "--rates 0",
        "--rates 1,x",
        "--rates 9999",
        "--rates nan",
        "--rates " + ",".join(map(str, range(1, 20))),
        "--seconds 9999",
        "--max-tokens 0",
        "--max-in-flight 99999",
        "--target ttft.p99=1s",
        "--target timeToFirstToken.p42=1s",
        "--target timeToFirstToken.p99=1h",
        "--url chat",
        "--url http://a?b=c",
    ],
)
def test_a_line_that_makes_no_sense_is_a_usage_error(user: User, line: str) -> None:
    with pytest.raises(SystemExit) as left:
        user.bench(line)
    assert left.value.code == 2
    assert not user.api.requests


def test_a_request_without_an_answer_is_slower_than_every_target() -> None:
    fast = (0.1,) * 60
    assert sample(1, *fast).result(TTFT).verdict is Verdict.HOLDS
    assert sample(1, *fast, failed=59).result(TTFT).verdict is Verdict.HOLDS, "p50 of 119: half are fast"
    assert sample(1, *fast, failed=62).result(TTFT) == sample(1, *fast, not_sent=62).result(TTFT)
    assert sample(1, *fast, failed=62).result(TTFT).verdict is Verdict.EXCEEDED
    gaps = Target(Latency.INTER_TOKEN_LATENCY, 90, 2.0)
    assert sample(1, *fast, failed=5).result(gaps).verdict is Verdict.HOLDS
    assert sample(1, *fast, failed=20).result(gaps).verdict is Verdict.EXCEEDED
    assert sample(1, failed=5).percentiles(Latency.INTER_TOKEN_LATENCY) is None


def test_the_highest_rate_is_below_the_first_that_does_not_hold() -> None:
    good, bad = (0.1,) * 9, (0.9,) * 9
    assert highest_rate([sample(1, *good), sample(2, *bad), sample(4, *good)], [TTFT]) == 1
    assert highest_rate([sample(1, *bad), sample(2, *good)], [TTFT]) is None
    assert highest_rate([sample(1, *good)], []) is None


def test_percentiles_are_those_of_numpy_also_beside_the_infinite() -> None:
    assert percentile([1.0, 2.0, 3.0, 4.0], 50) == 2.5
    assert percentile([1.0, 2.0, math.inf, math.inf], 50) == math.inf
    assert percentile([1.0, 2.0, 3.0, math.inf, math.inf], 50) == 3.0


def test_what_arrives_above_the_limit_in_flight_is_not_sent() -> None:
    one = Sample(10)
    load.run(((0.0, lambda sample: time.sleep(0.2)) for _ in range(5)), one, most=2, grace=0.0)
    assert (one.not_sent, one.errors, one.requests) == (3, {"timeout": 2}, 5)


def test_a_machine_that_is_too_slow_for_the_load_is_told() -> None:
    """An arrival that is sent late is one that this machine held up."""
    late, good = Sample(1), Sample(1)

    def requests() -> Iterator[tuple[float, load.Send]]:
        yield 0.0, lambda sample: sample.add(answer(0.1, 0.2))
        time.sleep(0.3)
        yield 0.05, lambda sample: sample.add(answer(0.1, 0.2))

    load.run(requests(), late, most=9, grace=1)
    load.run(((at, lambda sample: sample.add(answer(0.1, 0.2))) for at in (0.0, 0.5)), good, most=9, grace=1)
    assert late.is_client_limited
    assert (len(good.answers), good.requests) == (2, 2)
