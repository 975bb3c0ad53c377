"""Who may ask for which route: by the table, letter for letter."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmservice_runtime.gateway.routes import ROUTES, UNKNOWN, Access, Kind, allowed_methods, find_route

VLLM_ROUTES = """
GET /openapi.json, GET /docs, GET /docs/oauth2-redirect, GET /redoc, GET /load, GET /version, GET /kv_event_sources,
GET /health, GET /metrics, POST /tokenize, POST /detokenize, GET /tokenizer_info, GET /v1/models, POST /v1/systemone,
GET /ping, POST /ping, POST /invocations, POST /v1/load_lora_adapter, POST /v1/unload_lora_adapter,
POST /reset_prefix_cache, POST /reset_mm_cache, POST /reset_encoder_cache, POST /collective_rpc, GET /server_info,
POST /sleep, POST /release_kv_cache_memory, POST /wake_up, GET /is_sleeping, POST /pause, POST /resume,
POST /abort_requests, GET /is_paused, POST /init_weight_transfer_engine, POST /shutdown_weight_transfer_engine,
POST /start_weight_update, POST /start_draft_weight_update, POST /update_weights, POST /finish_weight_update,
POST /update_weight_version, GET /weight_info, POST /weight_checker, GET /get_world_size, POST /v1/chat/completions,
POST /v1/chat/completions/batch, POST /v1/responses, GET /v1/responses/{id}, POST /v1/responses/{id}/cancel,
POST /v1/completions, POST /v1/messages, POST /v1/messages/count_tokens, POST /generative_scoring,
POST /scale_elastic_ep, POST /is_scaling_elastic_ep, POST /v1/chat/completions/render, POST /v1/messages/render,
POST /v1/completions/render, POST /v1/responses/render, POST /v1/chat/completions/derender,
POST /v1/completions/derender, POST /inference/v1/generate, POST /inference/v1/abort_requests, WEBSOCKET /v1/realtime,
POST /v1/audio/transcriptions, POST /v1/audio/translations, POST /adapters, DELETE /adapters/{id},
POST /v1/embeddings, POST /v2/embed, POST /pooling, POST /classify, POST /score, POST /v1/score, POST /rerank,
POST /v1/rerank, POST /v2/rerank, POST /fault_tolerance/apply, GET /fault_tolerance/status, POST /start_profile,
POST /stop_profile, POST /cohere/v2/chat, POST /cohere/v2/chat/render
"""
"""What vLLM 0.32's build_app registers over all its tasks and switches (a mount of files at /static apart)."""


def scope(method: str, path: str, **more: Any) -> dict[str, Any]:
    return {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "headers": []} | more


def access(method: str, path: str, **more: Any) -> Access:
    return find_route(scope(method, path, **more)).access


def test_each_route_of_vllm_is_decided_by_name() -> None:
    routes = [route.strip() for route in VLLM_ROUTES.replace("\n", " ").split(",")]
    assert [route for route in routes if route not in ROUTES] == []


def test_only_these_are_public() -> None:
    assert {row for row, route in ROUTES.items() if route.access is Access.PUBLIC} == {
        "GET /health",
        "GET /ping",
        "GET /ready",
    }


@pytest.mark.parametrize(
    ("method", "path", "kind"),
    [
        ("POST", "/v1/completions", Kind.COMPLETION),
        ("POST", "/v1/chat/completions", Kind.CHAT),
        ("POST", "/v1/embeddings", Kind.EMBEDDING),
        ("POST", "/v1/batch", Kind.BATCH),
        ("POST", "/tokenize", Kind.TEXT),
        ("POST", "/v1/messages/count_tokens", Kind.COUNTING),
        ("GET", "/v1/models", Kind.OTHER),
        ("HEAD", "/v1/models", Kind.OTHER),
    ],
)
def test_clients_may_ask_for_the_api(method: str, path: str, kind: Kind) -> None:
    route = find_route(scope(method, path))
    assert (route.access, route.kind) == (Access.CLIENT, kind)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/invocations"),
        ("GET", "/load"),
        ("GET", "/version"),
        ("POST", "/v1/load_lora_adapter"),
        ("POST", "/sleep"),
        ("GET", "/v1/responses/resp_0a-Z"),
        ("POST", "/v1/responses/resp_0/cancel"),
        ("DELETE", "/v1/responses/resp_0"),
        ("DELETE", "/v1/models"),
        ("POST", "/health"),
        ("get", "/health"),
        ("GET", "/health/"),
        ("GET", "//health"),
        ("GET", "/Health"),
        ("GET", "/metricsx"),
        ("GET", "/metrics/"),
        ("GET", "http://service/health"),
        ("GET", "/v1/responses/"),
        ("GET", "/v1/responses/a/b"),
        ("GET", "/v1/responses/.."),
        ("GET", "/v1/responses/{id}"),
        ("GET", "/v1/responses/a\n"),
        ("GET", "/v1/responses/" + "a" * 129),
        ("GET", ""),
    ],
)
def test_everything_else_is_for_admins(method: str, path: str) -> None:
    assert access(method, path) is Access.ADMIN


@pytest.mark.parametrize(
    ("path", "raw"),
    [
        ("/v1/models/tiny", b"/v1/models/tiny"),
        ("/v1/models/Qwen/Qwen3-0.6B", b"/v1/models/Qwen/Qwen3-0.6B"),
        ("/v1/models/Qwen/Qwen3-0.6B", b"/v1/models/Qwen%2FQwen3-0.6B"),
        ("/v1/models/../../metrics", b"/v1/models/..%2f..%2fmetrics"),
    ],
)
def test_all_below_models_is_the_name_of_one(path: str, raw: bytes) -> None:
    assert find_route(scope("GET", path, raw_path=raw)).pattern == "/v1/models/{id}"
    assert find_route(scope("HEAD", path, raw_path=raw)).pattern == "/v1/models/{id}"
    assert find_route(scope("DELETE", path, raw_path=raw)) is UNKNOWN


@pytest.mark.parametrize(
    ("path", "raw"),
    [
        ("/v1/models/", b"/v1/models/"),
        ("/v1/models", b"/v1/models/../models"),
        ("/v1/models/a", b"/v1/%6dodels/a"),
        ("/v1/models/a", b"/v1%2fmodels/a"),
        ("/v1/models/" + "a" * 2048, b"/v1/models/" + b"a" * 2048),
    ],
)
def test_no_other_path_is_the_name_of_a_model(path: str, raw: bytes) -> None:
    assert find_route(scope("GET", path, raw_path=raw)) is UNKNOWN


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/completions", ("POST",)),
        ("OPTIONS", "/v1/chat/completions", ("POST",)),
        ("DELETE", "/v1/models/tiny", ("GET",)),
        ("PUT", "/health", ("GET",)),
        ("GET", "/sleep", ()),
        ("GET", "/made/up", ()),
        ("POST", "/v1/chat/completions/", ()),
    ],
)
def test_the_methods_of_a_path_are_those_that_clients_may_use(method: str, path: str, allowed: tuple[str, ...]) -> None:
    assert allowed_methods(scope(method, path)) == allowed


def test_a_websocket_has_no_other_method() -> None:
    assert allowed_methods(scope("GET", "/v1/completions", type="websocket")) == ()


@pytest.mark.parametrize("raw", [b"/v1/%6dodels", b"/v1%2Fmodels", b"/v1/models?x", b"/v1/models/../models", b""])
def test_a_path_that_was_sent_otherwise_is_for_admins(raw: bytes) -> None:
    assert find_route(scope("GET", "/v1/models", raw_path=raw)) is UNKNOWN


def test_without_a_raw_path_the_path_decides() -> None:
    assert access("GET", "/v1/models", raw_path=None) is Access.CLIENT
    assert access("GET", "/v1/modèls", raw_path=None) is Access.ADMIN


def test_behind_a_root_path_nothing_is_known() -> None:
    assert access("GET", "/v1/models", root_path="/v1") is Access.ADMIN


def test_a_websocket_is_no_get() -> None:
    websocket = {"type": "websocket", "path": "/v1/realtime", "raw_path": b"/v1/realtime", "headers": []}
    assert find_route(websocket).kind is Kind.REALTIME
    assert find_route(websocket | {"path": "/health", "raw_path": b"/health"}) is UNKNOWN
    assert access("GET", "/v1/realtime") is Access.ADMIN


@given(
    st.sampled_from(sorted(row for row in ROUTES if "{id}" not in row)),
    st.integers(0, 40),
    st.sampled_from("/%.;\\ A\x00é?#~"),
)
def test_one_letter_more_makes_a_route_unknown(row: str, at: int, letter: str) -> None:
    method, _, path = row.partition(" ")
    at = min(at, len(path))
    changed = path[:at] + letter + path[at:]
    sent = scope("GET" if method == "WEBSOCKET" else method, changed, raw_path=changed.encode())
    assert find_route(sent).access is Access.ADMIN
