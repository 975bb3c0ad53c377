"""`kubectl llm try`: one prompt through the API server's proxy, its answer as it arrives, and errors for people."""

from __future__ import annotations

import io
import math
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmservice_operator.cli.failure import Failure
from llmservice_operator.cli.inference.events import LONGEST_LINE
from llmservice_operator.cli.inference.generation import Generation, receive
from llmservice_operator.cli.main import main
from support.fake_api import refusal
from unit.cli.conftest import write_kubeconfig
from unit.cli.done import Done
from unit.cli.model_server import ModelServer, error, event, no_endpoints, part, serving

CHAT, COMPLETION = "/v1/chat/completions", "/v1/completions"
NO_TEMPLATE = error(
    400,
    "As of transformers v4.44, default chat template is no longer allowed, so you must provide a chat template if the "
    "tokenizer does not define one.",
)


class User:
    def __init__(self, api: ModelServer, capfd: pytest.CaptureFixture[str]) -> None:
        self.api = api
        self._capfd = capfd

    def tries(self, *words: str) -> Done:
        status = main(["try", *words])
        return Done(status, *self._capfd.readouterr())


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[User]:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "LLM_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    api = ModelServer()
    api.is_ready()
    with serving(api) as url:
        monkeypatch.setenv("KUBECONFIG", str(write_kubeconfig(tmp_path / "kubeconfig", url)))
        yield User(api, capfd)


def fails(done: Done, *words: str) -> None:
    assert done.status == 1
    assert done.err.startswith("kubectl llm: ") and "Traceback" not in done.err
    for word in words:
        assert word in done.err, done.err


def test_the_answer_goes_to_stdout_and_figures_to_stderr(user: User) -> None:
    done = user.tries("chat", "Who is there?")
    assert (done.status, done.out) == (0, "Hello there.\n")
    assert "7 tokens of prompt" in done.err and "3 tokens" in done.err
    ((path, body),) = user.api.requests
    assert (path, body["model"], body["stream"]) == (CHAT, "chat", True)
    assert body["messages"] == [{"role": "user", "content": "Who is there?"}]


def test_text_is_printed_as_it_arrives(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, printed = threading.Event(), io.StringIO()

    class Screen(io.StringIO):
        def flush(self) -> None:
            if "first" in self.getvalue():
                seen.set()

    screen = Screen()

    def slow(path: str, body: object) -> Iterator[bytes]:
        yield part(path, "first")
        printed.write(str(seen.wait(10)))
        yield part(path, " second", "stop") + b"data: [DONE]\n\n"

    user.api.replies = slow
    monkeypatch.setattr(sys, "stdout", screen)
    assert main(["try", "chat", "x"]) == 0
    assert (printed.getvalue(), screen.getvalue()) == ("True", "first second\n")


def test_a_model_without_a_chat_template_continues_the_prompt(user: User) -> None:
    user.api.replies = lambda path, body: NO_TEMPLATE if path == CHAT else None
    done = user.tries("chat", "Once upon")
    assert (done.status, done.out) == (0, "Hello there.\n")
    assert [path for path, _ in user.api.requests] == [CHAT, COMPLETION]
    assert user.api.requests[1][1]["prompt"] == "Once upon"
    assert "no chat template" in done.err
    fails(user.tries("chat", "Once", "--system", "Be brief"), "remove --system")


def test_a_bad_request_that_is_not_about_the_template_is_told_and_not_tried_again(user: User) -> None:
    user.api.replies = lambda path, body: error(400, "max_tokens is too large: 256")
    fails(user.tries("chat", "x"), "max_tokens is too large: 256", "400")
    assert len(user.api.requests) == 1


def test_options_are_sent(user: User) -> None:
    user.tries("chat", "x", "--system", "Be brief", "--max-tokens", "9")
    user.tries("chat", "x", "--completion")
    (_, chat), (path, completion) = user.api.requests
    assert chat["messages"][0] == {"role": "system", "content": "Be brief"}
    assert (chat["max_tokens"], path, completion["max_tokens"]) == (9, COMPLETION, 256)


def test_the_served_name_is_the_specs_first(user: User) -> None:
    user.api.objects["LLMService", "team-a", "chat"]["spec"] = {"model": {"servedNames": ["qwen", "other"]}}
    user.tries("chat", "x")
    assert user.api.requests[0][1]["model"] == "qwen"


@pytest.mark.parametrize("by", ["option", "environment"])
def test_the_key_reaches_the_model_and_the_users_token_does_not(
    user: User, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    user.api.key = "sk-secret"
    if by == "environment":
        monkeypatch.setenv("LLM_API_KEY", "sk-secret\n")
    done = user.tries("chat", "x", *(["--key", "sk-secret"] if by == "option" else []))
    assert (done.status, done.out) == (0, "Hello there.\n")
    assert "sk-secret" not in done.out + done.err


def test_a_body_of_unknown_length_is_safe_from_proxies_that_look_for_its_end_again(user: User) -> None:
    user.tries("chat", "x")
    (headers,) = user.api.headers
    assert headers["Transfer-Encoding"] == "chunked"
    assert "Content-Length" not in headers


def test_without_a_key_it_says_how_to_get_one(user: User) -> None:
    user.api.key = "sk-secret"
    fails(user.tries("chat", "x"), "needs an API key", "LLM_API_KEY", "--key", "kubectl llm keys create chat -n team-a")


def test_a_wrong_key_is_named_as_such(user: User) -> None:
    user.api.key = "sk-secret"
    done = user.tries("chat", "x", "--key", "sk-wrong")
    fails(done, "does not accept this API key", "keys create chat")
    assert "sk-wrong" not in done.err


@pytest.mark.parametrize("key", ["a\r\nX-Admin: 1", "ключ", "k" * 2000])
def test_a_key_that_no_header_can_carry_is_refused_before_anything_is_sent(user: User, key: str) -> None:
    fails(user.tries("chat", "x", "--key", key), "--key is not an API key")
    assert not user.api.requests


def test_the_api_servers_own_401_is_about_the_cluster(user: User) -> None:
    user.api.replies = lambda path, body: refusal(401, "Unauthorized", "Unauthorized")
    fails(user.tries("chat", "x"), "the cluster does not accept your credentials", "--context")


def test_a_missing_permission_is_named(user: User) -> None:
    user.api.replies = lambda path, body: refusal(403, 'User "me" cannot create resource "services/proxy"', "Forbidden")
    fails(user.tries("chat", "x"), "services/proxy", "permission")


def test_a_service_that_is_not_ready_says_why_and_gets_no_request(user: User) -> None:
    user.api.is_ready(0, reason="ModelNotFound", message="There is no model at s3://models/chat.")
    fails(user.tries("chat", "x"), "ModelNotFound: There is no model at s3://models/chat", "kubectl llm explain chat")
    assert not user.api.requests


def test_one_that_the_operator_has_not_seen_says_so(user: User) -> None:
    user.api.place("LLMService", "team-a", "chat", spec={})
    fails(user.tries("chat", "x"), "the operator has not reported")


def test_one_that_is_degraded_but_has_a_ready_replica_answers(user: User) -> None:
    user.api.is_ready(1, status="False", reason="RollingOut")
    assert user.tries("chat", "x").status == 0


def test_replicas_that_went_away_meanwhile_are_told(user: User) -> None:
    user.api.replies = lambda path, body: no_endpoints()
    fails(user.tries("chat", "x"), "none of its replicas accepts connections now")


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (refusal(503, "error trying to reach service: dial tcp 10.0.0.9:8000: i/o timeout"), ("networkPolicy",)),
        (refusal(404, 'services "chat" not found', "NotFound"), ("there is no Service chat",)),
        (error(404, "The model `chat` does not exist."), ("does not exist", "404")),
        (error(429, "requests of tier default"), ("limits the rate", "requests of tier default")),
        (error(501, "The model does not support Chat Completions API"), ("does not generate text",)),
        (error(503, "draining"), ("503", "draining")),
        ((500, "<html>\x1b[31mbad</html>"), ("status 500",)),
    ],
)
def test_refusals_say_what_to_do(user: User, reply: tuple, words: tuple[str, ...]) -> None:
    user.api.replies = lambda path, body: reply
    done = user.tries("chat", "x")
    fails(done, *words)
    assert "\x1b" not in done.err


def test_no_such_service(user: User) -> None:
    fails(user.tries("other", "x"), "there is no LLMService other in namespace team-a")


def test_an_answer_that_breaks_keeps_what_came_and_says_so(user: User) -> None:
    def broken(path: str, body: object) -> Iterator[bytes]:
        yield part(path, "Hel")
        raise ConnectionResetError

    user.api.replies = broken
    done = user.tries("chat", "x")
    assert (done.status, done.out) == (1, "Hel")
    assert "before the response was complete" in done.err or "before the answer was complete" in done.err


def test_an_error_inside_the_stream_is_told(user: User) -> None:
    user.api.replies = lambda path, body: iter([part(path, "Hel"), event({"error": {"message": "CUDA error"}})])
    fails(user.tries("chat", "x"), "CUDA error")


@pytest.mark.parametrize(
    "piece", [b"data: " + b"x" * (LONGEST_LINE + 10), b"data: [1, 2]\n\n", b"data: {\n\n"], ids=["line", "list", "json"]
)
def test_what_is_no_such_stream_is_refused(user: User, piece: bytes) -> None:
    user.api.replies = lambda path, body: iter([piece])
    fails(user.tries("chat", "x"), "not a stream of an OpenAI API")


def test_an_answer_without_an_end_is_given_up_in_time(user: User) -> None:
    def endless(path: str, body: object) -> Iterator[bytes]:
        while True:
            yield part(path, "x" * 100)

    user.api.replies = endless
    fails(user.tries("chat", "x", "--timeout", "1"), "not complete in time", "--timeout")


def test_an_answer_above_64_mebibytes_is_not_read_to_its_end() -> None:
    pieces = (b": ping\n" * (1 << 17) for _ in range(200))
    with pytest.raises(Failure, match="64 MiB"):
        receive(pieces, Generation(0.0), math.inf)
    assert next(pieces, None) is not None


def test_escape_sequences_of_a_model_never_reach_the_terminal(user: User) -> None:
    user.api.words = ["\x1b]0;owned\x07", "a\tb\n", "\ud800"]
    done = user.tries("chat", "x")
    assert done.out == "?]0;owned?a\tb\n?\n"


def test_reasoning_goes_to_stderr(user: User) -> None:
    user.api.replies = lambda path, body: iter(
        [part(path, "Let me think.", field="reasoning"), part(path, "42", "stop"), b"data: [DONE]\n\n"]
    )
    done = user.tries("chat", "x")
    assert (done.out, "Let me think." in done.err) == ("42\n", True)


def test_a_cut_answer_says_so(user: User) -> None:
    user.api.replies = lambda path, body: iter([part(path, "Hel", "length"), b"data: [DONE]\n\n"])
    assert "--max-tokens 5" in user.tries("chat", "x", "--max-tokens", "5").err


def test_json_has_the_answer_and_its_figures(user: User) -> None:
    reported = user.tries("chat", "x", "-o", "json").json
    assert (reported["text"], reported["api"], reported["finishReason"]) == ("Hello there.", "Chat", "stop")
    assert (reported["promptTokens"], reported["outputTokens"]) == (7, 3)
    assert 0 <= reported["firstTokenSeconds"] <= reported["seconds"]


def test_a_prompt_from_stdin(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("From a pipe"))
    user.tries("chat", "-")
    assert user.api.requests[0][1]["messages"][0]["content"] == "From a pipe"
    monkeypatch.setattr(sys, "stdin", io.StringIO("x" * ((1 << 20) + 1)))
    fails(user.tries("chat", "-"), "more than 1048576 characters")
    fails(user.tries("chat", "  "), "the prompt is empty")


@pytest.mark.parametrize("line", ["chat", "chat x --max-tokens 0", "chat x --timeout 9999", "Chat x", "chat x -o yaml"])
def test_a_line_that_makes_no_sense_is_a_usage_error(user: User, line: str) -> None:
    with pytest.raises(SystemExit) as left:
        user.tries(*line.split())
    assert left.value.code == 2
    assert not user.api.requests
