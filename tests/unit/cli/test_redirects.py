"""Where a model's answer redirects to gets neither the API key nor the prompt, nor the user's token for the cluster."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from llmservice_operator.cli.main import main
from unit.cli.conftest import write_kubeconfig
from unit.cli.model_server import ModelServer, serving


class Elsewhere:
    """A server of an attacker, and its requests with their headers."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.url = ""


@contextlib.contextmanager
def elsewhere() -> Iterator[Elsewhere]:
    found = Elsewhere()

    class Handler(BaseHTTPRequestHandler):
        def _handle(self) -> None:
            found.requests.append(f"{self.command} {self.path} {dict(self.headers)}")
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST = _handle  # noqa: N815

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("command", ["try", "bench", "bench --url"])
def test_a_redirect_is_not_followed(
    status: int,
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "LLM_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    api = ModelServer()
    api.is_ready()
    with elsewhere() as attacker, serving(api) as url:
        monkeypatch.setenv("KUBECONFIG", str(write_kubeconfig(tmp_path / "kubeconfig", url)))
        api.replies = lambda path, body: (status, {}, {"Location": f"{attacker.url}{path}"})
        words = {
            "try": ["try", "chat", "a prompt"],
            "bench": ["bench", "chat", "--rates", "20", "--seconds", "1"],
            "bench --url": ["bench", "chat", "--rates", "20", "--seconds", "1", "--url", f"{url}/direct/v1"],
        }[command]
        done = main([*words, "--key", "sk-secret"])
        assert api.requests, "the model was asked"
        assert attacker.requests == []
    assert done == 1
    assert str(status) in capfd.readouterr().err
