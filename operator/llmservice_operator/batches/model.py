"""Files and batches, as they are stored and as OpenAI's API shows them."""

from __future__ import annotations

import secrets
from typing import Any

import msgspec

VALIDATING, IN_PROGRESS, FINALIZING, CANCELLING = "validating", "in_progress", "finalizing", "cancelling"
COMPLETED, FAILED, CANCELLED, EXPIRED = "completed", "failed", "cancelled", "expired"
OPEN = (VALIDATING, IN_PROGRESS, CANCELLING, FINALIZING)
"""States of a batch that has not ended."""
ENDPOINTS = (
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/responses",
    "/v1/score",
    "/v1/rerank",
)
"""What the lines of a batch may ask for."""
WINDOW = "24h"
WINDOW_SECONDS = 86_400


class Owner(msgspec.Struct, frozen=True):
    """Whose a file or batch is: an API key in a namespace."""

    namespace: str
    key: str
    """SHA-256 of the key; of an empty text for requests without one."""


class StoredFile(msgspec.Struct, frozen=True):
    """A file."""

    id: str
    owner: Owner
    purpose: str
    filename: str
    size: int
    created_at: int
    expires_at: int

    def shown(self) -> dict[str, Any]:
        """As an object of the API."""
        return {
            "id": self.id,
            "object": "file",
            "bytes": self.size,
            "created_at": self.created_at,
            "expires_at": self.expires_at,
            "filename": self.filename,
            "purpose": self.purpose,
            "status": "processed",
        }


class Problem(msgspec.Struct, frozen=True):
    """Why a batch failed."""

    code: str
    message: str
    line: int | None = None
    param: str | None = None


class Batch(msgspec.Struct, frozen=True):
    """A batch."""

    id: str
    owner: Owner
    endpoint: str
    input_file: str
    output_file: str
    """The file of the answers, which clients see once the batch has ended and if it has a line."""
    error_file: str
    created_at: int
    expires_at: int
    metadata: dict[str, str] | None = None
    status: str = VALIDATING
    problems: tuple[Problem, ...] = ()
    total: int = 0
    completed: int = 0
    failed: int = 0
    has_output: bool = False
    has_errors: bool = False
    reached: dict[str, int] = {}
    """When it got to each state but the first."""

    @property
    def is_open(self) -> bool:
        """Whether it has not ended."""
        return self.status in OPEN

    def moved(self, status: str, now: int, **changes: Any) -> Batch:
        """The batch in another state."""
        reached = {**changes.pop("reached", self.reached), status: now}
        return msgspec.structs.replace(self, status=status, reached=reached, **changes)

    def shown(self) -> dict[str, Any]:
        """As an object of the API."""
        ended = not self.is_open
        errors = None
        if self.problems:
            errors = {"object": "list", "data": [msgspec.to_builtins(each) for each in self.problems]}
        states = (IN_PROGRESS, FINALIZING, COMPLETED, FAILED, EXPIRED, CANCELLING, CANCELLED)
        return {
            "id": self.id,
            "object": "batch",
            "endpoint": self.endpoint,
            "errors": errors,
            "input_file_id": self.input_file,
            "completion_window": WINDOW,
            "status": self.status,
            "output_file_id": self.output_file if ended and self.has_output else None,
            "error_file_id": self.error_file if ended and self.has_errors else None,
            "created_at": self.created_at,
            "expires_at": self.expires_at,
            **{f"{state}_at": self.reached.get(state) for state in states},
            "request_counts": {"total": self.total, "completed": self.completed, "failed": self.failed},
            "metadata": self.metadata,
        }


def new_id(kind: str) -> str:
    """A name that no client can guess."""
    return f"{kind}{secrets.token_hex(16)}"
