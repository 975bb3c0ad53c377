"""The plot of the demo: latency, its target and the replicas over time, drawn in the terminal and into a PNG.

Latency has a logarithmic axis, so that both low and high load are visible.
"""

import math
from collections.abc import Sequence
from pathlib import Path

from rich.text import Text

from samples import Sample

ROWS = 10
GAP = 9
"""Columns of the axis before the first sample."""


def chart(samples: Sequence[Sample], target: float, width: int) -> Text:
    """The newest samples that fit, a column each: bars of the latency, the target as a line, and replicas below."""
    shown = samples[-max(1, width - GAP) :]
    low, high = _range([sample.latency for sample in samples], target)
    drawn = Text()
    target_row = _row(target, low, high)
    for row in range(ROWS, 0, -1):
        label = seconds(target) if row == target_row else seconds(high) if row == ROWS else ""
        drawn.append(f"{label:>{GAP - 2}} {'┼' if row == target_row else '┤'}")
        for sample in shown:
            if sample.latency is not None and _row(sample.latency, low, high) >= row:
                drawn.append("█", style="red" if sample.latency > target else "green")
            else:
                drawn.append("─" if row == target_row else " ", style="yellow")
        drawn.append(" target\n" if row == target_row else "\n", style="yellow")
    for name, digits in (
        ("load", ["▔" if sample.loaded else " " for sample in shown]),
        ("wanted", [_digit(sample.wanted) for sample in shown]),
        ("ready", [_digit(sample.ready) for sample in shown]),
    ):
        drawn.append(f"{name:>{GAP - 2}}  {''.join(digits)}\n", style="bold" if name == "ready" else "")
    return drawn


def line(sample: Sample, target: float) -> str:
    """One look in a line of text."""
    latency = "-" if sample.latency is None else seconds(sample.latency)
    return (
        f"{sample.second:4.0f} s  load {'on ' if sample.loaded else 'off'}  p99 to the first token {latency:>7} "
        f"(target {seconds(target)})  hpa {sample.load or '-'}  replicas {sample.wanted}, ready {sample.ready}"
    )


def seconds(value: float) -> str:
    """``412 ms`` or ``1.8 s``."""
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s"


def save(samples: Sequence[Sample], target: float, title: str, file: Path) -> None:
    """The same as a PNG."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    file.parent.mkdir(parents=True, exist_ok=True)
    at = [sample.second for sample in samples]
    figure, (above, below) = pyplot.subplots(
        2, 1, sharex=True, figsize=(10, 6), height_ratios=(3, 1), layout="constrained"
    )
    latencies = [math.nan if sample.latency is None else sample.latency for sample in samples]
    above.plot(at, latencies, marker=".", label="p99 time to first token, from the metrics API")
    above.axhline(target, color="tab:red", linestyle="--", label=f"target: {seconds(target)}")
    above.set_yscale("log")
    above.set_ylim(bottom=min([target, *(each for each in latencies if each > 0)]) / 2)
    for ticks in (above.yaxis.set_major_formatter, above.yaxis.set_minor_formatter):
        ticks(lambda value, _: seconds(value))
    above.tick_params(axis="y", which="minor", labelsize=7)
    above.set_title(title)
    below.step(at, [sample.wanted for sample in samples], where="post", label="replicas that the HPA asks for")
    below.step(
        at, [sample.ready for sample in samples], where="post", label="replicas that answer", linewidth=3, alpha=0.5
    )
    below.set_ylim(0, max(sample.wanted for sample in samples) + 0.6)
    below.set_yticks(range(max(sample.wanted for sample in samples) + 1))
    below.set_xlabel("seconds")
    loaded = [sample.second for sample in samples if sample.loaded]
    for axes in (above, below):
        if loaded:
            axes.axvspan(loaded[0], loaded[-1], color="tab:orange", alpha=0.12, label="load" if axes is above else None)
        axes.grid(alpha=0.3)
        axes.legend(loc="best")
    figure.savefig(file, dpi=110)
    pyplot.close(figure)


def _range(latencies: Sequence[float | None], target: float) -> tuple[float, float]:
    known = [each for each in latencies if each] or [target]
    return min([*known, target]) / 1.5, max([*known, target]) * 1.2


def _row(value: float, low: float, high: float) -> int:
    """The row that a value reaches, from 1 at the bottom."""
    share = math.log(max(value, low) / low) / math.log(high / low)
    return max(1, min(ROWS, math.ceil(share * ROWS)))


def _digit(count: int) -> str:
    return str(count) if count < 10 else "+"
