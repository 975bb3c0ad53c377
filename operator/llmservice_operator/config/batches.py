"""Settings of the process of files and batches: environment variables LLMSERVICE_BATCHES_*, which the chart writes."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from llmservice_operator.config.gateway import MEBIBYTE, megabytes
from llmservice_operator.config.section import Rule, Section, matching, one_of, read, whole
from llmservice_operator.config.settings import SettingsError

_URL = re.compile(r"https?://[A-Za-z0-9.:\[\]-]{1,300}")


class BatchesSettings(Section):
    """Settings of files and batches."""

    batches_directory: Annotated[Path, Rule("a path", Path)] = Path("/data")
    """Directory of the files, on a volume that stays."""
    batches_key_file: Annotated[Path, Rule("a path", Path)] = Path("/etc/llmservice/batches/key")
    """File whose content encrypts the API keys of running batches; 32 bytes at least."""
    batches_gateway: Annotated[str, matching(_URL, "an http or https URL without a path")] = "http://127.0.0.1:8000"
    """URL of the gateway, which checks keys and gets the lines."""
    batches_port: Annotated[int, whole(1, 65_535)] = 8000
    """Port of /v1/files and /v1/batches."""
    batches_metrics_port: Annotated[int, whole(1, 65_535)] = 9090
    """Port of /metrics, /livez and /readyz."""
    batches_concurrency: Annotated[int, whole(1, 4096)] = 64
    """Maximum number of lines in work for one model."""
    batches_max_file: Annotated[int, megabytes(1, 512)] = 200 * MEBIBYTE
    """Maximum size of one file, in MiB."""
    batches_max_lines: Annotated[int, whole(1, 100_000)] = 50_000
    """Maximum number of lines of one batch."""
    batches_key_storage: Annotated[int, megabytes(1, 1_048_576)] = 2048 * MEBIBYTE
    """Maximum size of all files of one key, in MiB."""
    batches_namespace_storage: Annotated[int, megabytes(1, 1_048_576)] = 8192 * MEBIBYTE
    """Maximum size of all files of one namespace, in MiB."""
    batches_key_batches: Annotated[int, whole(1, 1000)] = 20
    """Maximum number of batches of one key that have not ended."""
    batches_file_days: Annotated[int, whole(1, 365)] = 30
    """Days after which a file is deleted."""
    log_format: Annotated[str, one_of("text", "json")] = "text"
    """Format of log lines."""
    log_level: Annotated[str, one_of("DEBUG", "INFO", "WARNING", "ERROR")] = "INFO"
    """Minimum level of log lines."""


def read_batches(environment: Mapping[str, str]) -> BatchesSettings:
    """The settings in ``environment``. Raises SettingsError with a sentence for each invalid variable."""
    problems: list[str] = []
    settings = read(BatchesSettings, environment, problems)
    if problems:
        raise SettingsError(problems)
    return settings
