"""How far the estimate of a prompt's tokens is from what vLLM counts, for each key.

Text of some languages, or of an attacker, has up to a token for each byte, four times the estimate. Then what a request
reserves is too little, again and again. So the estimate of a key's next prompts follows what its last ones were.
"""

from __future__ import annotations

from collections import OrderedDict

LEAST_TOKENS = 64
"""Shorter prompts tell nothing: the model's chat template adds to them."""
MOST_RATIO = 4.0
"""A token for each byte."""
KEEP = 0.9
"""What remains of a ratio after a prompt with a lower one."""
MOST_KEYS = 10_000


class Estimates:
    """The ratio of each key; of the keys that were seen last, so that their number is bounded."""

    def __init__(self) -> None:
        self._ratios: OrderedDict[str, float] = OrderedDict()

    def tokens(self, key_id: str, estimate: int) -> int:
        """What to reserve for a prompt with this estimate."""
        return int(estimate * self._ratios.get(key_id, 1.0))

    def learn(self, key_id: str, estimate: int, counted: int) -> None:
        """A prompt of this key with this estimate had so many tokens."""
        if estimate < LEAST_TOKENS:
            return
        ratio = min(MOST_RATIO, max(counted / estimate, self._ratios.pop(key_id, 1.0) * KEEP))
        if ratio > 1.0:
            self._ratios[key_id] = ratio
            while len(self._ratios) > MOST_KEYS:
                self._ratios.popitem(last=False)
