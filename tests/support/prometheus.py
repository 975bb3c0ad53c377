"""A Prometheus that a test steers: it knows the operator's queries, and answers them for services that a test sets.

    with FakePrometheus() as prometheus:
        settings = PrometheusSettings(url=prometheus.url)
        prometheus.set("team", "chat", ttft=0.2, running=3, waiting=1, finished=2.5)

A latency is None (no request got so far), one time in seconds that all requests took, the seconds by percentile
({50: 0.2, 99: 1.5}), or a list of times, one for each request. The operator reads exactly these values, from lists up
to the resolution of the engines' buckets.

    prometheus.remove("team", "chat")               # no series any more
    prometheus.set("team", "chat", stale=True)      # series whose newest sample is too old
    prometheus.set("team", "chat", ttft=nan)        # any number can be NaN or infinite
    prometheus.unmatched = {"job": "vllm"}           # a series whose labels name no pod
    prometheus.delay = 30.0                         # seconds before each answer
    prometheus.answer = Answer(503, b"no")          # instead of every answer; None to answer again
    prometheus.answers["flow"] = Answer(...)        # instead of the answer to one query, by its name in queries()
    prometheus.crowded["evil"] = Answer(422, ...)   # instead of each answer that namespace evil is in
    prometheus.up["team", "chat-0"] = 0.0           # the last scrape of a pod, by namespace and pod: 1 or 0
    prometheus.plain["up"] = 1.0                    # any other query, word for word: one row, no labels; None: no row
    prometheus.stop(), prometheus.start()           # no server listens, then again on the same port
    prometheus.queries                              # number of queries so far; prometheus.requests: each of them
    prometheus.wait_for_queries(12)                 # blocks until so many came; six are one reading

FakePrometheus(tls=True) serves HTTPS; its ca_file (and cert_file, key_file of a client's certificate where
client_certificate=True asks for one) are what to trust. FakePrometheus(token="t", headers={"X-Scope-OrgID": "team"})
answers 401 without them. It runs in threads of its own, so it serves tests with and without an event loop, and another
process. Rendered answers are kept until a service changes, so 1,000 services cost little.
"""

import bisect
import dataclasses
import json
import math
import re
import ssl
import tempfile
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from llmservice_operator.autoscaling import prometheus_queries
from support.authority import Authority

Times = None | float | Mapping[int, float] | Sequence[float]

BOUNDS_OF = {latency.value: bounds for latency, bounds in prometheus_queries.BOUNDS.items()}
"""The engines' bounds by the name of a query: buckets for these are in each answer."""
BUCKETS = tuple(0.001 * 1.3**step for step in range(50))
"""Upper bounds for lists of times: 1 ms to 6 min."""


@dataclasses.dataclass(frozen=True)
class Answer:
    """What is sent instead of numbers."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Request:
    """One request as it came."""

    method: str
    path: str
    headers: Mapping[str, str]
    """By name in lower case."""
    form: Mapping[str, str]
    at: float = dataclasses.field(default_factory=time.monotonic)

    @property
    def name(self) -> str:
        """Name of the query among ``queries()``; empty for an unknown one."""
        return name_of(self.form.get("query", ""))


@dataclasses.dataclass(frozen=True)
class Service:
    """What Prometheus knows of one service, all its pods together."""

    ttft: Times = None
    itl: Times = None
    e2e: Times = None
    running: float = 0.0
    waiting: float = 0.0
    finished: float = 0.0
    """Per second."""
    generated: float | None = None
    """Tokens per second; None: no row."""
    pods: int = 1
    stale: bool = False
    absent: Collection[str] = ()
    """Rows of FLOW that say what is absent: values of NO_BUCKETS, NATIVE and NO_WAITING."""


def name_of(query: str) -> str:
    """The query's name in ``queries()``, whatever its labels, window and matchers; empty for an unknown one."""
    if query.startswith("topk"):
        return prometheus_queries.UNMATCHED
    if prometheus_queries.RUNNING_METRIC in query and prometheus_queries.SIGNAL in query:
        return prometheus_queries.FLOW
    for latency, metric in prometheus_queries.HISTOGRAMS.items():
        if f"{metric}_bucket" in query:
            return latency.value
    return prometheus_queries.AGES if query.startswith("bottomk") else ""


class FakePrometheus:
    """See the module's text. Values hold from the next query on."""

    def __init__(
        self,
        *,
        tls: bool = False,
        client_certificate: bool = False,
        token: str = "",
        headers: Mapping[str, str] | None = None,
        path: str = "",
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        """``path`` is what stands before /api/v1; ``host`` is where it listens, 0.0.0.0 for the pods of a cluster."""
        self.requests: list[Request] = []
        self._stranger: Mapping[str, str] | None = None
        self.delay = 0.0
        self.answer: Answer | None = None
        self.answers: dict[str, Answer] = {}
        self.crowded: dict[str, Answer] = {}
        self.plain: dict[str, float | None] = {}
        self.up: dict[tuple[str, str], float] = {}
        self._services: dict[tuple[str, str], Service] = {}
        self._rendered: dict[str, bytes] = {}
        self._lock = threading.Lock()
        self._came = threading.Condition(self._lock)
        self._token, self._headers, self._path = token, headers or {}, path
        self._host, self._port = host, port
        self._woken = threading.Event()
        self._server: ThreadingHTTPServer | None = None
        self._files = tempfile.TemporaryDirectory(prefix="fake-prometheus-")
        self.ca_file = self.cert_file = self.key_file = Path(self._files.name, "absent")
        self._tls: ssl.SSLContext | None = None
        if tls:
            self._make_certificates(client_certificate)

    @property
    def url(self) -> str:
        """For LLMSERVICE_PROMETHEUS_URL; a host that listens everywhere is named 127.0.0.1."""
        host = "127.0.0.1" if self._host == "0.0.0.0" else self._host
        return f"{'https' if self._tls else 'http'}://{host}:{self._port}{self._path}"

    @property
    def unmatched(self) -> Mapping[str, str] | None:
        """Labels of a series that name no pod; None for no such series."""
        return self._stranger

    @unmatched.setter
    def unmatched(self, labels: Mapping[str, str] | None) -> None:
        with self._lock:
            self._stranger = labels
            self._rendered.clear()

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._port

    @property
    def queries(self) -> int:
        """Queries so far."""
        return len(self.requests)

    def set(self, namespace: str, name: str, **values: Any) -> None:
        """Changes the values given (fields of Service) of one service; those never given have Service's defaults."""
        with self._lock:
            key = (namespace, name)
            self._services[key] = dataclasses.replace(self._services.get(key, Service()), **values)
            self._rendered.clear()

    def set_all(self, services: Mapping[tuple[str, str], Service]) -> None:
        """Exactly these services, by namespace and name."""
        with self._lock:
            self._services = dict(services)
            self._rendered.clear()

    def remove(self, namespace: str, name: str) -> None:
        """Takes the series of one service away."""
        with self._lock:
            self._services.pop((namespace, name), None)
            self._rendered.clear()

    def wait_for_queries(self, count: int = 1, timeout: float = 30) -> None:
        """Blocks until so many queries have come since the beginning."""
        with self._lock:
            assert self._came.wait_for(lambda: len(self.requests) >= count, timeout), "too few queries came"

    def start(self) -> None:
        """Listens; the port stays the same from then on."""
        self._woken.clear()
        server = _Server((self._host, self._port), _handler(self))
        self._port = server.server_address[1]
        if self._tls is not None:
            server.socket = self._tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        self._server = server
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        """Listens no more; what still waits for its delay is let go."""
        self._woken.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
        self._files.cleanup()

    def respond(self, request: Request) -> Answer:
        """What to send, after the delay."""
        with self._lock:
            self.requests.append(request)
            self._came.notify_all()
        if self.delay:
            self._woken.wait(self.delay)
        given = request.headers
        missing = [name for name, value in self._headers.items() if given.get(name.lower()) != value]
        if missing or (self._token and given.get("authorization") != f"Bearer {self._token}"):
            return Answer(401, b"Unauthorized\n", {"Content-Type": "text/plain"})
        only = _namespaces(request.form.get("query", ""))
        for namespace, crowded in self.crowded.items():
            if only is None or namespace in only:
                return crowded
        if (instead := self.answers.get(request.name, self.answer)) is not None:
            return instead
        if request.path != f"{self._path}/api/v1/query":
            return Answer(404, b"404 page not found\n", {"Content-Type": "text/plain"})
        query = request.form.get("query", "")
        if query in self.plain:
            value = self.plain[query]
            rows = [] if value is None else [{"metric": {}, "value": [1.0, _number(value)]}]
            return Answer(200, _body("success", data={"resultType": "vector", "result": rows}))
        if query.startswith("max by") and " (up{" in query:
            found = [
                {"metric": dict(zip(_labels(query), pod, strict=True)), "value": [1.0, _number(value)]}
                for pod, value in self.up.items()
            ]
            return Answer(200, _body("success", data={"resultType": "vector", "result": found}))
        if not request.name:
            return Answer(400, _body("error", errorType="bad_data", error="a query that the fake does not know"))
        with self._lock:
            if query not in self._rendered:
                self._rendered[query] = _body("success", data=self._data(request.name, query))
            return Answer(200, self._rendered[query])

    def _data(self, name: str, query: str) -> dict[str, Any]:
        namespace_label, pod_label = _labels(query)
        rows: list[tuple[dict[str, str], float]] = []
        only = _namespaces(query)
        for (namespace, service), known in self._services.items():
            if only is not None and namespace not in only:
                continue
            if name == prometheus_queries.AGES:
                pods = ({namespace_label: namespace, pod_label: f"{service}-{i}"} for i in range(known.pods))
                rows.extend((labels, 3600.0 if known.stale else 1.0) for labels in pods)
            if known.stale:
                continue
            labels = {namespace_label: namespace, prometheus_queries.SERVICE: service}
            if name == prometheus_queries.FLOW:
                rows.extend(({**labels, prometheus_queries.SIGNAL: which}, value) for which, value in _flow(known))
            elif name in {"timeToFirstToken", "interTokenLatency", "requestLatency"}:
                times = {"timeToFirstToken": known.ttft, "interTokenLatency": known.itl, "requestLatency": known.e2e}
                rows.extend(({**labels, "le": bound}, count) for bound, count in _buckets(times[name], BOUNDS_OF[name]))
        if name == prometheus_queries.UNMATCHED and self.unmatched is not None:
            rows.append((dict(self.unmatched), 1.0))
        found = [{"metric": labels, "value": [1.0, _number(value)]} for labels, value in rows]
        return {"resultType": "vector", "result": found}

    def _make_certificates(self, client_certificate: bool) -> None:
        folder = Path(self._files.name)
        authority = Authority("fake Prometheus")
        self.ca_file = authority.write(folder)
        certificate, key = authority.issue(folder, "server", ["127.0.0.1", "localhost"])
        self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._tls.load_cert_chain(certificate, key)
        if client_certificate:
            self._tls.load_verify_locations(self.ca_file)
            self._tls.verify_mode = ssl.CERT_REQUIRED
            self.cert_file, self.key_file = authority.issue(folder, "client", [])


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away, or one without a certificate, is none of the test's concern."""


def _handler(fake: FakePrometheus) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # head and body are two writes: the second would wait for a late ACK, 40 ms

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            self.respond(body)

        def do_GET(self) -> None:
            self.respond(self.path.partition("?")[2])

        def respond(self, form: str) -> None:
            answer = fake.respond(
                Request(
                    self.command,
                    urlsplit(self.path).path,  # a proxy is sent whole URLs
                    {name.lower(): value for name, value in self.headers.items()},
                    {name: values[-1] for name, values in parse_qs(form).items()},
                )
            )
            self.send_response(answer.status)
            headers = {"Content-Type": "application/json", "Content-Length": str(len(answer.body)), **answer.headers}
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    return Handler


def _flow(service: Service) -> Iterable[tuple[str, float]]:
    yield prometheus_queries.RUNNING, service.running
    yield prometheus_queries.WAITING, service.waiting
    yield prometheus_queries.FINISHED, service.finished
    if service.generated is not None:
        yield prometheus_queries.GENERATED, service.generated
    yield prometheus_queries.PODS, service.pods
    yield from ((signal, service.pods) for signal in service.absent)


def _buckets(times: Times, engine_bounds: Sequence[float]) -> Iterator[tuple[str, float]]:
    """Cumulative rates by upper bound, such that the percentiles are what the test set."""
    if times is None:
        return
    if isinstance(times, Sequence):
        ordered = sorted(times)
        for bound in sorted({*BUCKETS, *engine_bounds}):
            yield repr(bound), bisect.bisect_right(ordered, bound) / 60
        yield "+Inf", len(ordered) / 60
        return
    if not isinstance(times, Mapping):
        times = {50: times, 99: times}
    if not all(math.isfinite(value) for value in times.values()):
        yield "1.0", next(value for value in times.values() if not math.isfinite(value))
        yield "+Inf", math.nan
        return
    bounds: dict[float, float] = {}
    below, count = 0.0, 0.0
    for percentile, seconds in sorted(times.items()):
        if seconds > below:
            bounds[seconds * (1 - 1e-9)] = count
        below, count = seconds, percentile / 100
        bounds[below] = count
    bounds[below * (1 + 1e-9)] = 1.0
    for bound in engine_bounds:
        if bound not in bounds:
            bounds[bound] = max((share for other, share in bounds.items() if other < bound), default=0.0)
    yield from ((repr(bound), share) for bound, share in bounds.items())
    yield "+Inf", 1.0


def _labels(query: str) -> tuple[str, str]:
    """The labels for namespace and pod that a query groups by."""
    found = re.search(r" by \((\w+), (\w+)", query)
    return (found[1], found[2]) if found else ("namespace", "pod")


def _namespaces(query: str) -> set[str] | None:
    """The namespaces that a query is restricted to; None for all."""
    found = re.search(r'namespace=~"([a-z0-9|-]+)"', query)
    return set(found[1].split("|")) if found else None


def _number(value: float) -> str:
    return "NaN" if math.isnan(value) else f"{'+' if value > 0 else '-'}Inf" if math.isinf(value) else repr(value)


def _body(status: str, **more: Any) -> bytes:
    return json.dumps({"status": status, **more}).encode()
