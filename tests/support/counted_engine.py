"""An application whose engine counts tokens like vLLM: a fixed number for each second of a request."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from llmservice_runtime.gateway.engine_counts import install

START = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]}


class Detokenizer:
    """Has made `per_second` tokens in each second since its birth, `most` at most."""

    def __init__(self, per_second: int, most: int) -> None:
        self.per_second, self.most, self.begun = per_second, most, asyncio.get_running_loop().time()

    def num_output_tokens(self) -> int:
        return min(self.most, int((asyncio.get_running_loop().time() - self.begun) * self.per_second))


class Processor:
    """As vLLM's OutputProcessor, as far as the front reads it."""

    def __init__(self, per_second: int = 0, most: int = 10**9) -> None:
        self.request_states: dict[str, Any] = {}
        self.per_second, self.most = per_second, most

    def add_request(
        self, request: Any, prompt: str | None, parent_req: Any = None, request_index: int = 0, queue: Any = None
    ) -> None:
        state = SimpleNamespace(prompt_len=request.prompt, detokenizer=Detokenizer(self.per_second, self.most))
        self.request_states.setdefault(request.request_id, state)


def counted(per_second: int = 0, most: int = 10**9) -> Processor:
    """One whose requests are counted."""
    processor = Processor(per_second, most)
    install(SimpleNamespace(output_processor=processor))
    return processor


def request(name: str, prompt: int) -> Any:
    return SimpleNamespace(request_id=name, prompt=prompt)


def answering(processor: Processor, prompt: int, seconds: float, stops_after: float = 0.0) -> Any:
    """An application that hands one request to the engine and answers after so long, unless the client goes before.

    `stops_after`: seconds that the engine continues after the client has disconnected.
    """

    async def answer(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        processor.add_request(request(str(len(processor.request_states)), prompt), None)
        gone = asyncio.create_task(receive())
        done, _ = await asyncio.wait([gone], timeout=seconds)
        gone.cancel()
        if done:
            await asyncio.sleep(stops_after)
        else:
            await send(START)
            await send({"type": "http.response.body", "body": b"{}"})

    return answer
