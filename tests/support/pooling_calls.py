"""Calls of models that embed, score and rerank by the SDKs that users have; for the Python of hack/venv/clients alone:

    python -P tests/support/pooling_calls.py embed|score URL KEY LIMITED_KEY

As sdk_calls.py, whose output this has too.
"""

from __future__ import annotations

import json
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

_sdk_calls = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("sdk_calls.py"))))
MODEL, UNKNOWN_KEY, REQUESTS = _sdk_calls.MODEL, _sdk_calls.UNKNOWN_KEY, _sdk_calls.REQUESTS
TEXTS = ["What is the weather in Oslo?", "It is four."]
QUERY, DOCUMENTS = "What is the weather in Oslo?", ["It is four.", "The weather in Oslo", "weather"]
TOO_MANY = 5
"""Above the cap of prompts."""
DIMENSIONS = 16


def openai_client(place: Any, key: str | None = None) -> Any:
    from openai import OpenAI

    return OpenAI(base_url=f"{place.url}/v1", api_key=key or place.key, max_retries=0)


def cohere_client(place: Any, key: str | None = None) -> Any:
    from cohere import ClientV2

    return ClientV2(base_url=place.url, api_key=key or place.key)


NO_RETRY: Any = {"max_retries": 0}


def embed_calls(place: Any) -> dict[str, Callable[[], Any]]:
    def vectors(key: str | None = None, **more: Any) -> Any:
        made = openai_client(place, key).embeddings.create(model=MODEL, **{"input": TEXTS} | more)
        return [each.embedding for each in made.data]

    def cohere(key: str | None = None, texts: list[str] = TEXTS, input_type: str = "search_document") -> Any:
        made = cohere_client(place, key).embed(
            model=MODEL, texts=texts, input_type=input_type, embedding_types=["float"], request_options=NO_RETRY
        )
        return made.embeddings.float_

    def pooling(**body: Any) -> Any:
        client = openai_client(place).with_options(base_url=place.url)
        return client.post("/pooling", cast_to=object, body={"model": MODEL, "input": TEXTS, **body})

    def litellm() -> Any:
        from litellm import embedding

        made = embedding(
            model=f"hosted_vllm/{MODEL}", input=TEXTS, api_base=f"{place.url}/v1", api_key=place.key, max_retries=0
        )
        return [each["embedding"] for each in made.data]

    return {
        "openai": vectors,  # asks for base64
        "openai usage": lambda: (
            openai_client(place)
            .embeddings.create(model=MODEL, input=TEXTS)
            .usage.model_dump(include={"prompt_tokens", "total_tokens"})
        ),
        "openai float": lambda: vectors(encoding_format="float"),
        "openai dimensions": lambda: vectors(dimensions=DIMENSIONS),
        "openai token ids": lambda: vectors(input=[[5, 6, 7], [8]]),
        "openai unknown key": lambda: vectors(UNKNOWN_KEY),
        "openai above a cap": lambda: vectors(input=["a"] * TOO_MANY),
        "cohere": cohere,
        "cohere without instruction": lambda: cohere(input_type="classification"),
        "cohere unknown key": lambda: cohere(UNKNOWN_KEY),
        "cohere above a cap": lambda: cohere(texts=["a"] * TOO_MANY),
        "pooling": lambda: [each["data"] for each in pooling(task="embed")["data"]],
        "litellm": litellm,
    }


def score_calls(place: Any) -> dict[str, Callable[[], Any]]:
    def post(path: str, key: str | None = None, **body: Any) -> Any:
        client = openai_client(place, key).with_options(base_url=place.url)
        return client.post(path, cast_to=object, body={"model": MODEL, **body})

    def cohere(key: str | None = None, documents: list[str] = DOCUMENTS, **more: Any) -> Any:
        made = cohere_client(place, key).rerank(
            model=MODEL, query=QUERY, documents=documents, **more, request_options=NO_RETRY
        )
        return [(each.index, each.relevance_score) for each in made.results]

    def limited() -> None:
        for _ in range(REQUESTS):
            cohere(place.limited_key)

    def litellm(path: str) -> Any:
        from litellm import rerank

        made = rerank(
            model=f"hosted_vllm/{MODEL}",
            query=QUERY,
            documents=DOCUMENTS,
            api_base=place.url + path,
            api_key=place.key,
        )
        return [(each["index"], each["relevance_score"]) for each in made.results]

    def ranked(path: str, **more: Any) -> Any:
        made = post(path, query=QUERY, documents=DOCUMENTS, **more)
        return [(each["index"], each["relevance_score"]) for each in made["results"]]

    return {
        "cohere": cohere,
        "cohere top": lambda: cohere(top_n=2),
        "cohere short documents": lambda: cohere(max_tokens_per_doc=2),
        "cohere unknown key": lambda: cohere(UNKNOWN_KEY),
        "cohere above a cap": lambda: cohere(documents=["a"] * TOO_MANY),
        "cohere above a limit": limited,
        "jina": lambda: ranked("/v1/rerank"),
        "jina top": lambda: ranked("/v1/rerank", top_n=2),
        "rerank": lambda: ranked("/rerank"),
        "litellm": lambda: litellm(""),
        "score": lambda: [each["score"] for each in post("/score", text_1=QUERY, text_2=DOCUMENTS)["data"]],
        "score of pairs": lambda: [
            each["score"] for each in post("/score", queries=[QUERY] * 3, documents=DOCUMENTS)["data"]
        ],
        "score usage": lambda: post("/score", text_1=QUERY, text_2=DOCUMENTS)["usage"],
        "score unknown key": lambda: post("/score", UNKNOWN_KEY, text_1=QUERY, text_2=DOCUMENTS),
        "score above a cap": lambda: post("/score", text_1=QUERY, text_2=["a"] * TOO_MANY),
        "classify": lambda: [each["probs"] for each in post("/classify", input=DOCUMENTS)["data"]],
        "classify above a cap": lambda: post("/classify", input=["a"] * TOO_MANY),
        "another model": lambda: ranked("/v2/rerank", model="other"),
    }


def main() -> None:
    calls = {"embed": embed_calls, "score": score_calls}[sys.argv[1]](_sdk_calls.Place(*sys.argv[2:5]))
    print(json.dumps({name: _sdk_calls.outcome(call) for name, call in calls.items()}, default=str))


main()
