"""The size of the demo's load, from a short measurement: one replica misses the target with it, two replicas meet it.

The load comes in bursts. A replica computes ``slots`` requests at a time (maxNumSeqs), and a burst has one more. On
one replica that one waits for the whole of another answer, which takes three times the target: with eight slots that is
one request of nine, so p99 misses. Spread over two replicas at random every request finds a place, but in 4 of 1,000
bursts, which go to one replica as a whole. Between the bursts the processors are idle, so that a replica can start
beside the load.
"""

import dataclasses
import json
import math
from collections.abc import Sequence
from typing import Any

TARGETS_MS = (200, 250, 315, 400, 500, 630, 800, 1000, 1250, 1600, 2000)
"""Targets that are bounds of the engines' histograms, so that they are decided exactly."""
HEADROOM = 2.0
"""The target is at least so many times what a request without a wait takes: two replicas share one machine."""
WAIT = 3.0
"""An answer takes so many times the target, and who waits for a place waits for one."""
EXTRA = 1
"""Requests of a burst that find no place on one replica."""
BUSY_SHARE = 1 / 3
"""Of the time, one replica computes; in the rest another one can start."""
LEAST_TOKENS, MOST_TOKENS = 16, 1500
PERIODS = (4, 6, 7, 8, 9, 11, 12, 13, 14, 16, 17, 18, 19, 21)
"""Seconds from burst to burst: no multiples of the five seconds between two scrapes, so that scrapes see bursts too."""
QUANTILE = 0.99


class NotMeasured(Exception):
    """The measurement has no usable result; the text says why."""


@dataclasses.dataclass(frozen=True)
class Measured:
    """What one replica does while all of its places are taken."""

    first_seconds: float
    """p99 of the time to the first token of requests that did not wait."""
    token_seconds: float
    """From one token to the next."""


@dataclasses.dataclass(frozen=True)
class Size:
    """The load and the target for this machine."""

    target_ms: int
    in_flight: int
    """Requests of a burst."""
    every: int
    """Seconds from burst to burst."""
    max_tokens: int

    def why(self, measured: Measured, slots: int) -> str:
        """For people: the arithmetic in two lines."""
        wait = measured.token_seconds * self.max_tokens
        return (
            f"{slots} requests at once get their first tokens within {_seconds(measured.first_seconds)}, and a token "
            f"each {_seconds(measured.token_seconds)}: target {self.target_ms} ms.\n"
            f"The load: {self.in_flight} requests every {self.every} s, {self.max_tokens} tokens each. One replica "
            f"computes {slots} at a time, so {self.in_flight - slots} of them waits {_seconds(wait)}; on two replicas "
            "none has to."
        )


def read(printed: str) -> Measured:
    """The line that measure.py prints. Raises NotMeasured."""
    lines = [line for line in printed.splitlines() if line.startswith("{")]
    try:
        found: dict[str, Any] = json.loads(lines[-1])
        firsts = sorted(float(each) for each in found["first_token_seconds"])
        token = float(found["between_tokens_seconds"])
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise NotMeasured(f"the measurement printed no result: {printed.strip()[-500:] or 'nothing'}") from error
    if not firsts or not all(math.isfinite(each) and each > 0 for each in (*firsts, token)):
        raise NotMeasured(f"the measurement has no usable times: {printed.strip()[-500:]}")
    return Measured(quantile(firsts), token)


def quantile(ordered: Sequence[float]) -> float:
    """The smallest value that QUANTILE of the ordered ones do not exceed."""
    return ordered[math.ceil(QUANTILE * len(ordered)) - 1]


def size(measured: Measured, slots: int) -> Size:
    """The load for a replica with so many places. Raises NotMeasured if the machine is too slow."""
    needed = HEADROOM * measured.first_seconds * 1000
    target = next((each for each in TARGETS_MS if each >= needed), None)
    if target is None:
        raise NotMeasured(
            f"this machine is too slow or too busy for the demo: {slots} requests at once wait "
            f"{_seconds(measured.first_seconds)} for their first tokens"
        )
    tokens = math.ceil(WAIT * target / 1000 / measured.token_seconds)
    tokens = min(max(tokens, LEAST_TOKENS), MOST_TOKENS)
    answer = tokens * measured.token_seconds
    every = next((each for each in PERIODS if each >= 2 * answer / BUSY_SHARE), PERIODS[-1])
    return Size(target, slots + EXTRA, every, tokens)


def _seconds(value: float) -> str:
    return f"{value:.1f} s" if value >= 1 else f"{value * 1000:.0f} ms" if value >= 0.01 else f"{value * 1000:.1f} ms"
