"""POST /v1/batch: many prompts with the same parameters, answered in their order in one JSON object.

All prompts of a request are sent to the engine in one call of vLLM's completion server. If vLLM refuses the call, which
happens before anything is computed, each prompt is sent in its own call, so that only a prompt that is too long fails.
Requests that arrive within the batching window are sent to the engine together; each keeps its own id, trace and
client.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

from pydantic import BaseModel, ConfigDict, Field

from llmservice_runtime.gateway.sizes import BYTES_PER_TOKEN, text_bytes

MOST_PROMPTS = 1024
"""vLLM's maximum for one request."""
_FIRST_SERVER_ERROR = 500
_NOT_FOUND = 404

Number = Annotated[float, Field(allow_inf_nan=False)]


class BatchRequest(BaseModel):
    """The body. Its bounds are checked before any prompt is read."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    prompts: list[str] = Field(min_length=1, max_length=MOST_PROMPTS)
    model: str | None = None
    max_tokens: int | None = Field(None, ge=1, le=2**31 - 1)
    temperature: Number | None = Field(None, ge=0)
    top_p: Number | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=-1, le=2**31 - 1)
    frequency_penalty: Number | None = Field(None, ge=-2, le=2)
    presence_penalty: Number | None = Field(None, ge=-2, le=2)
    repetition_penalty: Number | None = Field(None, gt=0)
    seed: int | None = Field(None, ge=-(2**63), le=2**63 - 1)
    stop: str | list[str] | None = None
    ignore_eos: bool | None = None
    cache_salt: str | None = Field(None, min_length=1, max_length=128)
    """Prompts with other salts share no prefix cache."""

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters of each prompt, for a completion request of vLLM."""
        return self.model_dump(exclude_none=True, exclude={"prompts"})


class Error(BaseModel):
    """Why a prompt has no text, in OpenAI's format."""

    message: str
    type: str
    param: str | None = None
    code: int


class Result(BaseModel):
    """The result of one prompt: `text` or `error`."""

    text: str | None = None
    finish_reason: str | None = None
    error: Error | None = None


class Usage(BaseModel):
    """Tokens of all prompts and answers."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0

    def add(self, other: Any) -> None:
        """Adds the usage that vLLM reports for one answer."""
        self.prompt_tokens += other.prompt_tokens
        self.completion_tokens += other.completion_tokens or 0
        self.total_tokens += other.total_tokens


class BatchAnswer(BaseModel):
    """The answer: one result for each prompt, in the order of the prompts."""

    model: str
    results: list[Result]
    usage: Usage


class Completions(Protocol):
    """The part of vLLM's completion server that is used here."""

    async def create_completion(self, request: Any, raw_request: Any = None) -> Any:
        """An answer with `choices` and `usage`, or a refusal with `error`."""

    def create_error_response(self, message: Any) -> Any:
        """vLLM's refusal for an exception of its own."""


class Refused(Exception):
    """The request as a whole was refused, with this error."""

    def __init__(self, error: Error) -> None:
        super().__init__(error.message)
        self.error = error


@dataclass(frozen=True, slots=True)
class Accounted:
    """What the gateway reads of a request to charge it, by vLLM's name."""

    final_usage_info: Usage


class Window:
    """Collects arrivals for `seconds` after the first one, or until there are `full` prompts."""

    def __init__(self, seconds: float, full: int) -> None:
        self._seconds = seconds
        self._full = full
        self._open: asyncio.Event | None = None
        self._prompts = 0

    async def pass_through(self, prompts: int) -> None:
        """Returns when the window of this arrival closes."""
        if not self._seconds:
            return
        if self._open is None:
            self._open, self._prompts = asyncio.Event(), 0
            asyncio.get_running_loop().call_later(self._seconds, self._close, self._open)
        window = self._open
        self._prompts += prompts
        if self._prompts >= self._full:
            self._close(window)
        await window.wait()

    def _close(self, window: asyncio.Event) -> None:
        window.set()
        if self._open is window:
            self._open = None


class Batches:
    """Handles the route with vLLM's completion server.

    `completion` makes vLLM's request from keyword arguments; `part` makes the HTTP request of the i-th prompt from the
    one that arrived, with its own id, because the engine identifies requests by id.
    """

    def __init__(
        self,
        server: Completions,
        completion: Callable[..., Any],
        part: Callable[[Any, int], Any],
        window: Window,
    ) -> None:
        self._server = server
        self._completion = completion
        self._part = part
        self._window = window

    async def answer(self, asked: BatchRequest, raw: Any) -> BatchAnswer:
        """Answers the request. Raises Refused, and vLLM's exceptions if the engine fails."""
        await self._window.pass_through(len(asked.prompts))
        whole = await self._ask(asked, asked.prompts, raw)
        if not _is_refusal(whole):
            return _answer(asked, [whole], [_result(choice) for choice in whole.choices])
        error = _error(whole)
        if error.code >= _FIRST_SERVER_ERROR or error.code == _NOT_FOUND:
            raise Refused(error)
        each = await self._one_by_one(asked, raw)
        answer = _answer(asked, each, [_only_result(part) for part in each])
        raw.state.request_metadata = Accounted(_with_refused(answer.usage, asked.prompts, each))
        return answer

    async def _one_by_one(self, asked: BatchRequest, raw: Any) -> list[Any]:
        """vLLM's answer or refusal for each prompt; if one fails or the client disconnects, the others are
        cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self._ask(asked, [prompt], self._part(raw, at)))
                    for at, prompt in enumerate(asked.prompts)
                ]
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        return [task.result() for task in tasks]

    async def _ask(self, asked: BatchRequest, prompts: Sequence[str], raw: Any) -> Any:
        """vLLM's answer to these prompts, or its refusal, which it returns for some prompts and raises for others."""
        try:
            request = self._completion(prompt=list(prompts), **asked.parameters)
            answer = await self._server.create_completion(request, raw)
        except Exception as error:
            refusal = self._server.create_error_response(error)
            if refusal.error.code >= _FIRST_SERVER_ERROR:
                raise
            return refusal
        # vLLM answers a cancelled request like an invalid one.
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError
        return answer


def _answer(asked: BatchRequest, parts: Sequence[Any], results: list[Result]) -> BatchAnswer:
    usage, model = Usage(), asked.model or ""
    for part in parts:
        if not _is_refusal(part):
            model = part.model
            usage.add(part.usage)
    return BatchAnswer(model=model, results=results, usage=usage)


def _with_refused(usage: Usage, prompts: Sequence[str], answers: Sequence[Any]) -> Usage:
    """The usage plus an estimate for each refused prompt, because vLLM tokenized it."""
    refused = [prompt for prompt, answer in zip(prompts, answers, strict=True) if _is_refusal(answer)]
    tokens = sum(-(-text_bytes(prompt) // BYTES_PER_TOKEN) for prompt in refused)
    whole = Usage()
    whole.add(usage)
    whole.add(Usage(prompt_tokens=tokens, total_tokens=tokens))
    return whole


def _is_refusal(answer: Any) -> bool:
    return hasattr(answer, "error")


def _only_result(answer: Any) -> Result:
    return Result(error=_error(answer)) if _is_refusal(answer) else _result(answer.choices[0])


def _result(choice: Any) -> Result:
    return Result(text=choice.text, finish_reason=choice.finish_reason)


def _error(refusal: Any) -> Error:
    error = refusal.error
    return Error(message=error.message, type=error.type, param=error.param, code=int(error.code))
