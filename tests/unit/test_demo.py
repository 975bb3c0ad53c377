"""What the demo draws and reads."""

from __future__ import annotations

import contextlib
import heapq
import json
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

sys.path[:0] = [str(Path(__file__).parents[2] / "hack" / part) for part in ("demo", ".")]

import cluster  # noqa: E402
import main  # noqa: E402
import plot  # noqa: E402
import samples  # noqa: E402
import scaling  # noqa: E402
import sizing  # noqa: E402
import zero  # noqa: E402
from cluster import Images  # noqa: E402

TARGET = 0.5


def a_sample(latency: float | None, wanted: int = 1, ready: int = 1) -> samples.Sample:
    return samples.Sample(0.0, latency, "170/100 (avg)", wanted, ready, (True, ""), loaded=True)


def rows(shown: list[samples.Sample], width: int = 80) -> list[str]:
    return plot.chart(shown, TARGET, width).plain.splitlines()


def test_only_what_is_above_the_target_reaches_its_line() -> None:
    drawn = rows([a_sample(0.1), a_sample(0.4), a_sample(2.0), a_sample(None)])
    (target,) = [row for row in drawn if "target" in row]
    assert target.split("┼")[1].startswith("──█─")
    assert drawn[0].split("┤")[1].rstrip() == "  █"
    assert drawn[plot.ROWS - 1].split("┤")[1].rstrip() == "███", "no value leaves its column empty"


def test_replicas_stand_below_their_time_and_the_newest_are_kept() -> None:
    shown = [a_sample(1.0), *[a_sample(1.0, wanted=2)] * 30, a_sample(1.0, wanted=2, ready=2)]
    drawn = rows(shown, width=plot.GAP + 4)
    assert drawn[-2].split() == ["wanted", "2222"]
    assert drawn[-1].split() == ["ready", "1112"]


@pytest.mark.parametrize("shown", [[], [a_sample(None)], [a_sample(TARGET)], [a_sample(0.0)]])
def test_a_story_that_has_hardly_begun_can_be_drawn(shown: list[samples.Sample], tmp_path: Path) -> None:
    assert any("target" in row for row in rows(shown))
    if shown:
        plot.save(shown, TARGET, "", tmp_path / "made" / "picture.png")
        assert (tmp_path / "made" / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_the_latency_of_an_answer_and_of_none() -> None:
    item = {"metricName": "m", "metricLabels": {}, "timestamp": "2026-01-01T00:00:00Z", "value": "412500u"}
    assert samples.latency(json.dumps({"items": [item]})) == pytest.approx(0.4125)
    assert samples.latency(json.dumps({"items": [{**item, "value": "1875m"}]})) == pytest.approx(1.875)
    assert samples.latency(json.dumps({"items": [{**item, "value": "2"}]})) == 2
    assert samples.latency(json.dumps({"items": []})) is None
    assert samples.latency("") is None


def test_the_target_of_a_line_of_kubectl() -> None:
    assert samples.load_column("chat   LLMService/chat   170/100 (avg)   1   2   1   5m\n") == "170/100 (avg)"
    assert samples.load_column("chat   LLMService/chat   <unknown>/100 (avg)   1   2   1   5m\n") == (
        "<unknown>/100 (avg)"
    )
    assert samples.load_column("") == ""


def test_the_selector_in_an_autoscalers_words_is_left_out() -> None:
    labels, expressions = "map[string]string{llmservice: chat,}", "[]LabelSelectorRequirement{}"
    selector = f"&LabelSelector{{MatchLabels:{labels},MatchExpressions:{expressions},}}"
    words = f"external metric llmservice_load_percent({selector}) above target"
    assert scaling.SELECTOR.sub("", words) == "external metric llmservice_load_percent above target"
    words = f"metric demo/llmservice_load_percent/{selector}: no metrics returned"
    assert scaling.SELECTOR.sub("", words) == "metric demo/llmservice_load_percent: no metrics returned"


SLOTS = 8


def first_tokens(size: sizing.Size, measured: sizing.Measured, replicas: int, bursts: int = 400) -> list[float]:
    """Times to the first token of a load, sorted; each request goes to a random replica with SLOTS places."""
    chance = random.Random(7)
    answer = size.max_tokens * measured.token_seconds
    free = [[0.0] * SLOTS for _ in range(replicas)]
    waits = []
    for burst in range(bursts):
        arrival = float(burst * size.every)
        for _ in range(size.in_flight):
            places = chance.choice(free)
            begin = max(arrival, heapq.heappop(places))
            heapq.heappush(places, begin + answer)
            waits.append(begin - arrival + measured.first_seconds)
    return sorted(waits)


MACHINES = [(0.03, 0.0004), (0.05, 0.003), (0.1, 0.01), (0.1, 0.03), (0.3, 0.02), (0.3, 0.2), (0.9, 0.05), (1.0, 0.3)]


@pytest.mark.parametrize("machine", MACHINES)
def test_one_replica_misses_the_target_and_two_meet_it(machine: tuple[float, float]) -> None:
    measured = sizing.Measured(*machine)
    size = sizing.size(measured, SLOTS)
    one, two = (first_tokens(size, measured, replicas) for replicas in (1, 2))
    assert sizing.quantile(one, sizing.TARGET_QUANTILE) > 1.2 * size.target_ms / 1000
    assert sizing.quantile(two, sizing.TARGET_QUANTILE) < size.target_ms / 1000


@pytest.mark.parametrize("machine", MACHINES)
def test_bursts_leave_the_processors_idle_and_are_seen_by_each_scrape_sooner_or_later(
    machine: tuple[float, float],
) -> None:
    measured = sizing.Measured(*machine)
    size = sizing.size(measured, SLOTS)
    busy = 2 * size.max_tokens * measured.token_seconds
    assert busy < 0.7 * size.every, "the queue is empty before the next burst"
    phases = {second % size.every for second in range(0, 5 * size.every, 5)}
    assert phases == set(range(size.every)), "scrapes each 5 s see every second of the period"


def test_a_fast_machine_has_the_manifests_target_and_a_hopeless_one_is_told() -> None:
    assert sizing.size(sizing.Measured(0.09, 0.01), SLOTS).target_ms == 200
    assert sizing.size(sizing.Measured(0.11, 0.01), SLOTS).target_ms == 250
    with pytest.raises(sizing.NotMeasured, match=r"too slow .* 1\.1 s"):
        sizing.size(sizing.Measured(1.1, 0.01), SLOTS)


def test_the_arithmetic_is_shown() -> None:
    measured = sizing.Measured(0.09, 0.01)
    shown = sizing.size(measured, SLOTS).why(measured, SLOTS)
    for fact in ("90 ms", "10 ms", "target 200 ms", "9 requests every 4 s", "60 tokens", "waits 600 ms"):
        assert fact in shown


@pytest.mark.parametrize(
    "printed",
    [
        "",
        "3 of 40 answers failed: HTTPError: HTTP Error 500",
        "{}",
        "{not json",
        '{"first_token_seconds": [], "between_tokens_seconds": 1}',
        '{"first_token_seconds": [0.1], "between_tokens_seconds": 0}',
        '{"first_token_seconds": [NaN], "between_tokens_seconds": 1}',
        '{"first_token_seconds": 1, "between_tokens_seconds": 1}',
    ],
)
def test_a_measurement_without_a_result_says_what_it_printed(printed: str) -> None:
    with pytest.raises(sizing.NotMeasured) as reported:
        sizing.read(printed)
    assert printed in str(reported.value)


def test_a_measurement_is_read_behind_warnings() -> None:
    firsts = [round(0.01 * each, 2) for each in range(40, 0, -1)]
    printed = json.dumps({"first_token_seconds": firsts, "between_tokens_seconds": 0.02})
    assert sizing.read(f"a warning\n{printed}\n") == sizing.Measured(0.38, 0.02)


class Engine(BaseHTTPRequestHandler):
    """Streams three tokens to each of BURST requests once all of them are there; refuses if its server is failing."""

    BURST = 3

    def do_POST(self) -> None:
        server: Any = self.server
        server.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        if server.failing:
            self.send_error(503)
            return
        server.together.wait(20)
        self.send_response(200)
        self.end_headers()
        for token in ("a", "b", "c"):
            self.wfile.write(f'data: {{"choices": [{{"text": "{token}"}}]}}\n\n'.encode())
        self.wfile.write(b"data: [DONE]\n\n")

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def engine() -> Iterator[Any]:
    """A server of Engine."""
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Engine)
    server.daemon_threads = True
    server.bodies, server.failing, server.together = [], False, threading.Barrier(Engine.BURST)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def measure(engine: Any, *more: str) -> subprocess.CompletedProcess[str]:
    script = Path(scaling.__file__).parent / "measure.py"
    url = f"http://127.0.0.1:{engine.server_port}"
    command = [sys.executable, script, url, "--model=chat", f"--burst={Engine.BURST}", "--bursts=2", *more]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_the_measurement_asks_in_bursts_and_its_result_can_be_read(engine: Any) -> None:
    done = measure(engine, "--max-tokens=3")
    measured = sizing.read(done.stdout)
    assert 0 < measured.first_seconds < 60
    assert len(json.loads(done.stdout)["first_token_seconds"]) == 2 * Engine.BURST
    assert len(engine.bodies) == 3 * Engine.BURST, "with the burst that warms up"
    assert all(body["stream"] and body["max_tokens"] == 3 for body in engine.bodies)


def test_a_measurement_whose_answers_fail_says_so(engine: Any) -> None:
    engine.failing = True
    done = measure(engine)
    assert done.returncode == 1
    assert "6 of 6 answers failed: HTTPError" in done.stderr


def test_the_manifest_has_the_target_of_this_machine() -> None:
    applied = yaml.safe_load(scaling.manifest(315))
    assert applied["spec"]["scaling"]["targets"] == {"timeToFirstToken": {"p99": "315ms"}}
    assert applied["spec"]["engine"]["maxNumSeqs"] == scaling.slots()


@pytest.mark.parametrize("name", ["measure", "load"])
def test_a_job_of_the_demo_runs_its_script_with_its_arguments(name: str) -> None:
    job = yaml.safe_load(scaling.job_manifest(Images("o:1", "r:2"), name, ["--burst=8", "--every=4"]))
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert job["metadata"]["name"] == container["name"] == name
    assert container["image"] == "r:2"
    assert container["command"][:2] == ["python", f"/script/{name}.py"]
    assert container["command"][-2:] == ["--burst=8", "--every=4"]


def test_the_target_is_met_by_looks_in_a_row() -> None:
    story = scaling.Story("demo", TARGET)
    assert story.is_met(a_sample(0.4, 2, 2))
    assert not story.is_met(a_sample(0.4, 2, 1))
    assert not story.is_met(a_sample(0.6, 2, 2))
    assert not story.is_met(a_sample(None, 2, 2))


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The script that builds images, made by the test: it waits until a file is there, then makes another one."""
    script = tmp_path / "hack/cluster/images/build"
    script.parent.mkdir(parents=True)
    script.write_text(
        f"#!/bin/sh\necho $* >{tmp_path}/began\nwhile [ ! -e {tmp_path}/go ]; do sleep 0.05; done\n>{tmp_path}/ended\n"
    )
    script.chmod(0o755)
    monkeypatch.setattr(cluster, "ROOT", tmp_path)
    return tmp_path


def test_images_are_built_meanwhile_and_are_complete_afterwards(build: Path) -> None:
    with cluster.images_ahead(build / "log"):
        (build / "go").touch()
    assert (build / "ended").exists()
    assert (build / "began").read_text().split() == ["--ahead", "operator", "runtime-cpu", "gateway"]


def test_what_interrupts_the_demo_ends_the_build_of_images_too(build: Path) -> None:
    with pytest.raises(KeyboardInterrupt), cluster.images_ahead(build / "log"):
        raise KeyboardInterrupt
    (build / "go").touch()
    assert not (build / "ended").exists()


def test_a_build_of_images_that_fails_is_left_to_the_step_that_brings_them_in(build: Path) -> None:
    (build / "hack/cluster/images/build").write_text("#!/bin/sh\necho no base image >&2\nexit 1\n")
    with cluster.images_ahead(build / "log"):
        pass
    assert "no base image" in (build / "log").read_text()


def test_the_gateway_is_switched_on_if_there_is_an_image_of_it() -> None:
    images = Images("o:1", "r:2", "registry:5000/g:3")
    values = cluster.gateway_values(images, "demo")
    assert {"gateway.type=NGINX", "gateway.defaultNamespace=demo", "gateway.replicas=1"} <= set(values)
    # Two replicas of the service, 700m each, and what else the local node has leave it 80m of its two cores.
    assert "gateway.resources.requests.cpu=50m" in values
    assert {"gateway.image.repository=registry:5000/g", "gateway.image.tag=3"} <= set(images.helm_values())
    without = Images("o:1", "r:2")
    assert cluster.gateway_values(without, "demo") == ["--set", "gateway.type=None"]
    assert not any("gateway" in each for each in without.helm_values())


def test_the_last_step_is_the_answer_from_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "PROMETHEUS_URL", "http://prometheus:9090")
    whole, without = main.steps(Images("o:1", "r:2", "g:3")), main.steps(Images("o:1", "r:2"))
    assert whole == without + 1
    monkeypatch.setattr(cluster, "PROMETHEUS_URL", "")
    assert main.steps(Images("o:1", "r:2", "g:3")) == without - 1


def test_the_request_is_sent_once_no_pod_is_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pods = [["pod/chat-1", "pod/chat-0"], ["pod/chat-0"], []]
    seen: list[int] = []

    class Answering(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            seen.append(len(pods))
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"choices": [{"text": " included"}]}')

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    def kubectl(*arguments: str, **_: object) -> str:
        return "\n".join(pods.pop(0)) if arguments[-1] == "name" else "No resources found"

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(zero, "kubectl", kubectl)
    monkeypatch.setattr(zero, "forwarded", lambda *_: contextlib.nullcontext(server.server_port))
    monkeypatch.setattr(zero, "PAUSE_SECONDS", 0.01)
    zero.answer("demo", "llmservice-system", 8, 8)
    server.shutdown()
    server.server_close()
    assert seen == [0]
    shown = capsys.readouterr().out
    assert " included" in shown
    assert "[8/8]" in shown
    assert "http://llmservice-operator-gateway.llmservice-system/v1/completions" in shown
