"""Errors of the API server, as messages that say what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llmservice_operator.cli.failure import Clash, Failure, Forbidden, Missing, RefusedByServer, TooLarge, Uncertain

if TYPE_CHECKING:
    from llmservice_operator.cli.object_ref import ObjectRef

_TOO_LARGE = "request is too large"
"""Message of etcd for an object that is too large."""


def failure_of(verb: str, thing: ObjectRef, status: int, answer: Mapping[str, Any]) -> Failure:
    """The failure for a response with an error status."""
    details = answer.get("details")
    details = details if isinstance(details, dict) else {}
    message = " ".join(str(answer.get("message") or "").split())[:500] or "it gives no reason"
    match status:
        case 401:
            return Failure(
                "the cluster does not accept your credentials (401): log in again, or choose another context by "
                "--context"
            )
        case 403:
            where = "in that namespace" if thing.namespace else "in all namespaces"
            return Forbidden(
                f"you may not {verb} the {thing}: ask the administrator of the cluster for the permission to `{verb}` "
                f"{thing.right} {where}. The API server says: {message}"
            )
        case 404 if not details:
            return Failure(
                f"this cluster has no resource {thing.plural}: LLMService is not installed, or this is not the cluster "
                "that you mean (--context)"
            )
        case 404:
            return Missing(f"there is no {thing}. The API server says: {message}")
        case 409:
            return Clash(
                f"the {thing} was changed by another client at the same time: try again. The API server says: {message}"
            )
        case 413 | 422 | 500 if status == 413 or _is_too_large(details, message):
            return TooLarge(f"the {thing} would be too large: {message}", message)
        case 422:
            return RefusedByServer(f"the API server refuses the {thing}: {message}", message)
        case 429:
            return Failure("the API server is overloaded (429): try again in a minute")
        case _ if status < 500 or verb == "get":
            return Failure(f"the API server did not {verb} the {thing} ({status}): {message}")
        case _:
            return Uncertain(
                f"the API server failed to {verb} the {thing} ({status}: {message}): it may have been done nevertheless"
            )


def _is_too_large(details: Mapping[str, Any], message: str) -> bool:
    return "FieldValueTooLong" in {each.get("reason") for each in details.get("causes") or ()} or _TOO_LARGE in message
