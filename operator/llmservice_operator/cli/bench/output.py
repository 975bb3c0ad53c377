"""The figures of a bench, for people and for programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from llmservice_operator.autoscaling.latency import Latency, Target
from llmservice_operator.cli import wire
from llmservice_operator.cli.bench.figures import Sample, TargetResult, Verdict, highest_rate, lowest_exceeded
from llmservice_operator.cli.bench.targets import least_requests
from llmservice_operator.cli.inference.model_service import ModelService
from llmservice_operator.cli.terminal import one_line, table

_HEADS = {
    Latency.TIME_TO_FIRST_TOKEN: "TTFT P50/P99",
    Latency.INTER_TOKEN_LATENCY: "ITL P50/P99",
    Latency.REQUEST_LATENCY: "REQUEST P50/P99",
}
_RATE_LIMITED = "http_429"


@dataclass(frozen=True, slots=True)
class Report:
    """All that was measured."""

    service: ModelService
    url: str
    """Empty for the way through the API server."""
    prompt_tokens: int
    max_tokens: int
    targets: Sequence[Target]
    samples: Sequence[Sample]


def table_of(report: Report) -> str:
    """The table, the targets at each rate, and notes."""
    heads = ("REQ/S", "SENT", "FAILED", "TOK/S", "REPLICAS", *_HEADS.values(), "TARGETS")
    rows = [
        (
            f"{sample.rate:g}",
            str(sample.requests - sample.not_sent),
            str(sample.failed + sample.not_sent),
            f"{_tokens_per_second(sample):.0f}",
            _replicas(sample),
            *(_pair(sample.percentiles(latency)) for latency in _HEADS),
            ", ".join(_result(sample.result(each)) for each in report.targets),
        )
        for sample in report.samples
    ]
    return "\n".join([table(heads, rows), "", *_lines(report)])


def document(report: Report) -> wire.Bench:
    """For programs: see docs/kubectl-llm.md."""
    return wire.Bench(
        namespace=report.service.thing.namespace,
        name=report.service.thing.name,
        model=report.service.model,
        url=report.url or None,
        prompt_tokens=report.prompt_tokens,
        max_tokens=report.max_tokens,
        highest_rate=highest_rate(report.samples, report.targets),
        rates=[_rate(sample, report.targets) for sample in report.samples],
        notes=list(_notes(report)),
    )


def _rate(sample: Sample, targets: Sequence[Target]) -> wire.RatePart:
    first, gap, whole = (_percentiles(sample.percentiles(latency)) for latency in _HEADS)
    return wire.RatePart(
        rate=sample.rate,
        seconds=round(sample.seconds, 3),
        requests=sample.requests,
        succeeded=len(sample.answers),
        failed=sample.failed,
        not_sent=sample.not_sent,
        errors=dict(sample.errors),
        ready_replicas=wire.ReplicasPart(before=sample.replicas[0], after=sample.replicas[1]),
        output_tokens_per_second=round(_tokens_per_second(sample), 3),
        time_to_first_token=first,
        inter_token_latency=gap,
        request_latency=whole,
        client_limited=sample.is_client_limited,
        targets=[
            wire.TargetPart(
                latency=each.target.latency.value,
                percentile=each.target.percentile,
                target_seconds=each.target.seconds,
                measured_seconds=each.seconds,
                verdict=each.verdict.value,
            )
            for each in map(sample.result, targets)
        ],
    )


def _percentiles(found: dict[int, float | None] | None) -> wire.MeasuredPart | None:
    return None if found is None else wire.MeasuredPart(p50=found[50], p90=found[90], p95=found[95], p99=found[99])


def _lines(report: Report) -> Iterator[str]:
    highest = highest_rate(report.samples, report.targets)
    if not report.targets:
        yield (
            "The service has no targets (spec.scaling.targets): --target timeToFirstToken.p99=500ms checks one. "
            "Nothing was compared."
        )
    elif highest is None:
        exceeded = lowest_exceeded(report.samples, report.targets)
        if exceeded is None:
            yield "There were too few requests to tell whether all targets hold."
        else:
            yield f"At no rate that was tried do all targets hold: one is exceeded at {exceeded:g} requests/s."
    else:
        yield f"All targets hold at up to {highest:g} requests/s, of the rates that were tried."
    yield from _notes(report)


def _notes(report: Report) -> Iterator[str]:
    for sample in report.samples:
        at = f"At {sample.rate:g} requests/s"
        for kind, count in sorted(sample.errors.items()):
            detail = one_line(sample.details.get(kind, ""))[:200]
            yield f"{at}: {count} requests failed ({kind}{f': {detail}' if detail else ''})."
        if sample.errors.get(_RATE_LIMITED):
            yield f"{at}: rate limits refused requests: use an API key whose tier has higher limits."
        if sample.not_sent:
            yield f"{at}: {sample.not_sent} requests were not sent, because --max-in-flight were in flight."
        if sample.replicas[0] != sample.replicas[1]:
            yield f"{at}: ready replicas changed from {sample.replicas[0]} to {sample.replicas[1]} meanwhile."
        if sample.is_client_limited:
            yield f"{at}: this machine was too slow for the load, so measured times may be too long."
        short = [each for each in report.targets if sample.result(each).verdict is Verdict.UNKNOWN]
        if short:
            needed = max(map(least_requests, short))
            yield f"{at}: {sample.requests} requests are too few for {short[-1].name}, which needs {needed}: --seconds."


def _result(result: TargetResult) -> str:
    target = result.target
    measured = "-" if result.seconds is None else _time(result.seconds)
    words = {Verdict.HOLDS: "holds", Verdict.EXCEEDED: "exceeded", Verdict.UNKNOWN: "unknown"}
    return f"{target.name} {measured} of {_time(target.seconds)} {words[result.verdict]}"


def _replicas(sample: Sample) -> str:
    before, after = sample.replicas
    return str(after) if before == after else f"{before}->{after}"


def _tokens_per_second(sample: Sample) -> float:
    tokens = sum(each.output_tokens or len(each.chunks) for each in sample.answers)
    return tokens / sample.seconds if sample.seconds else 0.0


def _pair(found: dict[int, float | None] | None) -> str:
    if found is None:
        return "-"
    return "/".join("-" if found[each] is None else _time(found[each] or 0.0) for each in (50, 99))


def _time(seconds: float) -> str:
    return f"{seconds * 1000:.0f}ms" if seconds < 1 else f"{seconds:.2f}s"
