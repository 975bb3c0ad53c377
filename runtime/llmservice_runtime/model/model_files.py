"""Reads the small files of a model from its source; never the weights.

config.json describes the model, and the safetensors files have its size. Every error is ModelUnreadable, whose text
says what was found instead, or what the server answered.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import Any

from llmservice_contract import causes, mistral_format
from llmservice_contract.source import Directory, ObjectPrefix, Repository, Source
from llmservice_runtime.model import bucket, hub
from llmservice_runtime.model.links import MOST_ENTRIES, check_links
from llmservice_runtime.model.unreadable import NAMES_READ, ModelUnreadable, listing, read_json
from llmservice_runtime.model.weights import check_kind

CONFIG = "config.json"
SOURCE = "spec.model.source"


def read_config(source: Source, revision: str | None = None) -> dict[str, Any]:
    """Reads the model's config.json, or what its params.json says in place of that. Raises ModelUnreadable. May use the
    network, with the client's own retries."""
    match source:
        case Directory(path):
            check_directory(Path(path))
            if not (Path(path) / CONFIG).exists():
                return mistral_format.as_config(
                    read_json(Path(path) / mistral_format.PARAMS, f"{path}/{mistral_format.PARAMS}")
                )
            return read_json(Path(path) / CONFIG, f"{path}/{CONFIG}")
        case Repository():
            return hub.read_config(source, revision)
        case ObjectPrefix():
            return bucket.read_config(source)


def read_text(source: Source, revision: str | None, name: str, most: int) -> str | None:
    """The text of one of its files; None if there is none of at most so many bytes, or if it can't be read."""
    try:
        match source:
            case Directory(path):
                with (Path(path) / name).open("rb") as file:
                    content = file.read(most + 1)
            case Repository():
                with hub.download(source, revision, name).open("rb") as file:
                    content = file.read(most + 1)
            case ObjectPrefix():
                content = bucket.read(source, name, most + 1)
    except (OSError, ModelUnreadable):
        return None
    return content.decode(errors="replace") if len(content) <= most else None


def is_of_mistral(source: Source, revision: str | None) -> bool:
    """Whether vLLM takes it for one in Mistral's own format."""
    try:
        names = list(sizes(source)) if not isinstance(source, Repository) else hub.names(source, revision)
    except (OSError, ModelUnreadable):
        return False
    return any(name.startswith("consolidated") and name.endswith(".safetensors") for name in names)


def check_is_no_speculator(config: Mapping[str, Any], where: str, field: str = SOURCE) -> None:
    """Raises ModelUnreadable if the configuration names another model to serve instead of this one: vLLM would load it
    from a source that the author of the configuration chooses, at a commit that is not recorded."""
    if "speculators_config" in config:
        raise ModelUnreadable(
            causes.BAD_CONFIG,
            f"{CONFIG} of {where} has speculators_config: it is a draft model, and names the model that vLLM would "
            "load in its place.",
            field=field,
            fix=f"Set {field} to the model itself, and spec.engine.speculative to a draft model of method draft.",
        )


def check_config(source: Source, revision: str | None) -> None:
    """Raises ModelUnreadable as ``check_is_no_speculator``. Unreadable files are left to vLLM, which reports why."""
    if isinstance(source, ObjectPrefix):
        return  # vLLM does not look for it there
    try:
        config = read_config(source, revision)
    except ModelUnreadable:
        return
    check_is_no_speculator(config, source.argument)


def sizes(source: Directory | ObjectPrefix) -> Mapping[str, int]:
    """Sizes in bytes by name. Raises ModelUnreadable."""
    match source:
        case Directory(path):
            files = islice(Path(path).iterdir(), MOST_ENTRIES)
            return {file.name: file.stat().st_size for file in files if file.is_file()}
        case ObjectPrefix():
            return bucket.weight_sizes(source)


def total(sizes: Mapping[str, int]) -> int | None:
    """Total bytes of the safetensors files that vLLM reads: without those in folders, and without a second copy of all
    weights in one file, which some of Mistral's repositories have. None if there are none."""
    top = {name: size for name, size in sizes.items() if name.endswith(".safetensors") and "/" not in name}
    parts = {name: size for name, size in top.items() if not name.startswith("consolidated")}
    return sum((parts or top).values()) or None


def check_directory(path: Path, field: str = SOURCE) -> None:
    """Raises ModelUnreadable, which lists the existing files, if `path` (from `field`) has no model for vLLM."""
    if not path.is_dir():
        parent = next(parent for parent in path.parents if parent.is_dir())
        what = "is not a directory" if path.exists() else "does not exist"
        raise ModelUnreadable(
            causes.MODEL_UNREADABLE,
            f"The model's directory {path} {what}. {parent} holds {listing(parent)}.",
            field=field,
            fix=f"Put {field} right{_alike(path, parent)}, or copy the model to that place.",
        )
    if not (path / CONFIG).is_file() and not (path / mistral_format.PARAMS).is_file():
        check_kind((entry.name for entry in islice(path.iterdir(), NAMES_READ)), f"The model's directory {path}", field)
        raise ModelUnreadable(
            causes.MODEL_UNREADABLE,
            f"The model's directory {path} has no {CONFIG}, so it is no model. It holds {listing(path)}.",
            field=field,
            fix=f"Point {field} to the directory that has it.",
        )
    check_links(path, field)


def _alike(path: Path, parent: Path) -> str:
    """Names in `parent` that are similar to the first missing part of `path`."""
    missing = path.relative_to(parent).parts[0] if path != parent else path.name
    try:
        names = [entry.name for entry in islice(parent.iterdir(), NAMES_READ) if entry.is_dir()]
    except OSError:
        return ""
    found = get_close_matches(missing, names, n=1, cutoff=0.5)
    return f" (there is {parent / found[0]})" if found else ""
