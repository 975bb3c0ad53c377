#!/usr/bin/env python3
"""A stub engine in the HTTP server of vLLM (FastAPI, uvicorn, uvloop, httptools), to make the gateway's cost visible.

Each stream sends its next chunk in the next pass of the event loop, or after a pause. With `front` it runs behind the
runtime's gateway, and reports tokens as vLLM does. For vLLM's environment.

    stub.py PORT [front]
"""

import asyncio
import gc
import sys
from collections.abc import AsyncIterator
from types import SimpleNamespace

import uvicorn
import uvloop
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse

CHUNK = (
    'data: {"id":"cmpl-9b1deb4d3b7d4bad9bdd2b0d7b3dcb6d","object":"text_completion","created":1795630000,'
    '"model":"tiny","choices":[{"index":0,"text":" the","logprobs":null,"finish_reason":null,"stop_reason":null,'
    '"token_ids":null,"prompt_logprobs":null,"prompt_token_ids":null}],"usage":null}\n\n'
)


async def completions(raw: Request) -> StreamingResponse:
    """As many chunks as tokens are asked for; `pause` are seconds before each but the first."""
    body = await raw.json()
    tokens, pause = int(body["max_tokens"]), float(body.get("pause", 0))
    raw.state.request_metadata = metadata = SimpleNamespace(final_usage_info=None)

    async def chunks() -> AsyncIterator[str]:
        for number in range(tokens):
            await asyncio.sleep(pause if number else 0)
            yield CHUNK
        metadata.final_usage_info = SimpleNamespace(prompt_tokens=5, completion_tokens=tokens)
        yield "data: [DONE]\n\n"

    return StreamingResponse(chunks(), media_type="text/event-stream")


def main(port: int, with_front: bool) -> None:
    app = FastAPI()
    app.add_api_route("/v1/completions", completions, methods=["POST"], response_model=None)
    app.add_api_route("/health", lambda: None, methods=["GET"])
    if with_front:
        from llmservice_runtime.gateway import Gateway

        app.add_middleware(Gateway)
    # As vLLM does when it starts to serve: else each look of the garbage collector goes through all that was loaded.
    gc.collect()
    gc.freeze()
    config = uvicorn.Config(app, host="127.0.0.1", port=port, access_log=False, log_level="warning")
    uvloop.run(uvicorn.Server(config).serve())


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:] == ["front"])
