"""A stand-in for an API server whose proxy leads to a model.

As the real one does, it removes the header Authorization from what it passes on.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler
from typing import Any

from support.fake_api import Answer, listening, refusal
from unit.cli.user_api import UserAPI

PROXY = "/api/v1/namespaces/team-a/services/chat%3Ahttp/proxy"
Pieces = Iterator[bytes]
Reply = Answer | tuple[int, dict[str, Any], Mapping[str, str]] | Pieces
"""A status with a body, and headers perhaps, or the pieces of a stream; the connection breaks if the stream raises."""


class ModelServer(UserAPI):
    """The API server, and a model that answers with ``words``."""

    def __init__(self) -> None:
        super().__init__()
        self.words = ["Hello", " there", "."]
        self.key = ""
        """The key that the model wants; empty for none."""
        self.requests: list[tuple[str, dict[str, Any]]] = []
        """Path and body of each request that reached the model."""
        self.headers: list[Mapping[str, str]] = []
        self.replies: Callable[[str, dict[str, Any]], Reply | None] = lambda path, body: None
        """What the model, or the proxy, answers instead."""

    def is_ready(self, replicas: int = 1, **condition: str) -> None:
        """The service chat in team-a, with so many ready replicas."""
        ready = {"type": "Ready", "status": "True" if replicas else "False", **condition}
        self.place("LLMService", "team-a", "chat", spec={}, status={"readyReplicas": replicas, "conditions": [ready]})

    def reply(self, path: str, headers: Mapping[str, str], body: dict[str, Any]) -> Reply:
        """The answer to a request that reached the model."""
        self.requests.append((path, body))
        self.headers.append(headers)
        own = self.replies(path, body)
        if own is not None:
            return own
        if self.key and headers.get("X-Api-Key") != self.key and headers.get("Authorization") != f"Bearer {self.key}":
            return error(401, "This service needs an API key that it knows.")
        return stream(path, self.words)


def error(status: int, message: str) -> Answer:
    """An error as vLLM words it."""
    return status, {"error": {"message": message, "code": status}}


def no_endpoints() -> Answer:
    """As the proxy answers for a Service without ready pods."""
    return refusal(503, 'no endpoints available for service "chat"', "ServiceUnavailable")


def event(message: Mapping[str, Any]) -> bytes:
    """One message of a stream."""
    return b"data: " + json.dumps(message).encode() + b"\n\n"


def part(path: str, text: str, finish: str | None = None, field: str = "content") -> bytes:
    """A message with a part of the answer."""
    choice = {"delta": {field: text}} if path.endswith("/chat/completions") else {"text": text}
    return event({"choices": [{**choice, "finish_reason": finish}]})


def stream(path: str, words: list[str], finish: str = "stop") -> Pieces:
    """The answer, a word in a message."""
    for number, word in enumerate(words, 1):
        yield part(path, word, finish if number == len(words) else None)
    yield event({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": len(words)}})
    yield b"data: [DONE]\n\n"


@contextlib.contextmanager
def serving(api: ModelServer) -> Iterator[str]:
    """It answers at this URL; a request that it does not know fails at the end. Below /direct is the model itself."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def _handle(self) -> None:
            body = self._chunks() if "Transfer-Encoding" in self.headers else self._counted()
            content = json.loads(body) if body else None
            headers = dict(self.headers.items())
            if self.path.startswith(PROXY):
                headers.pop("Authorization", None)
                self._send(api.reply(self.path.removeprefix(PROXY), headers, content))
            elif self.path.startswith("/direct/"):
                self._send(api.reply(self.path.removeprefix("/direct"), headers, content))
            else:
                answer = api.answer(self.command, self.path, self.headers.get("Content-Type", ""), content)
                assert not isinstance(answer, str)
                self._send(answer)

        def _counted(self) -> bytes:
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))

        def _chunks(self) -> bytes:
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body

        def _send(self, reply: Reply) -> None:
            if isinstance(reply, tuple):
                status, document, *headers = reply
                text = (document if isinstance(document, str) else json.dumps(document)).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                for name, value in headers[0].items() if headers else ():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text)
                return
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            try:
                for piece in reply:
                    self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
                    self.wfile.flush()
                self.wfile.write(b"0\r\n\r\n")
            except ConnectionError:
                self.close_connection = True

        do_GET = do_POST = do_PATCH = _handle  # noqa: N815

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    with listening(Handler) as url:
        yield url
    assert not api.unexpected
