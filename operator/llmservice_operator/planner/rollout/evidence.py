"""What the requests of a canary say about it: tests that may be repeated after each request. As in evidence.lua.

``above`` is Wald's sequential probability ratio test (1945) against a mixture of alternatives. Under the null
hypothesis the mixture of likelihood ratios is a nonnegative martingale that begins at 1, so it ever exceeds 1000 with a
probability of 0.001 at most (Ville 1939; Robbins 1970). So asking after each request makes no further false alarms.
"""

import math

CERTAIN = math.log(1000)
"""Logarithm of the likelihood ratio from which it is certain."""
ALTERNATIVES = (0.03, 0.08, 0.15, 0.3, 0.5, 0.75, 0.97)
"""Ratios between the tested one and 1, as parts of the way."""
SLOW_RATIO = 0.25
"""The part of times that is slow if a canary is as fast as the others."""
LIKELY = math.log(0.05)
"""Logarithm of the probability below which so few events are no coincidence."""


def above(n: int, x: int, ratio: float) -> bool:
    """Whether ``x`` of ``n`` events are certainly more than this ratio."""
    if n == 0 or ratio >= 1 or x <= n * ratio:
        return False
    total = 0.0
    for part in ALTERNATIVES:
        q = ratio + (1 - ratio) * part
        total += math.exp(min(700.0, x * math.log(q / ratio) + (n - x) * math.log((1 - q) / (1 - ratio))))
    return math.log(total / len(ALTERNATIVES)) >= CERTAIN


def below(n: int, x: int, ratio: float) -> bool:
    """Whether ``x`` of ``n`` events are likely less than this ratio: the Chernoff bound of the binomial tail (1952)."""
    found = x / n if n else 1.0
    if found >= ratio:
        return False
    divergence = (1 - found) * math.log((1 - found) / (1 - ratio)) if ratio < 1 else math.inf
    if found:
        divergence += found * math.log(found / ratio)
    return -n * divergence < LIKELY
