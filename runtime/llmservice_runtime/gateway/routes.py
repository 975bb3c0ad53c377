"""Access to each route, and the kind of its requests.

The table names every route that vLLM 0.32 registers for text, embedding, pooling and speech models, and the runtime's
own. What is not in it, letter for letter, is for admin keys alone: other letter case, a trailing slash, an escaped
letter, a doubled slash, a root path. vLLM's router decides on the decoded path, so a path that differs from its decoded
form is never in the table. The one exception is the name of a model, which SDKs escape: the runtime's own route takes
all that is below /v1/models/.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from types import MappingProxyType

from llmservice_runtime.gateway.asgi import Scope


class Access(Enum):
    """Who may use a route."""

    PUBLIC = auto()
    """Everybody."""
    CLIENT = auto()
    """Clients with a key."""
    ADMIN = auto()
    """Clients with an admin key."""
    LOCAL = auto()
    """A process in the same pod."""


class Kind(Enum):
    """The kind of a request. It decides which fields the caps check and how tokens are counted."""

    COMPLETION = auto()
    CHAT = auto()
    COHERE = auto()
    """A chat as Cohere's API has it."""
    CHAT_BATCH = auto()
    RESPONSES = auto()
    MESSAGES = auto()
    BATCH = auto()
    EMBEDDING = auto()
    """Also pooling and classification: inputs without an answer in tokens."""
    SCORING = auto()
    DECISIONS = auto()
    TEXT = auto()
    """Work of the tokenizer alone, whose tokens are in the answer."""
    COUNTING = auto()
    """Work of the tokenizer alone; the answer is a number."""
    AUDIO = auto()
    """A form with a sound file; its fields are not looked at."""
    REALTIME = auto()
    OTHER = auto()
    """No work of the engine: not limited, not drained, its body not looked at."""

    @property
    def is_work(self) -> bool:
        """Whether it occupies the engine or its tokenizer."""
        return self is not Kind.OTHER

    @property
    def is_json(self) -> bool:
        """Whether its body is a JSON object."""
        return self not in (Kind.OTHER, Kind.AUDIO, Kind.REALTIME)


@dataclass(frozen=True, slots=True)
class Route:
    """A row of the table. `pattern` names it in logs and metrics."""

    access: Access
    kind: Kind
    pattern: str


UNKNOWN = Route(Access.ADMIN, Kind.OTHER, "unknown")
WEBSOCKET = "WEBSOCKET"
"""Stands for the method of a websocket."""

_PUBLIC = ("GET /health", "GET /ping", "GET /ready")
_LOCAL = ("POST /drain",)
_CLIENT: Mapping[Kind, tuple[str, ...]] = {
    Kind.COMPLETION: ("POST /v1/completions",),
    Kind.CHAT: ("POST /v1/chat/completions",),
    Kind.COHERE: ("POST /cohere/v2/chat",),
    Kind.CHAT_BATCH: ("POST /v1/chat/completions/batch",),
    Kind.RESPONSES: ("POST /v1/responses",),
    Kind.MESSAGES: ("POST /v1/messages",),
    Kind.BATCH: ("POST /v1/batch",),
    Kind.EMBEDDING: ("POST /v1/embeddings", "POST /v2/embed", "POST /pooling", "POST /classify"),
    Kind.SCORING: (
        "POST /score",
        "POST /v1/score",
        "POST /rerank",
        "POST /v1/rerank",
        "POST /v2/rerank",
        "POST /generative_scoring",
    ),
    Kind.DECISIONS: ("POST /v1/systemone",),
    Kind.TEXT: ("POST /tokenize", "POST /detokenize"),
    Kind.COUNTING: ("POST /v1/messages/count_tokens",),
    Kind.AUDIO: ("POST /v1/audio/transcriptions", "POST /v1/audio/translations"),
    Kind.REALTIME: (f"{WEBSOCKET} /v1/realtime",),
    Kind.OTHER: ("GET /v1/models", "GET /v1/models/{id}"),
}
_ADMIN = (
    # Takes the body of any other route, so no kind's caps fit it.
    "POST /invocations",
    "POST /ping",
    # What they tell is the platform's: load, versions, arguments, the whole API, ids of keys and what each used.
    "GET /metrics",
    "GET /load",
    "GET /version",
    "GET /kv_event_sources",
    "GET /server_info",
    "GET /tokenizer_info",
    "GET /openapi.json",
    "GET /docs",
    "GET /docs/oauth2-redirect",
    "GET /redoc",
    # vLLM keeps no responses here; an id would be all that it takes to read or end another client's.
    "GET /v1/responses/{id}",
    "POST /v1/responses/{id}/cancel",
    # They change what all clients share.
    "POST /v1/load_lora_adapter",
    "POST /v1/unload_lora_adapter",
    "POST /adapters",
    "DELETE /adapters/{id}",
    "POST /scale_elastic_ep",
    "POST /is_scaling_elastic_ep",
    "POST /fault_tolerance/apply",
    "GET /fault_tolerance/status",
    "POST /start_profile",
    "POST /stop_profile",
    "POST /sleep",
    "POST /wake_up",
    "GET /is_sleeping",
    "POST /release_kv_cache_memory",
    "POST /reset_prefix_cache",
    "POST /reset_mm_cache",
    "POST /reset_encoder_cache",
    "POST /collective_rpc",
    "POST /pause",
    "POST /resume",
    "GET /is_paused",
    "GET /get_world_size",
    "POST /init_weight_transfer_engine",
    "POST /shutdown_weight_transfer_engine",
    "POST /start_weight_update",
    "POST /start_draft_weight_update",
    "POST /update_weights",
    "POST /finish_weight_update",
    "POST /update_weight_version",
    "GET /weight_info",
    "POST /weight_checker",
    # One engine talks so to another; they name others' requests, or take prompts past the caps.
    "POST /abort_requests",
    "POST /inference/v1/abort_requests",
    "POST /inference/v1/generate",
    "POST /v1/completions/render",
    "POST /v1/completions/derender",
    "POST /v1/chat/completions/render",
    "POST /v1/chat/completions/derender",
    "POST /v1/messages/render",
    "POST /v1/responses/render",
    "POST /cohere/v2/chat/render",
)

MODEL_PREFIX = "/v1/models/"
MOST_MODEL_PATH_BYTES = 2048
_MODEL = "GET /v1/models/{id}"
_METHODS = ("GET", "POST")
_ID = r"[A-Za-z0-9_-]{1,128}"


def _rows() -> Iterable[tuple[str, Route]]:
    yield from ((row, Route(Access.PUBLIC, Kind.OTHER, row.partition(" ")[2])) for row in _PUBLIC)
    yield from ((row, Route(Access.LOCAL, Kind.OTHER, row.partition(" ")[2])) for row in _LOCAL)
    yield from ((row, Route(Access.ADMIN, Kind.OTHER, row.partition(" ")[2])) for row in _ADMIN)
    for kind, rows in _CLIENT.items():
        yield from ((row, Route(Access.CLIENT, kind, row.partition(" ")[2])) for row in rows)


ROUTES: Mapping[str, Route] = MappingProxyType(dict(_rows()))
"""By "METHOD PATH"; {id} stands for one id."""
_WITH_ID = tuple(
    (re.compile(re.escape(row).replace(r"\{id\}", _ID)), route) for row, route in ROUTES.items() if "{id}" in row
)


def find_route(scope: Scope) -> Route:
    """The row of a request. A query string plays no part; HEAD is GET."""
    path: str = scope["path"]
    if _names_model(scope):
        return ROUTES[_MODEL]
    if scope.get("root_path") or not path.isascii() or scope.get("raw_path") not in (None, path.encode()):
        return UNKNOWN
    method: str = WEBSOCKET if scope["type"] == "websocket" else scope["method"]
    row = f"{'GET' if method == 'HEAD' else method} {path}"
    if "{" in row:
        return UNKNOWN
    return ROUTES.get(row) or next((route for form, route in _WITH_ID if form.fullmatch(row)), UNKNOWN)


def allowed_methods(scope: Scope) -> tuple[str, ...]:
    """The methods with which clients may ask for the path of a request that is UNKNOWN."""
    if scope["type"] == "websocket":
        return ()
    methods = (method for method in _METHODS if method != scope["method"])
    open_to = (Access.PUBLIC, Access.CLIENT)
    return tuple(method for method in methods if find_route({**scope, "method": method}).access in open_to)


def _names_model(scope: Scope) -> bool:
    """Whether it asks for one model; the name may be escaped."""
    if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD") or scope.get("root_path"):
        return False
    path: str = scope["path"]
    raw: bytes = path.encode() if scope.get("raw_path") is None else scope["raw_path"]
    found = path.startswith(MODEL_PREFIX) and raw.startswith(MODEL_PREFIX.encode())
    return found and len(path) > len(MODEL_PREFIX) and len(raw) <= MOST_MODEL_PATH_BYTES
