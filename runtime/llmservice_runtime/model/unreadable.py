"""The error of all functions that read a model's files, and helpers for its messages."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from llmservice_contract import causes
from llmservice_contract.causes import Cause
from llmservice_contract.diagnosis import Diagnosis
from llmservice_contract.finding import Finding
from llmservice_runtime.cannot_serve import CannotServe

UNAVAILABLE = (causes.HUB_UNREACHABLE, causes.STORE_UNREACHABLE)
"""Causes of a server that does not answer or is overloaded."""
NAMES_SHOWN = 12
NAMES_READ = 200


class ModelUnreadable(CannotServe):
    """The model can't be read because of `cause`; the text is a sentence, the other fields are as in a `Finding`."""

    def __init__(
        self,
        cause: Cause,
        message: str,
        *,
        field: str = "spec.model.source",
        fix: str = "",
        alternative: str = "",
        is_missing_file: bool = False,
        numbers: Mapping[str, str] | None = None,
        retry_after: float = 0,
    ) -> None:
        super().__init__(message, field)
        self.cause = cause
        self.is_missing_file = is_missing_file
        self.retry_after = retry_after
        """Seconds after which the server wants to be asked again; 0 if it does not say."""
        self.finding = Finding(
            cause.name, message, numbers=numbers or {}, alternative=alternative, field=field, fix=fix
        )

    @property
    def is_transient(self) -> bool:
        """Whether the server is unavailable, which passes without a change."""
        return self.cause in UNAVAILABLE

    def diagnosis(self, cause: Cause) -> Diagnosis:
        """Its finding, for its own cause."""
        return Diagnosis(self.finding, self.cause.exit_code)


def read_json(path: Path, name: str) -> dict[str, Any]:
    """The JSON object in `path`, called `name` in messages. Raises ModelUnreadable."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelUnreadable(causes.BAD_CONFIG, f"{name} cannot be read: {one_line(error)}.") from error
    return parsed(content, name)


def parsed(content: bytes, name: str) -> dict[str, Any]:
    """The JSON object in `text`, called `name` in messages. Raises ModelUnreadable."""
    try:
        data = json.loads(content.decode())
    except ValueError as error:
        raise ModelUnreadable(causes.BAD_CONFIG, f"{name} cannot be read: {one_line(error)}.") from error
    if not isinstance(data, dict):
        raise ModelUnreadable(causes.BAD_CONFIG, f"{name} is not a JSON object.")
    return data


def listing(directory: Path) -> str:
    """The first names in `directory`, as the end of a sentence."""
    try:
        names = sorted(entry.name + "/" * entry.is_dir() for entry in islice(directory.iterdir(), NAMES_READ))
    except OSError as error:
        return f"what cannot be read ({error.strerror})"
    if not names:
        return "nothing"
    more = ", …" if len(names) > NAMES_SHOWN else ""
    return ", ".join(names[:NAMES_SHOWN]) + more


def one_line(error: BaseException) -> str:
    """The text of `error` for the middle of a sentence."""
    return " ".join(str(error).split())[:400].rstrip(".") or type(error).__name__


def root_cause(error: BaseException) -> BaseException:
    """The innermost cause of `error`."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return error
