"""Services and their metrics for people and programs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from llmservice_operator.cli.terminal import table
from llmservice_operator.cli.top.figures import Figures
from llmservice_operator.planner.status.pricing import exact, per_million, rounded

if TYPE_CHECKING:
    from llmservice_operator.cli import wire

_PERCENTILES = (50, 99)
_NOTHING = "-"


def key(service: Mapping[str, Any]) -> tuple[str, str]:
    """Namespace and name."""
    return service["metadata"]["namespace"], service["metadata"]["name"]


@dataclasses.dataclass(frozen=True)
class Row:
    """One service."""

    namespace: str
    name: str
    ready: int
    wanted: int
    figures: Figures
    currency: str
    """Empty if the platform sets no prices."""
    per_hour: Decimal | None

    @classmethod
    def of(cls, service: Mapping[str, Any], figures: Figures | None) -> Row:
        """Of an LLMService as the API server has it."""
        status = service.get("status") or {}
        cost = status.get("cost") or {}
        namespace, name = key(service)
        return cls(
            namespace,
            name,
            ready=int(status.get("readyReplicas") or 0),
            wanted=int((service.get("spec") or {}).get("replicas") or 0),
            figures=figures or Figures(),
            currency=str(cost.get("currency") or ""),
            per_hour=Decimal(cost["perHour"]) if "perHour" in cost else None,
        )

    @property
    def per_million(self) -> Decimal | None:
        """Cost of a million generated tokens; None if it is not known."""
        speed = self.figures.tokens_per_second
        return None if self.per_hour is None or speed is None else per_million(self.per_hour, speed)

    def part(self, seconds: int) -> wire.ServiceLoad:
        """The service for programs: unknown values are null."""
        from llmservice_operator.cli import wire

        known = self.figures
        money = wire.MoneyPart(
            currency=self.currency,
            per_hour=None if self.per_hour is None else exact(self.per_hour),
            per_million_tokens=None if self.per_million is None else rounded(self.per_million),
        )
        return wire.ServiceLoad(
            namespace=self.namespace,
            name=self.name,
            replicas=self.wanted,
            ready_replicas=self.ready,
            seconds=seconds,
            requests_per_second=_number(known.requests_per_second),
            generated_tokens_per_second=_number(known.tokens_per_second),
            time_to_first_token=_percentiles(known.first_token),
            inter_token_latency=_percentiles(known.between_tokens),
            kv_cache_usage=_number(known.kv_cache),
            requests_running=_number(known.running),
            requests_waiting=_number(known.waiting),
            cost=money if self.currency else None,
        )


def as_table(rows: Sequence[Row], *, everywhere: bool) -> str:
    """The services for people. Costs are shown if at least one service has one."""
    priced = any(row.currency for row in rows)
    headings = [
        *(["NAMESPACE"] if everywhere else []),
        *("NAME", "READY", "REQ/S", "TOK/S", "TTFT P50/P99", "ITL P50/P99", "KV", "RUN/WAIT"),
        *(["COST/H", "COST/MTOK"] if priced else []),
    ]
    return table(headings, [_cells(row, everywhere, priced) for row in sorted(rows, key=_order)])


def _order(row: Row) -> tuple[str, str]:
    return row.namespace, row.name


def _cells(row: Row, everywhere: bool, priced: bool) -> list[str]:
    known = row.figures
    return [
        *([row.namespace] if everywhere else []),
        row.name,
        f"{row.ready}/{row.wanted}",
        _short(known.requests_per_second),
        _short(known.tokens_per_second),
        _times(known.first_token),
        _times(known.between_tokens),
        _NOTHING if known.kv_cache is None else f"{100 * known.kv_cache:.0f}%",
        _NOTHING if known.running is None else f"{known.running:.0f}/{known.waiting or 0:.0f}",
        *([_money(row.per_hour, row.currency), _money(row.per_million, row.currency)] if priced else []),
    ]


def _money(amount: Decimal | None, currency: str) -> str:
    return _NOTHING if amount is None else f"{currency} {rounded(amount)}"


def _short(value: float | None) -> str:
    if value is None:
        return _NOTHING
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"


def _times(seconds: Mapping[int, float]) -> str:
    return "/".join(_time(seconds[each]) for each in _PERCENTILES) if seconds else _NOTHING


def _time(seconds: float) -> str:
    if seconds >= 10:
        return f"{seconds:.0f}s"
    if seconds >= 1:
        return f"{seconds:.1f}s"
    return f"{1000 * seconds:.0f}ms" if seconds >= 0.01 else f"{1000 * seconds:.1f}ms"


def _percentiles(seconds: Mapping[int, float]) -> wire.PercentilesPart | None:
    from llmservice_operator.cli import wire

    return wire.PercentilesPart(p50=round(seconds[50], 6), p99=round(seconds[99], 6)) if seconds else None


def _number(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
