"""Keys that have used up a rate limit. Until it recovers, their requests are refused before the body is read.

Only an ask tells how a key stands, and with a shared store an ask is a round trip. So one that ends with nothing left
speaks for the next ones of its key, for a second at most: what was refunded to the key meanwhile counts from then on.
"""

from __future__ import annotations

from collections.abc import Callable

from llmservice_contract.policy import RateLimit
from llmservice_runtime.gateway.refusals import Refusal
from llmservice_runtime.rate_limits.limiter import Ask, Denial

REMEMBER_SECONDS = 1.0
MOST_KEYS = 10_000


class Exhausted:
    """The refusals of keys that have nothing left."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._said: dict[str, tuple[float, RateLimit, Refusal]] = {}

    def note(self, ask: Ask, denial: Denial, refusal: Refusal) -> None:
        """Remembers the refusal if it holds for every request of this key."""
        stands = denial.standing
        if denial.hopeless or 0 not in (stands.remaining_requests, stands.remaining_tokens):
            return
        now = self._now()
        if len(self._said) >= MOST_KEYS:
            self._said = {key_id: said for key_id, said in self._said.items() if said[0] > now}
        if len(self._said) < MOST_KEYS:
            self._said[ask.key_id] = now + min(denial.retry_after, REMEMBER_SECONDS), ask.limit, refusal

    def refusal(self, key_id: str, limit: RateLimit) -> Refusal | None:
        """The refusal for a request of this key; None if the limiter has to be asked."""
        said = self._said.get(key_id)
        if said is None:
            return None
        until, of_limit, refusal = said
        if self._now() < until and of_limit == limit:
            return refusal
        del self._said[key_id]
        return None
