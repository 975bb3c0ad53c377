"""A response that is not 200, as a message that says what to do.

Through the API server's proxy two programs answer with the same status codes: the API server with a Status object, and
the model's API with an object of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from llmservice_operator.cli.api_errors import failure_of
from llmservice_operator.cli.failure import Failure, Missing
from llmservice_operator.cli.inference.api_key import missing_key
from llmservice_operator.cli.inference.model_service import ModelService
from llmservice_operator.cli.object_ref import ObjectRef
from llmservice_operator.cli.reading import document
from llmservice_operator.cli.terminal import one_line

MOST_BYTES = 1 << 16
_LONGEST_MESSAGE = 500
_NO_ENDPOINTS = "no endpoints available"
_UNREACHABLE = "error trying to reach service"


def content_of(pieces: Iterable[bytes]) -> bytes:
    """The beginning of a body, of at most MOST_BYTES."""
    found = b""
    for piece in pieces:
        found += piece
        if len(found) >= MOST_BYTES:
            break
    return found[:MOST_BYTES]


def message_of(content: bytes) -> str:
    """The message of an error body of OpenAI's API; otherwise the beginning of the body."""
    found: Any = document(content) or {}
    error = found.get("error", found)
    message = (error.get("message") or error.get("detail")) if isinstance(error, Mapping) else error
    return one_line(str(message or content.decode(errors="replace")))[:_LONGEST_MESSAGE] or "it gives no reason"


def refused(service: ModelService, thing: ObjectRef | None, status: int, content: bytes, *, has_key: bool) -> Failure:
    """The failure for a response with an error status. ``thing``: the path at the API server; None for a URL."""
    found = document(content)
    if thing is not None and found is not None and found.get("kind") == "Status":
        return _of_the_api_server(service, thing, status, found)
    message = message_of(content).rstrip(".")
    name, namespace = service.thing.name, service.thing.namespace
    match status:
        case 401:
            return missing_key(name, namespace, has_key)
        case 403:
            return Failure(f"the service {name} forbids this request (403): {message}")
        case 404:
            return Failure(
                f"the service {name} does not have model {service.model}, or not this API (404): {message}. Is the "
                "model one that generates text?"
            )
        case 501:
            return Failure(f"the model of the service {name} does not generate text (501): {message}")
        case 429:
            return Failure(f"the service {name} limits the rate of this API key (429): {message}. Try again later")
        case 503:
            return Failure(f"the service {name} is overloaded or about to stop (503): {message}. Try again")
        case _:
            return Failure(f"the service {name} responded with status {status}: {message}")


def _of_the_api_server(service: ModelService, thing: ObjectRef, status: int, found: Mapping[str, Any]) -> Failure:
    message = str(found.get("message") or "")
    if _NO_ENDPOINTS in message:
        return service.not_ready()
    if _UNREACHABLE in message:
        return Failure(
            f"the API server can't reach the pods of the service {service.thing.name} ({one_line(message)[:300]}): a "
            "NetworkPolicy may block it (chart value networkPolicy.apiServer), or the pod has just stopped"
        )
    failure = failure_of("create", thing, status, found)
    if isinstance(failure, Missing):
        return Failure(
            f"there is no Service {service.thing.name} in namespace {service.thing.namespace} yet: try again"
        )
    return failure
