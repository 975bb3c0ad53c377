"""A load of streamed requests on a service during a test, and the failures that a user would see."""

from __future__ import annotations

import http.client
import json
import threading
import urllib.parse

TOKENS = 32
PROMPT = "The above copyright notice and this permission notice"
ANSWER_SECONDS = 120.0
PAUSE_SECONDS = 0.5


class StreamedLoad:
    """So many streams at a time, one after the other on each, with a pause that leaves CPU for an engine that starts.

    Use it as a context manager.

    An answer counts as whole where it has its end and as many tokens as were asked for.
    """

    def __init__(self, address: str, model: str, streams: int = 2, tokens: int = TOKENS) -> None:
        self.whole = 0
        self.failed: list[str] = []
        self._tokens = tokens
        self._host = urllib.parse.urlsplit(address).netloc
        self._body = json.dumps(
            {
                "model": model,
                "prompt": PROMPT,
                "max_tokens": tokens,
                "ignore_eos": True,
                "stream": True,
                "stream_options": {"include_usage": True},
            }
        )
        self._done = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(streams)]

    def __enter__(self) -> StreamedLoad:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join(ANSWER_SECONDS)

    def _run(self) -> None:
        while not self._done.is_set():
            problem = self.ask()
            with self._lock:
                if problem:
                    self.failed.append(problem)
                else:
                    self.whole += 1
            self._done.wait(PAUSE_SECONDS)

    def ask(self) -> str:
        """One answer on a connection of its own. Returns what is wrong with it."""
        connection = http.client.HTTPConnection(self._host, timeout=ANSWER_SECONDS)
        try:
            connection.request("POST", "/v1/completions", self._body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            text = answer.read().decode()
        except (OSError, http.client.HTTPException) as error:
            return f"{type(error).__name__}: {error}"
        finally:
            connection.close()
        if answer.status != 200:
            return f"{answer.status}: {text[:300]}"
        events = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
        if not events or events[-1] != "[DONE]":
            return f"cut after {len(events)} events"
        tokens = json.loads(events[-2])["usage"]["completion_tokens"]
        return "" if tokens == self._tokens else f"{tokens} of {self._tokens} tokens"
