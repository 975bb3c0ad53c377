"""A real Prometheus as a separate process, and an exporter with the series that a test sets.

If a fake is sufficient, use `support.prometheus`. This is for other programs, whose queries are unknown.
"""

import contextlib
import http.server
import json
import shutil
import subprocess
import tempfile
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from support.cluster import START_SECONDS, wait_until
from support.ports import free_port

SCRAPE_SECONDS = 1


class Exporter:
    """Serves /metrics: the series that were set, and no others."""

    def __init__(self) -> None:
        self._series: dict[str, float] = {}
        self._server: http.server.ThreadingHTTPServer | None = None

    def set(self, name: str, value: float, **labels: str) -> None:
        """A gauge has this value from now on."""
        self._series = {**self._series, _series(name, labels): value}

    def remove(self, name: str, **labels: str) -> None:
        """The series is not there any more."""
        self._series = {each: value for each, value in self._series.items() if each != _series(name, labels)}

    @property
    def address(self) -> str:
        """HOST:PORT."""
        assert self._server, "the exporter serves inside its `with` only"
        return f"127.0.0.1:{self._server.server_address[1]}"

    def page(self) -> str:
        """The series in Prometheus' text format."""
        return "".join(f"{each} {value!r}\n" for each, value in self._series.items())

    def __enter__(self) -> "Exporter":
        exporter = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = exporter.page().encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Nothing is logged."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, name="exporter", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._server:
            self._server.shutdown()
            self._server.server_close()


class PrometheusServer:
    """One Prometheus, or a program that does its work; it scrapes every second. ``job`` is added to its scrape job,
    ``rules`` are recording rules (name and expression), ``rule_file`` is the text of a file with others, ``settings``
    more of its configuration file."""

    def __init__(
        self,
        directory: Path,
        job: Mapping[str, Any] | None = None,
        rules: Mapping[str, str] | None = None,
        program: Path | None = None,
        settings: Mapping[str, Any] | None = None,
        rule_file: str = "",
    ) -> None:
        self._directory, self._job, self._rules, self._program = directory, dict(job or {}), dict(rules or {}), program
        self._rule_file = rule_file
        self._settings = dict(settings or {})
        self._targets = directory / "targets.json"
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.scrape()

    ready = "/-/ready"
    """Path that answers when it can be asked."""
    headers: Mapping[str, str] = {}
    """Of each query."""

    @property
    def address(self) -> str:
        """HOST:PORT of the program that scrapes."""
        return f"127.0.0.1:{self._port}"

    @property
    def data(self) -> Path:
        """Where its samples are."""
        return self._directory / "data"

    @property
    def url(self) -> str:
        """Where it answers queries."""
        return f"http://{self.address}"

    def scrape(self, *addresses: str, **labels: str) -> None:
        """It scrapes /metrics of these HOST:PORT from now on, and nothing else; series without them get ``labels``."""
        self.scrape_each(dict.fromkeys(addresses, labels))

    def scrape_each(self, labels: Mapping[str, Mapping[str, str]]) -> None:
        """The same with labels of their own for each address."""
        written = self._directory / "targets.next"
        written.write_text(json.dumps([{"targets": [each], "labels": dict(own)} for each, own in labels.items()]))
        written.rename(self._targets)

    def query_range(self, expression: str, start: float, end: float, step: float) -> list[dict[str, Any]]:
        """The matrix that the expression gives between two times."""
        times = {"start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step:g}"}
        asked = f"{self.url}/api/v1/query_range?{urllib.parse.urlencode({'query': expression, **times})}"
        with urllib.request.urlopen(urllib.request.Request(asked, headers=dict(self.headers)), timeout=30) as answer:
            result: list[dict[str, Any]] = json.load(answer)["data"]["result"]
            return result

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The instant vector that the expression gives now."""
        asked = f"{self.url}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
        with urllib.request.urlopen(urllib.request.Request(asked, headers=dict(self.headers)), timeout=10) as answer:
            result: list[dict[str, Any]] = json.load(answer)["data"]["result"]
            return result

    def start(self) -> None:
        """Start it; returns when it answers queries."""
        program = self._program or shutil.which("prometheus")
        assert program, "prometheus is not installed: run `make tools`"
        every = f"{SCRAPE_SECONDS}s"
        files = {"files": [str(self._targets)], "refresh_interval": every}
        # Labels of the exporter stand: a series says of which namespace and pod it is.
        jobs = [{"job_name": "test", "honor_labels": True, "file_sd_configs": [files], **self._job}]
        more = self._settings
        settings = {**more, "global": {"scrape_interval": every, "scrape_timeout": every, **more.get("global", {})}}
        settings["scrape_configs"] = jobs
        if self._rules:
            rules = [{"record": name, "expr": expression} for name, expression in self._rules.items()]
            group = {"name": "recorded", "interval": every, "rules": rules}
            (self._directory / "rules.yml").write_text(yaml.safe_dump({"groups": [group]}))
            settings["rule_files"] = [str(self._directory / "rules.yml")]
        if self._rule_file:
            (self._directory / "rules.yml").write_text(self._rule_file)
            settings["rule_files"] = [str(self._directory / "rules.yml")]
        (self._directory / "prometheus.yml").write_text(yaml.safe_dump(settings))
        with (self._directory / "prometheus.log").open("ab") as log:
            self._process = subprocess.Popen([program, *self._arguments(self._port)], stdout=log, stderr=log)
        wait_until(self._answers, "Prometheus answers", timeout=START_SECONDS)

    def _arguments(self, port: int) -> list[str]:
        return [
            f"--config.file={self._directory}/prometheus.yml",
            f"--storage.tsdb.path={self.data}",
            f"--web.listen-address=127.0.0.1:{port}",
        ]

    def stop(self) -> None:
        """End it at once."""
        if self._process:
            self._process.kill()
            self._process.wait()

    def _answers(self) -> bool:
        assert self._process and self._process.poll() is None, (self._directory / "prometheus.log").read_text()
        try:
            with urllib.request.urlopen(f"http://{self.address}{self.ready}", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


class VictoriaMetricsServer(PrometheusServer):
    """VictoriaMetrics as one process. It answers queries for now with what was scraped a second ago (the setting
    ``-search.latencyOffset``; 30 s unless it is set)."""

    ready = "/health"

    def _arguments(self, port: int) -> list[str]:
        return [
            f"-promscrape.config={self._directory}/prometheus.yml",
            "-promscrape.config.strictParse=false",
            f"-promscrape.fileSDCheckInterval={SCRAPE_SECONDS}s",
            f"-storageDataPath={self._directory}/data",
            f"-httpListenAddr=127.0.0.1:{port}",
            f"-search.latencyOffset={SCRAPE_SECONDS}s",
            "-loggerLevel=WARN",
        ]


@contextlib.contextmanager
def prometheus_server(
    addresses: Sequence[str] = (), kind: type[PrometheusServer] = PrometheusServer, **more: Any
) -> Iterator[PrometheusServer]:
    """A running Prometheus that scrapes these addresses; ended afterwards. ``more``: arguments of ``kind``."""
    with tempfile.TemporaryDirectory(prefix="prometheus-") as directory:
        server = kind(Path(directory), **more)
        server.scrape(*addresses)
        server.start()
        try:
            yield server
        finally:
            server.stop()


def _series(name: str, labels: Mapping[str, str]) -> str:
    inner = ",".join(f"{key}={json.dumps(value)}" for key, value in sorted(labels.items()))
    return f"{name}{{{inner}}}"
