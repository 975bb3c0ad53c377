"""A pod's HTTP server without vLLM: uvicorn with the runtime's gateway, around an application that notes what it gets.

    python -P tests/support/front_server.py PORT FILE

Each request that reaches the application is a line of JSON in FILE: method, path, length of its body, and the `model`
that vLLM would read. `-P` keeps Python from taking the file operator.py beside this one for its own module.
"""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import Any

import uvicorn
import uvloop

from llmservice_runtime.gateway import Gateway
from llmservice_runtime.vllm_plugins import connections


async def app(scope: Any, receive: Any, send: Any) -> None:
    """The application."""
    if scope["type"] != "http":
        if scope["type"] == "lifespan":
            for step in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{step}.complete"})
        return
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
    seen = {
        "method": scope["method"],
        "path": scope["raw_path"].decode("latin-1"),
        "length": len(body),
        "host": dict(headers).get("host"),
        "model": _model(body) if scope["method"] == "POST" else None,
    }
    _note(json.dumps(seen) + "\n")
    answer = json.dumps(seen).encode()
    sent = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": sent})
    await send({"type": "http.response.body", "body": answer})


def _note(line: str) -> None:
    with Path(sys.argv[2]).open("a") as file:
        file.write(line)


def _model(body: bytes) -> Any:
    """As FastAPI reads it."""
    with contextlib.suppress(ValueError, RecursionError):
        found = json.loads(body)
        return found.get("model") if isinstance(found, dict) else None
    return None


def main() -> None:
    connections.install()
    config = uvicorn.Config(
        Gateway(app), interface="asgi3", port=int(sys.argv[1]), log_level="warning", access_log=False
    )
    uvloop.run(uvicorn.Server(config).serve())


if __name__ == "__main__":
    sys.exit(main())
