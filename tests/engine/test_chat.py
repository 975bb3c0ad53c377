"""Models that call tools, reason, embed and rank, by real vLLM and the OpenAI client of its environment."""

from __future__ import annotations

import json
import math
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.engine import MODELS, Engine, make_chat_model, make_mistral_model, vllm_python

WEATHER = "What is the weather in Oslo?"
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
CLIENT = """
import json, sys, openai
url, what, body = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
with openai.OpenAI(base_url=url, api_key="none", max_retries=0) as client:
    if what == "embeddings":
        print(client.embeddings.create(**body).model_dump_json())
    elif body.get("stream"):
        print(json.dumps([chunk.model_dump() for chunk in client.chat.completions.create(**body)]))
    else:
        print(client.chat.completions.create(**body).model_dump_json())
"""


def by_sdk(engine: Engine, what: str, **body: Any) -> Any:
    """What OpenAI's own client answers."""
    command = [vllm_python(), "-c", CLIENT, f"http://127.0.0.1:{engine.port}/v1", what, json.dumps(body)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout)


def chat(engine: Engine, text: str, **options: Any) -> Any:
    messages = [{"role": "user", "content": text}]
    return by_sdk(engine, "chat", model="tiny", messages=messages, temperature=0, max_tokens=120, **options)


def post(engine: Engine, path: str, **body: Any) -> Any:
    request = urllib.request.Request(
        f"http://127.0.0.1:{engine.port}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.load(answer)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Without a chat template of its own."""
    return make_chat_model(tmp_path_factory.mktemp("model") / "chat")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As the key of a ConfigMap is mounted."""
    text = subprocess.run(
        [vllm_python(), "-c", "import make_chat; print(make_chat.CHAT_TEMPLATE, end='')"],
        check=True,
        capture_output=True,
        text=True,
        cwd=MODELS,
    ).stdout
    file = tmp_path_factory.mktemp("template") / "chat-template.jinja"
    file.write_text(text)
    return file


@pytest.fixture(scope="module")
def chatting(model: Path, template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Its parsers are chosen by the runtime."""
    with Engine(tmp_path_factory.mktemp("chatting"), model, CHAT_TEMPLATE=str(template)) as running:
        running.wait_until_ready()
        yield running


def test_a_tool_call_is_one_for_the_client(chatting: Engine) -> None:
    message = chat(chatting, WEATHER, tools=[TOOL])["choices"][0]["message"]
    (call,) = message["tool_calls"]
    assert call["function"]["name"] == "weather"
    assert json.loads(call["function"]["arguments"]) == {"city": "Oslo"}
    assert "<tool_call>" not in (message["content"] or "")


def test_a_tool_call_is_one_in_a_stream(chatting: Engine) -> None:
    chunks = chat(chatting, WEATHER, tools=[TOOL], stream=True)
    calls = [
        call for chunk in chunks for choice in chunk["choices"] for call in choice["delta"].get("tool_calls") or ()
    ]
    assert "".join(call["function"]["name"] or "" for call in calls) == "weather"
    assert json.loads("".join(call["function"]["arguments"] or "" for call in calls)) == {"city": "Oslo"}


def test_reasoning_is_apart_from_the_answer(chatting: Engine) -> None:
    message = chat(chatting, "How much is two plus two?")["choices"][0]["message"]
    assert message["content"].strip() == "It is four."
    assert message["reasoning"].strip() == "Two and two make four."


def test_parsers_that_are_switched_off_are_not_chosen(model: Path, template: Path, tmp_path: Path) -> None:
    off = {"ENGINE_TOOL_CALL_PARSER": "none", "ENGINE_REASONING_PARSER": "none"}
    assert {"--tool-call-parser", "--reasoning-parser"} <= set(printed(model, CHAT_TEMPLATE=str(template)))
    assert not {"--tool-call-parser", "--reasoning-parser"} & set(printed(model, CHAT_TEMPLATE=str(template), **off))
    assert not {"--tool-call-parser", "--reasoning-parser"} & set(printed(model))


def printed(model: Path, **environ: str) -> list[str]:
    """The arguments that the runtime would give to vLLM."""
    environment = {"PYTHONPATH": str(MODELS.parents[1] / "runtime"), "MODEL_NAME": str(model), "ACCELERATOR": "cpu"}
    command = [vllm_python(), "-m", "llmservice_runtime", "print", "--json"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120, env=environment | environ)
    found: list[str] = json.loads(done.stdout)["command"]
    return found


def test_a_model_that_generates_text_gives_embeddings(model: Path, tmp_path: Path) -> None:
    with Engine(tmp_path, model, ENGINE_RUNNER="pooling", ENGINE_CONVERT="embed") as pooling:
        pooling.wait_until_ready()
        texts = [WEATHER, "It is four.", WEATHER]
        found = by_sdk(pooling, "embeddings", model="tiny", input=texts, encoding_format="float")
    one, other, again = (each["embedding"] for each in found["data"])
    assert math.isclose(math.hypot(*one), 1, rel_tol=1e-3)
    assert math.dist(one, again) < 1e-2 < math.dist(one, other)


@pytest.mark.campaign
def test_a_reranker_by_overrides_of_its_configuration_sorts_documents(model: Path, tmp_path: Path) -> None:
    overrides = {
        "architectures": ["Qwen3ForSequenceClassification"],
        "classifier_from_token": ["no", "yes"],
        "is_original_qwen3_reranker": True,
    }
    environ = {"ENGINE_RUNNER": "pooling", "ENGINE_HF_OVERRIDES": json.dumps(overrides)}
    with Engine(tmp_path, model, **environ) as ranking:
        ranking.wait_until_ready()
        documents = ["It is four.", "The weather in Oslo", "weather"]
        found = post(ranking, "/rerank", model="tiny", query=WEATHER, documents=documents)["results"]
    scores = [each["relevance_score"] for each in found]
    assert sorted(each["index"] for each in found) == [0, 1, 2]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores) and len(set(scores)) == len(scores)


def test_a_checkpoint_in_mistrals_own_format_answers_chats(tmp_path: Path) -> None:
    mistral = make_mistral_model(tmp_path / "mistral")
    assert "--tool-call-parser mistral" in " ".join(printed(mistral))
    with Engine(tmp_path, mistral) as running:
        running.wait_until_ready()
        answer = chat(running, WEATHER, tools=[TOOL])
    assert answer["usage"]["completion_tokens"] > 0
