"""The cost of services as series for Prometheus: per hour from each service's status, per million tokens also with the
throughput of the last reading. Unknown costs have no series.
"""

import datetime
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal

from llmservice_operator.autoscaling import external_metrics
from llmservice_operator.autoscaling.signals import Reading
from llmservice_operator.controller.informer.store import Cache, ServiceKey
from llmservice_operator.planner.status import pricing

_MOST = Decimal("1e9")
"""Maximum amount per hour."""

Series = tuple[str, Mapping[str, str], float]


class Costs:
    """``fresh``: maximum age of the reading that a cost is computed from."""

    def __init__(self, cache: Cache, *, fresh: datetime.timedelta, now: Callable[[], datetime.datetime]) -> None:
        self._cache = cache
        self._fresh = fresh
        self._now = now
        self._tokens: Mapping[ServiceKey, float] = {}
        self._read_at: datetime.datetime | None = None

    def take(self, reading: Reading) -> None:
        """Takes the throughput from a reading."""
        self._read_at = self._now()
        self._tokens = {
            key: signals.generated_per_second
            for key, signals in reading.signals.items()
            if signals.generated_per_second is not None
        }

    def exported(self) -> Iterator[Series]:
        """All series: name, labels, value."""
        fresh = self._read_at is not None and self._now() - self._read_at < self._fresh
        for key in self._cache.services():
            service = self._cache.service(key) or {}
            status = (service.get("status") or {}).get("cost") or {}
            per_hour = _amount(status.get("perHour"))
            if per_hour is None:
                continue
            labels = {
                external_metrics.NAMESPACE_LABEL: key[0],
                external_metrics.SERVICE_LABEL: key[1],
                external_metrics.CURRENCY_LABEL: str(status.get("currency", "")),
            }
            yield external_metrics.COST_PER_HOUR, labels, float(per_hour)
            million = pricing.per_million(per_hour, self._tokens.get(key, 0.0)) if fresh else None
            if million is not None:
                yield external_metrics.COST_PER_MILLION_TOKENS, labels, float(million)


def _amount(text: object) -> Decimal | None:
    """The amount; None if the status has none or an invalid one, which any writer of the status may have set."""
    try:
        amount = Decimal(str(text))
    except ArithmeticError:
        return None
    return amount if amount.is_finite() and 0 <= amount <= _MOST else None
