"""A replica without a model: the gateway on the runtime's HTTP server, around an application that streams at once.

    python -P tests/support/gateway_server.py PORT LAME_DUCK_SECONDS AGE_SECONDS [ADDRESS]

A chat is answered with the port, and as a stream with `max_tokens` events, one each EVENT_SECONDS. POST /drain begins a
drain and ends with it, as the runtime's own route. AGE_SECONDS is the age at which a connection ends. It
listens on 127.0.0.1 or on ADDRESS.
`-P` keeps Python from taking the file operator.py beside this one for its own module.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import uvicorn
import uvloop

from llmservice_runtime.gateway import Gateway
from llmservice_runtime.gateway.drain import drain_of_process
from llmservice_runtime.vllm_plugins import connections

EVENT_SECONDS = 0.1
DRAIN_SECONDS = 60.0


async def app(scope: Any, receive: Any, send: Any) -> None:
    """The application behind the gateway."""
    if scope["type"] == "lifespan":
        for step in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{step}.complete"})
        return
    body = await _body(receive) if scope["method"] == "POST" else b""
    if scope["path"] == "/drain":
        await _answer(send, await drain_of_process().drain(float(sys.argv[2]), DRAIN_SECONDS))
    elif scope["path"] == "/v1/chat/completions":
        asked = json.loads(body)
        if asked.get("stream"):
            await _stream(send, asked["max_tokens"])
        else:
            await _answer(send, {"choices": [{"message": {"role": "assistant", "content": sys.argv[1]}}]})
    else:
        await _answer(send, {"ready": drain_of_process().ready})


async def _body(receive: Any) -> bytes:
    parts, more = [], True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(parts)


async def _stream(send: Any, tokens: int) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
    for number in range(tokens):
        await asyncio.sleep(EVENT_SECONDS if number else 0)
        event = json.dumps({"choices": [{"index": 0, "delta": {"content": str(number)}}]})
        await send({"type": "http.response.body", "body": f"data: {event}\n\n".encode(), "more_body": True})
    await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})


async def _answer(send: Any, document: Any) -> None:
    body = json.dumps(document).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def main() -> None:
    connections.AGE_SECONDS = float(sys.argv[3])
    connections.install()
    port, address = int(sys.argv[1]), sys.argv[4] if len(sys.argv) > 4 else "127.0.0.1"
    config = uvicorn.Config(
        Gateway(app), interface="asgi3", host=address, port=port, log_level="warning", access_log=False
    )
    uvloop.run(uvicorn.Server(config).serve())


if __name__ == "__main__":
    sys.exit(main())
