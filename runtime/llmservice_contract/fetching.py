"""The result of a fetch, in the termination message of its container: what is in the cache, or a finding."""

from __future__ import annotations

import json

import msgspec

from llmservice_contract.finding import Finding, NotAFinding, finding_from_json
from llmservice_contract.foreign import read_json
from llmservice_contract.inspection import MOST_MESSAGE

CACHE_VARIABLE = "FETCH_CACHE"
"""Variable with the directory of the cache."""
SERVICE_VARIABLE = "FETCH_SERVICE"
"""Variable with NAMESPACE.NAME of the service."""
USED_VARIABLE = "FETCH_USED"
"""Variable with the entries that the service's pods run, separated by commas: they stay in the cache."""
ENTRY = "[0-9a-f]{16}/[0-9a-f]{40}"
"""An entry of the cache: SOURCE/REVISION."""
MODELS = "models"
"""The directory of the entries in the cache."""


class NotAFetchResult(ValueError):
    """The text is not the result of a fetch."""


class FetchResult(msgspec.Struct, frozen=True, rename="camel"):
    """A model that is complete in the cache. `entry` is its place; `revision` the commit, or a digest of the objects'
    list; `total_bytes` its size, of which `fetched_bytes` were received by this fetch."""

    entry: str
    revision: str
    total_bytes: int
    fetched_bytes: int

    def to_json(self) -> str:
        return json.dumps(msgspec.to_builtins(self), separators=(",", ":"))


def fetch_result_from_json(text: str) -> FetchResult | Finding:
    """The message in `text`. Unknown keys are ignored. Raises NotAFetchResult."""
    data = read_json(text, most=MOST_MESSAGE)
    if not isinstance(data, dict):
        raise NotAFetchResult("the termination message is not a JSON object")
    try:
        return finding_from_json(data) if "error" in data else msgspec.convert(data, FetchResult)
    except (NotAFinding, msgspec.ValidationError) as error:
        raise NotAFetchResult(f"the termination message is invalid: {error}") from None
