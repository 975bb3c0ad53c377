"""Metrics of an engine's start: how long its weights took to load, how long it warmed up, and what it loaded.

vLLM measures both times in the processes of its engine and only logs them. So each process of vLLM listens to these two
log lines and writes the number into a folder, whose path its environment has; the process that serves HTTP reads them
when the engine is ready. The lines are no stable interface: if vLLM logs them in another way, these metrics are absent.
(gpu_model_runner.py, default_loader.py and core.py of vLLM 0.32.)
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Gauge

from llmservice_contract import metrics

FOLDER = "LLMSERVICE_START_TIMES"
"""Environment variable with the folder, set by the first process of vLLM for all others."""
STAGES: Mapping[str, tuple[str, int]] = {
    "Loading weights took %": (metrics.LOAD_WEIGHTS, 0),
    "Model loading took %": (metrics.LOAD_MODEL, 1),
    "init engine (profile, create kv cache, warmup model) took %": (metrics.WARM_UP, 0),
}
"""How a line's format starts: the stage, and which of its arguments is the seconds."""
_MOST_SECONDS = 86_400.0


class _Listener(logging.Handler):
    """Never raises: it runs within vLLM's start."""

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(Exception):
            for start, (stage, argument) in STAGES.items():
                if isinstance(record.msg, str) and record.msg.startswith(start) and isinstance(record.args, tuple):
                    _write(os.environ.get(FOLDER, ""), stage, float(str(record.args[argument])))


def listen(environ: MutableMapping[str, str] = os.environ) -> None:
    """Notes the times of this process from now on, and of those that it starts; harmless if repeated."""
    logger = logging.getLogger("vllm")
    if any(isinstance(each, _Listener) for each in logger.handlers):
        return
    if FOLDER not in environ:
        try:
            environ[FOLDER] = tempfile.mkdtemp(prefix="start-times-")
        except OSError:
            return
    logger.addHandler(_Listener(logging.INFO))


def _write(folder: str, stage: str, seconds: float) -> None:
    """The longest time of all processes counts: the engine waits for each of them."""
    if folder and 0 <= seconds <= _MOST_SECONDS:
        with Path(folder, stage).open("a") as file:
            file.write(f"{seconds:.3f}\n")


def _read(folder: str) -> Iterator[tuple[str, float]]:
    for stage in (metrics.LOAD_WEIGHTS, metrics.LOAD_MODEL, metrics.WARM_UP):
        with contextlib.suppress(OSError, ValueError):
            seconds = max(float(each) for each in Path(folder, stage).read_text().split())
            if math.isfinite(seconds):
                yield stage, seconds


def register(registry: CollectorRegistry, vllm_config: Any, environ: MutableMapping[str, str] = os.environ) -> None:
    """Adds the metrics, when the engine is ready; the folder is deleted. Never raises for what vLLM gives."""
    folder = environ.pop(FOLDER, "")
    times = dict(_read(folder)) if folder else {}
    if folder:
        shutil.rmtree(folder, ignore_errors=True)
    # The runner's time includes that of the weights; it is not logged on CPUs.
    load = times.get(metrics.LOAD_MODEL, times.get(metrics.LOAD_WEIGHTS))
    for name, text, seconds in (
        (metrics.LOAD_SECONDS, "Seconds in which the engine loaded the model at its start.", load),
        (metrics.WARM_UP_SECONDS, "Seconds in which it profiled, compiled and warmed up.", times.get(metrics.WARM_UP)),
    ):
        if seconds is not None:
            Gauge(name, text, registry=registry).set(seconds)
    labels = _described(vllm_config)
    Gauge(metrics.MODEL_INFO, "How the model is stored and computed.", list(labels), registry=registry).labels(
        **labels
    ).set(1)


def _described(vllm_config: Any) -> dict[str, str]:
    """Labels of the model; empty where vLLM has no such field."""
    model, cache = (getattr(vllm_config, part, None) for part in ("model_config", "cache_config"))
    found = {
        "quantization": getattr(model, "quantization", None) or "none",
        "dtype": str(getattr(model, "dtype", "")).removeprefix("torch."),
        "kv_cache_dtype": getattr(cache, "cache_dtype", ""),
        "max_model_len": getattr(model, "max_model_len", ""),
    }
    return {name: str(value)[:63] for name, value in found.items()}
