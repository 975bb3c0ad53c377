"""Dependencies of commands beside the cluster; tests inject their own."""

import datetime
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


@dataclass(frozen=True, slots=True)
class System:
    """Randomness, the time, and waiting."""

    random: Callable[[int], bytes] = secrets.token_bytes
    now: Callable[[], datetime.datetime] = _now
    sleep: Callable[[float], None] = time.sleep
