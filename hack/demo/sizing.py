"""The size of the demo's load, from a short measurement: one replica misses the target with it, two replicas meet it.

The load is sent in bursts. A replica computes ``slots`` requests at a time (maxNumSeqs), and a burst has one more. On
one replica that request waits for another answer to end, which takes three times the target: with eight slots that is
one request of nine, so p99 misses the target. On two replicas every request has a slot, except in 4 of 1,000 bursts,
all of whose requests go to one replica. Between the bursts the processors are idle, so that a replica can start beside
the load.
"""

import dataclasses
import json
import math
from collections.abc import Sequence
from typing import Any

TARGETS_MS = (200, 250, 315, 400, 500, 630, 800, 1000, 1250, 1600, 2000)
"""Targets that are bounds of the engines' histograms, so that they are decided exactly."""
HEADROOM = 2.0
"""The target is at least so many times what nearly every request takes that has not to wait: two replicas share one
machine."""
MEASURED_QUANTILE, TARGET_QUANTILE = 0.95, 0.99
"""One slow answer of some sixty is no reason for another target."""
WAIT = 3.0
"""An answer takes so many times the target, and who waits for a place waits for one."""
EXTRA = 1
"""Requests of a burst that find no place on one replica."""
BUSY_SHARE = 1 / 3
"""Of the time, one replica computes; in the rest another one can start."""
LEAST_TOKENS, MOST_TOKENS = 16, 1500
PERIODS = (4, 6, 7, 8, 9, 11, 12, 13, 14, 16, 17, 18, 19, 21)
"""Seconds from burst to burst: no multiples of the five seconds between two scrapes, so that scrapes see bursts too."""


class NotMeasured(Exception):
    """The measurement has no usable result; the text says why."""


@dataclasses.dataclass(frozen=True)
class Measured:
    """What one replica does while all of its places are taken."""

    first_seconds: float
    """Time to the first token that MEASURED_QUANTILE of the requests did not exceed; none of them had to wait."""
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
    return Measured(quantile(firsts, MEASURED_QUANTILE), token)


def quantile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that so large a share of the ordered ones do not exceed."""
    return ordered[math.ceil(share * len(ordered)) - 1]


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
