"""The table for people."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from serving.figures import PERCENTILES, TIMES

COLUMNS = {"mean": "mean"} | {name: name.upper().replace("_", ".") for name in PERCENTILES}
GIB = 2**30


def show(result: dict[str, Any], console: Console | None = None) -> None:
    """Prints a result of one load, or of several batch sizes."""
    console = console or Console(highlight=False)
    if "batches" in result:
        for each in result["batches"]:
            one(each, f"{each['batch_size']} concurrent requests", console)
        console.print(memory_table(result["batches"]))
        if not all(each["memory"]["gpu"] for each in result["batches"]):
            console.print(
                "The server tells no GPU memory: it has no GPU, or does not export llm_gpu_memory_usage_bytes."
            )
    else:
        one(result, result["command"].replace("_", " "), console)
    if result.get("interrupted"):
        console.print("Interrupted: the figures are those of the time until then.")


def succeeded(result: dict[str, Any]) -> bool:
    """Whether any request did."""
    return any(each["succeeded"] for each in result.get("batches", [result]))


def one(result: dict[str, Any], title: str, console: Console) -> None:
    """One load."""
    table = Table(title=title, title_justify="left")
    table.add_column("milliseconds")
    for heading in COLUMNS.values():
        table.add_column(heading, justify="right")
    for key, name in TIMES.items():
        values = result[key]
        table.add_row(name, *(f"{values[column]:.2f}" if values else "-" for column in COLUMNS))
    console.print(table)
    console.print(
        f"{result['succeeded']} requests in {result['seconds']:.2f} s: {result['requests_per_second']:.2f} requests/s, "
        f"{result['output_tokens_per_second']:.1f} output tokens/s",
        soft_wrap=True,
    )
    console.print(
        f"mean batch size: {result['mean_batch_size'] or 'unknown'} ({result['batch_size_from']})", soft_wrap=True
    )
    if result["mean_prompt_tokens"] is not None:
        prompt, output = result["mean_prompt_tokens"], result["mean_output_tokens"]
        console.print(f"mean tokens: {prompt:g} of prompts, {output:g} of answers", soft_wrap=True)
    if result["cut"]:
        console.print(f"cut at the end: {result['cut']} requests", soft_wrap=True)
    if result.get("not_sent"):
        console.print(f"not sent, too many in flight: {result['not_sent']} requests", soft_wrap=True)
    for kind, number in result["errors"].items():
        detail = result["error_details"].get(kind, "")
        console.print(f"errors: {number} {kind}: {detail}", soft_wrap=True, markup=False)
    console.print()


def memory_table(batches: list[dict[str, Any]]) -> Table:
    """Peaks by batch size."""
    table = Table(title="highest memory while they ran", title_justify="left")
    for heading in ("batch size", "GPU memory used", "of", "process", "KV cache used"):
        table.add_column(heading, justify="right")
    for each in batches:
        memory = each["memory"]
        cache = memory.get("kv_cache_used")
        table.add_row(
            str(each["batch_size"]),
            *(gib(memory.get(name)) for name in ("used_bytes", "total_bytes", "resident_bytes")),
            "-" if cache is None else f"{cache:.1%}",
        )
    return table


def gib(size: float | None) -> str:
    """A size for people."""
    return "-" if size is None else f"{size / GIB:.2f} GiB"
