"""The plot of a result: the share of requests by latency, or memory by batch size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from serving.figures import PERCENTILES, TIMES

GIB = 2**30


class Nothing(Exception):
    """No request succeeded: there is nothing to draw."""


def save(result: dict[str, Any], path: Path) -> None:
    """Draws it into a PNG."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, _ = pyplot.subplots()
    figure.clear()
    if "batches" in result:
        memory(figure, result["batches"])
    else:
        percentiles(figure, result)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120, format="png")
    pyplot.close(figure)


def percentiles(figure: Any, result: dict[str, Any]) -> None:
    """A bar for each percentile, a panel for each time."""
    shown = [(name, result[key]) for key, name in TIMES.items() if result[key]]
    if not shown:
        raise Nothing
    figure.set_size_inches(4 * len(shown), 4)
    for axes, (name, values) in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
        labels = [key.upper().replace("_", ".") for key in PERCENTILES]
        axes.bar(labels, [values[key] for key in PERCENTILES], color="tab:blue")
        axes.axhline(values["mean"], color="tab:orange", label="mean")
        axes.set(title=name, ylabel="ms")
        axes.legend()
    rate = f"{result['requests_per_second']:.2f} requests/s, {result['output_tokens_per_second']:.0f} output tokens/s"
    figure.suptitle(f"{result['settings']['model']}: {rate}")
    figure.tight_layout()


def memory(figure: Any, batches: list[dict[str, Any]]) -> None:
    """Memory and output tokens/s by batch size."""
    figure.set_size_inches(9, 4)
    left, right = figure.subplots(1, 2)
    sizes = [str(each["batch_size"]) for each in batches]
    gpu = all(each["memory"]["gpu"] for each in batches)
    used = [each["memory"].get("used_bytes" if gpu else "resident_bytes") or 0 for each in batches]
    left.bar(sizes, [each / GIB for each in used], color="tab:blue")
    left.set(title="GPU memory used" if gpu else "memory of the server's process", xlabel="batch size", ylabel="GiB")
    right.plot(sizes, [each["output_tokens_per_second"] for each in batches], marker="o")
    right.set(title="output tokens/s", xlabel="batch size", ylim=(0, None))
    figure.tight_layout()
