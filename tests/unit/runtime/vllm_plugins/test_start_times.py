"""The times of a start come from vLLM's own log lines, through files of its processes."""

import logging
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace as Of

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from llmservice_runtime.vllm_plugins import start_times

CONFIG = Of(
    model_config=Of(quantization="awq", dtype="torch.bfloat16", max_model_len=4096), cache_config=Of(cache_dtype="auto")
)
INFO = 'llm_model_info{dtype="bfloat16",kv_cache_dtype="auto",max_model_len="4096",quantization="awq"} 1.0'


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """vLLM's logger, which listens to this test alone."""
    logger = logging.getLogger("vllm")
    before, level = list(logger.handlers), logger.level
    logger.setLevel(logging.INFO)
    yield logger
    logger.handlers[:] = before
    logger.setLevel(level)


def page(environ: dict[str, str], config: object = CONFIG) -> list[str]:
    registry = CollectorRegistry()
    start_times.register(registry, config, environ)
    return [line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")]


def test_the_longest_time_of_all_processes_counts(logger: logging.Logger, monkeypatch: pytest.MonkeyPatch) -> None:
    environ: dict[str, str] = {}
    start_times.listen(environ)
    start_times.listen(environ)
    monkeypatch.setenv(start_times.FOLDER, environ[start_times.FOLDER])
    inner = logging.getLogger("vllm.v1.worker")
    inner.info("Loading weights took %.2f seconds", 7.5)
    for seconds in (3.0, 9.25, 4.0):
        inner.info("Model loading took %s GiB memory and %.6f seconds", "14.2", seconds)
    inner.info("init engine (profile, create kv cache, warmup model) took %.2f s (compilation: %.2f s)", 41.5, 30.0)
    folder = Path(environ[start_times.FOLDER])
    assert page(environ) == ["llm_model_load_seconds 9.25", "llm_engine_warm_up_seconds 41.5", INFO]
    assert not folder.exists() and not environ


def test_lines_of_another_form_are_no_times(logger: logging.Logger, monkeypatch: pytest.MonkeyPatch) -> None:
    environ: dict[str, str] = {}
    start_times.listen(environ)
    monkeypatch.setenv(start_times.FOLDER, environ[start_times.FOLDER])
    logger.info("Loading weights took %s", "long")
    logger.info("Loading weights took %.2f seconds", float("nan"))
    logger.info("Loading weights took %.2f seconds", -1)
    logger.info("Model loading took %s GiB", "14")
    logger.info({"Loading weights took %": 1})
    assert page(environ) == [INFO]


def test_without_a_folder_and_without_vllms_fields_the_page_is_served() -> None:
    assert page({}, None) == ['llm_model_info{dtype="",kv_cache_dtype="",max_model_len="",quantization="none"} 1.0']
