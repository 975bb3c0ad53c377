"""Starts from the local cache of a hub's files while the hub is unavailable.

The cache must hold the whole model at the very commit that is to be served, so a pinned revision holds as with the hub.
A hub that refuses (401, 403, 404) is not unavailable: then the cache does not count. While the hub is unavailable, it
can't say whether a token is still valid: files that were downloaded with a valid one are served again.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from llmservice_contract.foreign import read_json
from llmservice_contract.source import Repository, Source
from llmservice_runtime.launcher.launcher import say
from llmservice_runtime.model import hub
from llmservice_runtime.model.unreadable import NAMES_READ, ModelUnreadable

INDEX = "model.safetensors.index.json"
MOST_INDEX_BYTES = 32 << 20
MOST_ENTRIES = 50 * NAMES_READ
_PART = re.compile(r"(?P<stem>.+)-[0-9]{5}-of-(?P<parts>[0-9]{5})\.safetensors")
_TOKENIZERS = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "tekken.json", "vocab.json", "vocab.txt")
_CONFIGS = ("config.json", "params.json")

Model = tuple[Source, str | None]
"""A source and its revision."""


def reach_hub(models: Sequence[Model]) -> bool:
    """True if vLLM has to start without the hub, from the local cache; False if the hub answers, or refuses, or no
    model is of a hub. The first of the models needs a tokenizer. Raises ModelUnreadable if a hub is unavailable and the
    cache is not complete."""
    repositories = [(source, revision) for source, revision in models if isinstance(source, Repository)]
    if not repositories or hub.is_offline():
        return False
    first = models[0][0]
    cached = all(is_complete(*each, needs_tokenizer=each[0] is first) for each in repositories)
    for source, revision in repositories:
        try:
            hub.check_available(source, revision, is_cached=cached)
        except ModelUnreadable as error:
            if not error.is_transient:
                return False  # vLLM reports it
            if not cached:
                raise
            say(f"{error} Starting with the files in the local cache, which are complete.")
            hub.go_offline()
            return True
    return False


def is_complete(source: Repository, revision: str | None, *, needs_tokenizer: bool = True) -> bool:
    """Whether the local cache holds configuration, tokenizer and all weights of the repository at the revision."""
    folder = hub.snapshot(source, revision)
    if folder is None:
        return False
    try:
        names = {entry.name for entry in islice(folder.iterdir(), MOST_ENTRIES) if entry.is_file()}
    except OSError:
        return False
    weights = {name for name in names if name.endswith(".safetensors")}
    return (
        not names.isdisjoint(_CONFIGS)
        and not (needs_tokenizer and names.isdisjoint(_TOKENIZERS))
        and bool(weights)
        and _parts_of(weights) <= weights
        and (INDEX not in names or _named_by(folder / INDEX) <= weights)
    )


def _parts_of(weights: set[str]) -> set[str]:
    """All names of weights of which there are parts with a number."""
    found = (match for name in weights if (match := _PART.fullmatch(name)) is not None)
    counts = {(match["stem"], match["parts"]) for match in found}
    return {
        f"{stem}-{number:05}-of-{parts}.safetensors"
        for stem, parts in counts
        for number in range(1, min(int(parts), MOST_ENTRIES) + 1)
    }


def _named_by(index: Path) -> set[str]:
    """The files that an index of weights names; one that can't exist for an index that can't be read."""
    try:
        with index.open("rb") as file:
            text = file.read(MOST_INDEX_BYTES + 1).decode(errors="replace")
    except OSError:
        return {""}
    found = read_json(text, most=MOST_INDEX_BYTES)
    names = found.get("weight_map") if isinstance(found, dict) else None
    return {str(name) for name in names.values()} if isinstance(names, dict) else {""}
