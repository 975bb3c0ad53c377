"""Sends the prompt and prints the answer: text to stdout as it arrives, reasoning and figures to stderr."""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

from llmservice_operator.cli import kubeconfig, wire
from llmservice_operator.cli.failure import Failure
from llmservice_operator.cli.inference.api_key import api_key
from llmservice_operator.cli.inference.endpoint import ServiceProxy
from llmservice_operator.cli.inference.generation import Generation, Write, receive
from llmservice_operator.cli.inference.model_service import ModelService
from llmservice_operator.cli.inference.refusals import content_of, message_of, refused
from llmservice_operator.cli.terminal import give, give_part, say, say_part

CHAT, COMPLETION = "/v1/chat/completions", "/v1/completions"
LARGEST_PROMPT = 1 << 20
"""Characters of a prompt from stdin."""
_NO_TEMPLATE_MESSAGE = "chat template"
"""In vLLM's message for a chat with a model that has none; its status is 400."""


def run(options: argparse.Namespace) -> None:
    """Print the answer. Raises Failure."""
    prompt, key = _prompt(options), api_key(options)
    cluster, namespace = kubeconfig.connect(options)
    service = ModelService.read(cluster, namespace, options.service)
    service.check()
    attempt = _Attempt(options, service, ServiceProxy(cluster, namespace, options.service, key), prompt, bool(key))
    generation, api = attempt.run()
    if options.output == "json":
        give(wire.text(_document(service, generation, api)))
        return
    give("")
    say(_figures(generation, options.max_tokens))


class _NoTemplate(Exception):
    """A chat with a model that has no chat template."""


class _Attempt:
    """One prompt: as a chat message, then as a completion if the model has no chat template."""

    def __init__(
        self, options: argparse.Namespace, service: ModelService, proxy: ServiceProxy, prompt: str, has_key: bool
    ) -> None:
        self._options = options
        self._service = service
        self._proxy = proxy
        self._prompt = prompt
        self._has_key = has_key
        self._deadline = time.perf_counter() + options.timeout
        as_text = options.output == "text"
        self._text: Write = give_part if as_text else lambda text: None
        self._reasoning: Write = say_part if as_text else lambda text: None

    def run(self) -> tuple[Generation, str]:
        """The answer, and the path of the API that gave it. Raises Failure."""
        if not self._options.completion:
            try:
                return self._sent(CHAT, self._chat()), CHAT
            except _NoTemplate:
                if self._options.system:
                    raise Failure(
                        "the model has no chat template, so it takes no system message: remove --system"
                    ) from None
                say("The model has no chat template: it continues the prompt.")
        return self._sent(COMPLETION, {"prompt": self._prompt}), COMPLETION

    def _chat(self) -> dict[str, Any]:
        system = [{"role": "system", "content": self._options.system}] if self._options.system else []
        return {"messages": [*system, {"role": "user", "content": self._prompt}]}

    def _sent(self, path: str, body: dict[str, Any]) -> Generation:
        """The answer. Raises _NoTemplate or Failure."""
        body |= {"model": self._service.model, "max_tokens": self._options.max_tokens}
        body |= {"stream": True, "stream_options": {"include_usage": True}}
        generation = Generation(began=time.perf_counter())
        left = max(1.0, self._deadline - generation.began)
        with self._proxy.post(path, body, left) as response:
            if response.status == 200:
                receive(response.pieces, generation, self._deadline, self._text, self._reasoning)
                return generation
            content = content_of(response.pieces)
        if path == CHAT and response.status == 400 and _NO_TEMPLATE_MESSAGE in message_of(content):
            raise _NoTemplate
        raise refused(self._service, self._proxy.thing(path), response.status, content, has_key=self._has_key)


def _prompt(options: argparse.Namespace) -> str:
    """Raises Failure if it is empty or too long."""
    try:
        prompt = sys.stdin.read(LARGEST_PROMPT + 1) if options.prompt == "-" else str(options.prompt)
    except UnicodeDecodeError:
        raise Failure("the prompt on stdin is not text in UTF-8") from None
    if len(prompt) > LARGEST_PROMPT:
        raise Failure(f"the prompt has more than {LARGEST_PROMPT} characters")
    if not prompt.strip():
        raise Failure("the prompt is empty")
    return prompt


def _figures(generation: Generation, max_tokens: int) -> str:
    first, tokens = generation.first_token_seconds, generation.output_tokens
    parts = [
        f"{generation.prompt_tokens} tokens of prompt" if generation.prompt_tokens is not None else "",
        f"{tokens} tokens in {generation.seconds:.2f} s" if tokens is not None else f"{generation.seconds:.2f} s",
        f"the first after {first:.2f} s" if first is not None else "",
        f"cut at --max-tokens {max_tokens}" if generation.finish_reason == "length" else "",
    ]
    return "; ".join(part for part in parts if part) + "."


def _document(service: ModelService, generation: Generation, api: str) -> wire.Generation:
    return wire.Generation(
        namespace=service.thing.namespace,
        name=service.thing.name,
        model=service.model,
        api="Chat" if api == CHAT else "Completion",
        text="".join(generation.text),
        reasoning="".join(generation.reasoning),
        finish_reason=generation.finish_reason,
        prompt_tokens=generation.prompt_tokens,
        output_tokens=generation.output_tokens,
        first_token_seconds=generation.first_token_seconds,
        seconds=generation.seconds,
    )
