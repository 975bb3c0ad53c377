"""What follows from the answer to a line: its result, or another try."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from llmservice_operator.batches.results import Result

ATTEMPTS = 8
"""Tries of a line with which a replica failed. A line that ends engines gets no more."""
INTERNAL_ATTEMPTS = 3
"""The same if the engine itself said that it failed."""
KEY_SECONDS = 30.0
"""Pause of an owner whose key is refused."""
ANSWER_BYTES = 32 * 2**20
"""Largest answer to a line."""
MESSAGE = 1000
_check = msgspec.json.Decoder(msgspec.Raw).decode


@dataclass(frozen=True)
class Again:
    """The line is sent again."""

    reason: str
    slower: bool = True
    """Whether fewer lines are sent for a while."""
    most_attempts: int | None = None
    """It becomes an error after so many; None: it was not the line that failed."""
    retry_after: float | None = None


def of_response(
    number: int, custom_id: str, status: int, headers: Mapping[str, str], body: bytes | None
) -> Result | Again:
    """``body`` is None if it was too large."""
    if status == 401:
        return Again("key_refused", retry_after=KEY_SECONDS)
    if status == 503 or (status == 429 and headers.get("x-should-retry") != "false"):
        return Again("refused", retry_after=_seconds(headers.get("Retry-After")))
    if status in (408, 502, 504):
        return Again("replica_failed", most_attempts=ATTEMPTS)
    if status == 500:
        return Again("engine_failed", slower=False, most_attempts=INTERNAL_ATTEMPTS)
    return final(number, custom_id, status, headers, body)


def final(number: int, custom_id: str, status: int, headers: Mapping[str, str], body: bytes | None) -> Result:
    """The result of a line that is not sent again."""
    if body is None:
        message = f"The answer is larger than {ANSWER_BYTES} bytes. Ask for a shorter one."
        return Result(number, custom_id, code="answer_too_large", message=message)
    try:
        # Only checked: decoded, an answer may take fifty times its size. A Raw may have bytes that are no UTF-8.
        _check(body)
        body.decode()
    except (msgspec.MsgspecError, ValueError, RecursionError):
        message = f"The answer has the status {status} and is no JSON."
        return Result(number, custom_id, code="invalid_answer", message=message)
    return Result(number, custom_id, headers.get("X-Request-Id"), status, msgspec.Raw(body))


def _seconds(text: str | None) -> float | None:
    try:
        found = float(text) if text is not None else None
    except ValueError:
        return None
    return found if found is not None and math.isfinite(found) and found >= 0 else None
