"""Requests to the service from this machine through kubectl: a completion and a stream."""

import json
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from progress import StepFailed

PROMPT = "The above copyright notice and this permission notice shall be"


def service_port(namespace: str) -> AbstractContextManager[int]:
    """A local port that leads to the service chat."""
    return forwarded(namespace, "chat")


@contextmanager
def forwarded(namespace: str, service: str) -> Iterator[int]:
    """A local port that leads to a Service, by kubectl port-forward."""
    command = ["kubectl", "port-forward", "-n", namespace, f"service/{service}", ":80"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as forward:
        assert forward.stdout is not None
        try:
            line = forward.stdout.readline()
            if "->" not in line:
                raise StepFailed(f"`{' '.join(command)}` ended without a port")
            yield int(line.split("->")[0].rsplit(":", 1)[1])
        finally:
            forward.terminate()


def request(port: int, **body: object) -> urllib.request.Request:
    """A request to /v1/completions of the service."""
    data = json.dumps({"model": "chat", "prompt": PROMPT, **body}).encode()
    url = f"http://127.0.0.1:{port}/v1/completions"
    return urllib.request.Request(url, data, {"Content-Type": "application/json"})


def text_of(asked: urllib.request.Request) -> str:
    """The body of a request."""
    assert isinstance(asked.data, bytes)
    return asked.data.decode()


def one_token(port: int) -> None:
    """Ask for one token and wait for it."""
    with urllib.request.urlopen(request(port, max_tokens=1), timeout=120) as answer:
        answer.read()


def show_answers(port: int) -> None:
    """A completion and a stream, printed as they come."""
    print(f"$ curl -s http://chat.demo/v1/completions -d '{text_of(request(port, max_tokens=24))}'")
    with urllib.request.urlopen(request(port, max_tokens=24), timeout=120) as answer:
        print(json.dumps(json.load(answer), indent=2))
    print('\n$ the same with "stream": true, each token as it comes')
    with urllib.request.urlopen(request(port, max_tokens=24, stream=True), timeout=120) as answer:
        for line in answer:
            words = line.decode().strip().removeprefix("data: ")
            if words and words != "[DONE]":
                print(json.loads(words)["choices"][0]["text"], end="|", flush=True)
    print()
