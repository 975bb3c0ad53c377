#!/usr/bin/env python3
"""Cost of the gateway alone: called in this process around an application that does nothing, without sockets.

Prints {"bare", "front"}: microseconds of CPU for a request and for one more chunk. For vLLM's environment, with the
gateway's variables set.

    inprocess.py KEY
"""

import json
import sys
import time
from typing import Any

import uvloop

from llmservice_runtime.gateway import Gateway

REQUESTS, CHUNKS = 3000, 200_000
BODY = json.dumps({"model": "tiny", "prompt": "The above copyright notice", "max_tokens": 16, "stream": True}).encode()
CHUNK = {"type": "http.response.body", "body": b"data: " + b"x" * 300 + b"\n\n", "more_body": True}
START = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]}
END = {"type": "http.response.body", "body": b""}


class App:
    """Reads the request and sends as many chunks as it asks for."""

    chunks = 1

    async def __call__(self, _scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(START)
        for _ in range(self.chunks):
            await send(CHUNK)
        await send(END)


async def ask(app: Any, key: str) -> None:
    """One request, as uvicorn hands it on."""
    headers = [
        (b"host", b"bench"),
        (b"content-type", b"application/json"),
        (b"authorization", b"Bearer %b" % key.encode()),
    ]
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/completions",
        "raw_path": b"/v1/completions",
        "query_string": b"",
        "headers": headers,
        "state": {},
        "client": ("10.0.0.9", 4711),
        "root_path": "",
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": BODY, "more_body": False}

    async def send(_message: Any) -> None:
        return

    await app(scope, receive, send)


async def microseconds(inner: App, outer: Any, key: str) -> dict[str, float]:
    """CPU time of a request with one chunk, and of each further chunk; the least of five looks."""
    requests, chunks = [], []
    for _ in range(5):
        inner.chunks = 1
        began = time.thread_time()
        for _ in range(REQUESTS):
            await ask(outer, key)
        requests.append((time.thread_time() - began) / REQUESTS * 1e6)
        inner.chunks = CHUNKS
        began = time.thread_time()
        await ask(outer, key)
        chunks.append((time.thread_time() - began) / CHUNKS * 1e6)
    return {"us_per_request": round(min(requests), 3), "us_per_chunk": round(min(chunks), 4)}


async def main() -> None:
    inner = App()
    front = Gateway(inner)
    key = sys.argv[1]
    found = {"bare": await microseconds(inner, inner, key), "front": await microseconds(inner, front, key)}
    front._pipeline._parts.files.stop()
    print(json.dumps(found))


if __name__ == "__main__":
    uvloop.run(main())
