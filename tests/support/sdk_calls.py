"""Calls of the SDKs that users have, each against one service; for the Python of hack/venv/clients alone:

    python -P tests/support/sdk_calls.py URL KEY LIMITED_KEY

URL has no path. LIMITED_KEY has few requests per minute. One line of JSON: by the name of each call what it returned,
or the class of the exception with its status and what the SDK read of the error.
`-P` keeps Python from taking the file operator.py beside this one for its own module.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

os.environ |= {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", "LANGSMITH_TRACING": "false"}

MODEL = "tiny"
TOKENS = 8
ABOVE_CAP = 1000
TEXT = "The quick brown fox"
MESSAGES: list[Any] = [{"role": "user", "content": TEXT}]
UNKNOWN_KEY = "sk-0123456789"
REQUESTS = 6
"""With the limited key, of which some are refused."""


@dataclass(frozen=True)
class Place:
    """A service and keys for it."""

    url: str
    key: str
    limited_key: str


def openai_calls(place: Place) -> dict[str, Callable[[], Any]]:
    from openai import OpenAI

    def client(key: str = place.key, path: str = "/v1") -> OpenAI:
        return OpenAI(base_url=place.url + path, api_key=key, max_retries=0)

    def chat(made: OpenAI, **more: Any) -> Any:
        return made.chat.completions.create(model=MODEL, messages=MESSAGES, **{"max_tokens": TOKENS} | more)

    def limited() -> None:
        made = client(place.limited_key)
        for _ in range(REQUESTS):
            chat(made)

    return {
        "openai chat": lambda: chat(client()).choices[0].message.content,
        "openai stream": lambda: [each.choices[0].delta.content or "" for each in chat(client(), stream=True)],
        "openai models": lambda: [each.id for each in client().models.list()],
        "openai one model": lambda: client().models.retrieve(MODEL).id,
        "openai no such model": lambda: client().models.retrieve("org/other"),
        "openai slash at the end of the base URL": lambda: chat(client(path="/v1/")).choices[0].message.content,
        "openai base URL without /v1": lambda: chat(client(path="")),
        "openai unknown key": lambda: chat(client(UNKNOWN_KEY)),
        "openai above a cap": lambda: chat(client(), max_tokens=ABOVE_CAP),
        "openai above a limit": limited,
    }


def anthropic_calls(place: Place) -> dict[str, Callable[[], Any]]:
    from anthropic import Anthropic

    def client(key: str = place.key) -> Anthropic:
        return Anthropic(base_url=place.url, api_key=key, max_retries=0)

    def message(made: Anthropic, **more: Any) -> Any:
        return made.messages.create(model=MODEL, messages=MESSAGES, **{"max_tokens": TOKENS} | more)

    def stream() -> list[str]:
        with client().messages.stream(model=MODEL, messages=MESSAGES, max_tokens=TOKENS) as events:
            return list(events.text_stream)

    def limited() -> None:
        made = client(place.limited_key)
        for _ in range(REQUESTS):
            message(made)

    def bearer() -> Any:
        made = Anthropic(base_url=place.url, auth_token=place.key, api_key=None, max_retries=0)
        return message(made).content[0].text

    return {
        "anthropic message": lambda: message(client()).content[0].text,
        "anthropic stream": stream,
        "anthropic bearer": bearer,
        "anthropic count": lambda: client().messages.count_tokens(model=MODEL, messages=MESSAGES).input_tokens,
        "anthropic request id": lambda: message(client())._request_id,
        "anthropic models": lambda: [each.id for each in client().models.list()],
        "anthropic unknown key": lambda: message(client(UNKNOWN_KEY)),
        "anthropic above a cap": lambda: message(client(), max_tokens=ABOVE_CAP),
        "anthropic above a limit": limited,
        "anthropic unknown path": lambda: client().messages.batches.list(),
    }


def litellm_calls(place: Place) -> dict[str, Callable[[], Any]]:
    import litellm

    def ask(provider: str, key: str = place.key, **more: Any) -> Any:
        base = f"{place.url}/v1" if provider == "openai" else place.url
        options = {"api_base": base, "api_key": key, "max_tokens": TOKENS, "num_retries": 0, "max_retries": 0}
        return litellm.completion(model=f"{provider}/{MODEL}", messages=MESSAGES, **options | more)

    def text(provider: str) -> Any:
        return ask(provider).choices[0].message.content

    def stream(provider: str) -> list[str]:
        return [each.choices[0].delta.content or "" for each in ask(provider, stream=True)]

    return {
        "litellm openai": lambda: text("openai"),
        "litellm openai stream": lambda: stream("openai"),
        "litellm openai unknown key": lambda: ask("openai", UNKNOWN_KEY),
        "litellm anthropic": lambda: text("anthropic"),
        "litellm anthropic stream": lambda: stream("anthropic"),
        "litellm anthropic unknown key": lambda: ask("anthropic", UNKNOWN_KEY),
    }


def langchain_calls(place: Place) -> dict[str, Callable[[], Any]]:
    from langchain_anthropic import ChatAnthropic
    from langchain_openai import ChatOpenAI, OpenAIEmbeddings  # noqa: F401 (all of it can be imported)

    def of_openai(key: str = place.key) -> Any:
        return ChatOpenAI(model=MODEL, base_url=f"{place.url}/v1", api_key=key, max_tokens=TOKENS, max_retries=0)

    def of_anthropic(key: str = place.key) -> Any:
        return ChatAnthropic(model=MODEL, base_url=place.url, api_key=key, max_tokens=TOKENS, max_retries=0)

    return {
        "langchain openai": lambda: of_openai().invoke(TEXT).text,
        "langchain openai stream": lambda: [each.text for each in of_openai().stream(TEXT)],
        "langchain openai unknown key": lambda: of_openai(UNKNOWN_KEY).invoke(TEXT),
        "langchain anthropic": lambda: of_anthropic().invoke(TEXT).text,
        "langchain anthropic stream": lambda: [each.text for each in of_anthropic().stream(TEXT)],
        "langchain anthropic unknown key": lambda: of_anthropic(UNKNOWN_KEY).invoke(TEXT),
    }


def outcome(call: Callable[[], Any]) -> dict[str, Any]:
    """What it returned, or how it failed."""
    try:
        return {"value": call()}
    except Exception as error:
        read = {name: getattr(error, name, None) for name in ("status_code", "code", "type", "request_id", "body")}
        return {"error": type(error).__name__, "message": str(error)[:500], **read}


def main() -> None:
    place = Place(*sys.argv[1:4])
    calls: dict[str, Callable[[], Any]] = {}
    for make in (openai_calls, anthropic_calls, litellm_calls, langchain_calls):
        calls |= make(place)
    # All at once would be above the limits of some keys; one after the other, so that order is no matter.
    print(json.dumps({name: outcome(call) for name, call in calls.items()}, default=str))


if __name__ == "__main__":
    sys.exit(main())
