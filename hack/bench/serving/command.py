"""The frame of a command: progress on a terminal, Ctrl-C, the exit status."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from serving import plot, report
from serving.errors import Unusable
from serving.run import Run

TICK_SECONDS = 0.5
NEVER_SHOWN = {"api_key", "json", "plot"}


async def until_ended(load: Coroutine[Any, Any, Any], words: str, total: float, done: Callable[[], float]) -> bool:
    """Runs the load with a progress bar; SIGINT and SIGTERM end it. Returns whether they did."""
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(load)
    interrupted = asyncio.Event()

    def end() -> None:
        interrupted.set()
        task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end)
    try:
        with bar() as progress:
            shown = asyncio.create_task(tick(progress, progress.add_task(words, total=total), done))
            try:
                await asyncio.wait({task})
            finally:
                shown.cancel()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
    if not task.cancelled():
        task.result()
    return interrupted.is_set()


def bar() -> Progress:
    """On a terminal alone, and on stderr: stdout is for the table."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:.0f} %"),
        TimeElapsedColumn(),
    )
    console = Console(stderr=True)
    return Progress(*columns, console=console, refresh_per_second=2, disable=not console.is_terminal)


async def tick(progress: Progress, task: TaskID, done: Callable[[], float]) -> None:
    """Moves the bar."""
    while True:
        progress.update(task, completed=done())
        await asyncio.sleep(TICK_SECONDS)


def elapsed(run: Run) -> Callable[[], float]:
    """Seconds from now on, for a load that is bounded in time."""
    began = run.client.now()
    return lambda: run.client.now() - began


def execute(name: str, options: argparse.Namespace, measure: Callable[[], Awaitable[dict[str, Any]]]) -> int:
    """Measures, prints and writes. 1 if no request succeeded, 2 if the server can't be measured."""
    try:
        result = asyncio.run(within(measure))
    except Unusable as why:
        print(f"error: {why}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("error: interrupted before the load began", file=sys.stderr)
        return 130
    settings = {key: value for key, value in vars(options).items() if key not in NEVER_SHOWN}
    result = {"command": name, "settings": settings} | result
    report.show(result)
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    if options.plot:
        with contextlib.suppress(plot.Nothing):
            plot.save(result, options.plot)
    return 0 if report.succeeded(result) else 1


async def within(measure: Callable[[], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
    """A coroutine of any awaitable."""
    return await measure()
