"""The subcommand `fetch`: fetches the model of the environment into the cache, and reports in the termination log."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from pathlib import Path

from llmservice_contract import container
from llmservice_contract.fetching import CACHE_VARIABLE, ENTRY, SERVICE_VARIABLE, USED_VARIABLE, FetchResult
from llmservice_contract.inspection import failure_to_json
from llmservice_contract.source import Source
from llmservice_runtime.fetch.cache import Cache
from llmservice_runtime.fetch.fetch import Request, fetch
from llmservice_runtime.launcher import launcher
from llmservice_runtime.model.unreadable import ModelUnreadable

_SERVICE = re.compile(r"[a-z0-9][a-z0-9.-]{0,250}")


def run(
    source: Source,
    revision: str | None,
    environ: Mapping[str, str],
    log: Path,
    trusted: frozenset[str] = frozenset(),
) -> int:
    """Returns the exit code. `trusted` are hosts whose addresses are not checked."""
    service = environ.get(SERVICE_VARIABLE, "")
    if not _SERVICE.fullmatch(service):
        launcher.say(f"{SERVICE_VARIABLE} must be NAMESPACE.NAME of the service.")
        return container.EXIT_WRONG_SETTINGS
    request = Request(
        source,
        revision,
        Cache(Path(environ.get(CACHE_VARIABLE) or container.MODELS_PATH)),
        service,
        frozenset(each for each in environ.get(USED_VARIABLE, "").split(",") if re.fullmatch(ENTRY, each)),
        trusted,
    )
    try:
        found = asyncio.run(fetch(request, environ))
    except ModelUnreadable as error:
        launcher.write_termination_log(log, failure_to_json(error.finding))
        launcher.say(str(error))
        return error.cause.exit_code
    result = FetchResult(found.entry, found.revision, found.total, found.fetched)
    launcher.write_termination_log(log, result.to_json())
    print(result.to_json())
    return 0
