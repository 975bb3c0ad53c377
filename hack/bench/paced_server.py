#!/usr/bin/env python3
"""A server of /v1/completions that answers on a fixed schedule, to find differences between measuring tools.

The first token of an answer is sent FIRST_MS after the request, and each further one NEXT_MS after the one before, by
the clock, so that delays do not add up. A prompt has as many tokens as words.

    hack/bench/paced_server.py --port 8000 [--first-ms 100] [--next-ms 20]
"""

import argparse
import asyncio
import json
from typing import Any

from aiohttp import web

CHUNK = b'data: {"object":"text_completion","choices":[{"index":0,"text":" the","finish_reason":null}]}\n\n'


class Paced:
    """Its answers."""

    def __init__(self, first_seconds: float, next_seconds: float) -> None:
        self._first = first_seconds
        self._next = next_seconds

    async def completions(self, request: web.Request) -> web.StreamResponse:
        """As many tokens as are asked for."""
        due = asyncio.get_running_loop().time() + self._first
        body = await request.json()
        tokens = int(body["max_tokens"])
        prompt_tokens = len(str(body["prompt"]).split())
        usage = {"prompt_tokens": prompt_tokens, "completion_tokens": tokens, "total_tokens": prompt_tokens + tokens}
        if not body.get("stream"):
            await until(due + (tokens - 1) * self._next)
            return web.json_response({"choices": [{"index": 0, "text": " the" * tokens}], "usage": usage})
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for number in range(tokens):
            await until(due + number * self._next)
            await response.write(CHUNK)
        await response.write(event({"object": "text_completion", "choices": [], "usage": usage}))
        await response.write(b"data: [DONE]\n\n")
        return response

    async def health(self, _: web.Request) -> web.Response:
        """It is there."""
        return web.Response()


async def until(moment: float) -> None:
    """Returns at this moment of the event loop's clock."""
    await asyncio.sleep(moment - asyncio.get_running_loop().time())


def event(data: dict[str, Any]) -> bytes:
    """One server-sent event."""
    return b"data: " + json.dumps(data).encode() + b"\n\n"


def main() -> None:
    """Serve until it is stopped."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--first-ms", type=float, default=100.0)
    parser.add_argument("--next-ms", type=float, default=20.0)
    options = parser.parse_args()
    paced = Paced(options.first_ms / 1000, options.next_ms / 1000)
    app = web.Application()
    app.router.add_post("/v1/completions", paced.completions)
    app.router.add_get("/health", paced.health)
    web.run_app(app, host="127.0.0.1", port=options.port, print=lambda *_: None, access_log=None)


if __name__ == "__main__":
    main()
