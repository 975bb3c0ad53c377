"""Requests a stream from /v1/completions and records the time of each chunk.

As in `vllm bench serve`, the clock starts before the request is sent, a chunk counts if it has `choices`, with any
text, and the server counts the tokens (`include_usage`).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from llmservice_operator.cli.inference.events import DONE, Events
from serving import errors
from serving.answer import CUT, Answer

KEEP_ALIVE_SECONDS = 4
"""Below the 5 s after which vLLM closes an idle connection, so that no request meets one that is being closed."""
MOST_DETAIL = 300


def session(key: str | None, timeout: float) -> aiohttp.ClientSession:
    """Connections that are used again, as many as there are requests in flight."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_SECONDS),
        timeout=aiohttp.ClientTimeout(total=timeout),
        headers={"Authorization": f"Bearer {key}"} if key else {},
        read_bufsize=2**20,
        trust_env=True,
    )


@dataclass
class Client:
    """Asks one model of one server."""

    http: aiohttp.ClientSession
    url: str
    model: str
    sampling: dict[str, Any] = field(default_factory=dict)
    now: Callable[[], float] = time.perf_counter

    async def ask(self, prompt: str, max_tokens: int, record: Callable[[Answer], object]) -> Answer:
        """One request; its answer is recorded however it ends, also where the asking task is cancelled."""
        body = {"model": self.model, "prompt": prompt, "max_tokens": max_tokens, **self.sampling}
        body |= {"stream": True, "stream_options": {"include_usage": True}}
        answer = Answer(began=self.now(), error=CUT)
        try:
            async with self.http.post(f"{self.url}/v1/completions", json=body) as response:
                if response.status == 200:
                    await self._read(response, answer)
                else:
                    answer.error = errors.status(response.status)
                    answer.detail = said(await response.read())
        except (aiohttp.ClientError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            answer.error, answer.detail = errors.kind(error), str(error) or type(error).__name__
        finally:
            record(answer)
        return answer

    async def _read(self, response: aiohttp.ClientResponse, answer: Answer) -> None:
        events, done = Events(), False
        async for piece in response.content.iter_any():
            for data in events.feed(piece):
                if data == DONE:
                    done = True
                    continue
                message = json.loads(data)
                if message.get("choices"):
                    answer.chunks.append(self.now())
                if usage := message.get("usage"):
                    answer.prompt_tokens, answer.output_tokens = usage["prompt_tokens"], usage["completion_tokens"]
                if "error" in message:
                    answer.error, answer.detail = errors.IN_STREAM, said(data)
                    return
        answer.error = "" if done and answer.chunks else errors.EMPTY if done else errors.BROKEN

    async def count(self, prompt: str) -> int:
        """The tokens of a prompt, as the server counts them; Unusable if it does not answer."""
        body = {"model": self.model, "prompt": prompt, "max_tokens": 1}
        try:
            async with self.http.post(f"{self.url}/v1/completions", json=body) as response:
                content = await response.read()
                if response.status != 200:
                    raise self.unusable(errors.status(response.status), said(content))
                return int(json.loads(content)["usage"]["prompt_tokens"])
        except (aiohttp.ClientError, OSError, ValueError, KeyError, TypeError) as error:
            raise self.unusable(errors.kind(error), str(error) or type(error).__name__) from None

    def unusable(self, failure: str, detail: str) -> errors.Unusable:
        """What to tell people of a first request that failed."""
        return errors.Unusable(errors.explain(failure, detail, self.url, self.model))


def said(content: bytes) -> str:
    """The message of OpenAI's error body; else the body's beginning."""
    try:
        found = json.loads(content)
        found = found.get("error", found)
        return str(found.get("message") or found)[:MOST_DETAIL]
    except (ValueError, AttributeError):
        return content[:MOST_DETAIL].decode(errors="replace").strip()
