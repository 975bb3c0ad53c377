"""A stand-in for an engine pod that answers chats with their last message. Arguments: PORT SECONDS KEY..."""

from __future__ import annotations

import asyncio
import sys

from aiohttp import web


def application(seconds: float, keys: set[str]) -> web.Application:
    """Each answer takes so many seconds."""

    def accepts(request: web.Request) -> bool:
        return request.headers.get("Authorization", "").removeprefix("Bearer ") in keys

    async def models(request: web.Request) -> web.Response:
        return web.json_response({"data": []}, status=200 if accepts(request) else 401)

    async def chat(request: web.Request) -> web.Response:
        if not accepts(request):
            return web.json_response({"error": {"message": "no valid key"}}, status=401)
        text = (await request.json())["messages"][-1]["content"]
        await asyncio.sleep(seconds)
        return web.json_response({"choices": [{"message": {"role": "assistant", "content": f"answer to {text}"}}]})

    made = web.Application()
    made.add_routes([web.get("/v1/models", models), web.post("/v1/chat/completions", chat)])
    return made


if __name__ == "__main__":
    port, seconds, *keys = sys.argv[1:]
    web.run_app(
        application(float(seconds), set(keys)), host="127.0.0.1", port=int(port), access_log=None, print=lambda *_: None
    )
