"""Fetches the two files of an adapter into a directory of this replica, and checks them.

Only adapter_config.json and adapter_model.safetensors are read, whatever else its source has. The copy is what is
checked and what vLLM loads, so that its source can not change it in between.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from llmservice_contract.adapters import MOST_BYTES, Adapter
from llmservice_contract.source import BadSource, Directory, ObjectPrefix, Repository, Source, parse_source
from llmservice_runtime.adapters.check import CONFIG, MOST_CONFIG_BYTES, WEIGHTS, Base, check, read_header
from llmservice_runtime.adapters.refused import INVALID, NOT_FOUND, TOO_LARGE, UNREACHABLE, UNSAFE, AdapterRefused
from llmservice_runtime.adapters.request import FETCH_SECONDS
from llmservice_runtime.model import bucket, hub
from llmservice_runtime.model.hub_token import check_token
from llmservice_runtime.model.links import check_links
from llmservice_runtime.model.unreadable import ModelUnreadable, one_line

PICKLES = ("adapter_model.bin", "adapter_model.pt")
MOST_SHAPES = 100_000
KEPT_FREE_BYTES = 1024**3
"""Bytes of the disk that no adapter takes."""


def fetch(adapter: Adapter, into: Path, base: Base, most: int = MOST_BYTES) -> str:
    """Makes the directory `into`. The SHA-256 of the weights. Raises AdapterRefused."""
    part = into.with_name(f"{into.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        try:
            source = parse_source(adapter.source)
            check_token(source, os.environ)
            # vLLM's own files are on this disk too: an adapter that fills it would stop them, or evict the pod.
            free = shutil.disk_usage(part).free - KEPT_FREE_BYTES
            _copy(source, adapter.revision, part, max(0, min(most, free)))
        except BadSource as error:
            raise AdapterRefused(INVALID, f"{adapter.source}: {error}.") from None
        except ModelUnreadable as error:
            raise AdapterRefused(UNREACHABLE if error.is_transient else NOT_FOUND, str(error)) from None
        except OSError as error:
            raise AdapterRefused(UNREACHABLE, f"{adapter.source} could not be read: {one_line(error)}.") from None
        config = check(part, base)
        (part / CONFIG).write_text(json.dumps(config))
        digest = _digest(part)
        shutil.rmtree(into, ignore_errors=True)
        part.rename(into)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return digest


def model_directory(model: str, revision: str | None) -> Path | None:
    """Where the files of the model are, from vLLM's name of it; None if they are on no disk. Uses no network."""
    if model.startswith("/"):
        return Path(model)
    return hub.snapshot(Repository(model), revision) if model and "://" not in model else None


def base_shapes(directory: Path) -> dict[str, tuple[int, int]]:
    """Outputs and inputs of the linear layers of a 16-bit or 32-bit checkpoint, by name; empty if it has none."""
    shapes: dict[str, tuple[int, int]] = {}
    for path in sorted(directory.glob("*.safetensors"))[:1000]:
        try:
            header, _ = read_header(path)
        except (AdapterRefused, OSError):
            continue
        shapes |= dict(_linear(header))
        if len(shapes) > MOST_SHAPES:
            return {}
    return shapes


def _linear(header: dict[str, Any]) -> Iterator[tuple[str, tuple[int, int]]]:
    for name, entry in header.items():
        if not isinstance(entry, dict) or entry.get("dtype") not in ("F32", "F16", "BF16"):
            continue
        shape = entry.get("shape")
        if name.endswith(".weight") and isinstance(shape, list) and len(shape) == 2:
            yield name.removesuffix(".weight"), (shape[0], shape[1])


def _copy(source: Source, revision: str | None, into: Path, most: int) -> None:
    limits = {CONFIG: MOST_CONFIG_BYTES, WEIGHTS: most}
    match source:
        case Repository():
            sizes = hub.listing(source, revision).sizes
            _check_names(sizes)
            for name, limit in limits.items():
                _check_size(name, sizes[name], limit)
            for name, limit in limits.items():
                # Not into the cache of the hub's client, where removed adapters would stay until the disk is full.
                hub.download_into(source, revision, name, into, FETCH_SECONDS)
                _check_size(name, (into / name).stat().st_size, limit)
            shutil.rmtree(into / ".cache", ignore_errors=True)
        case Directory(path):
            place = Path(path)
            if not place.is_dir():
                raise AdapterRefused(NOT_FOUND, f"there is no directory {path}.")
            check_links(place, "spec.adapters")
            _check_names([name for name in (CONFIG, WEIGHTS, *PICKLES) if (place / name).exists()])
            for name, limit in limits.items():
                _copy_file((place / name).resolve(), into / name, limit)
        case ObjectPrefix():
            for name, limit in limits.items():
                try:
                    size = bucket.copy(source, name, into / name, limit, FETCH_SECONDS)
                except ModelUnreadable as error:
                    if not error.is_missing_file:
                        raise
                    raise AdapterRefused(NOT_FOUND, f"the source has no {name}.") from None
                _check_size(name, size, limit)


def _check_names(names: Any) -> None:
    if WEIGHTS not in names and any(name in names for name in PICKLES):
        raise AdapterRefused(
            UNSAFE, f"its weights are pickled (adapter_model.bin), which can run code: save them as {WEIGHTS}."
        )
    missing = [name for name in (CONFIG, WEIGHTS) if name not in names]
    if missing:
        raise AdapterRefused(NOT_FOUND, f"the source has no {' and no '.join(missing)}.")


def _copy_file(path: Path, to: Path, most: int) -> None:
    """A link at its end is not followed: a link that came after the checks could name a file of the container."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(handle, "rb") as source, to.open("wb") as target:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise AdapterRefused(UNSAFE, f"{path.name} is no file.")
        _check_size(to.name, found.st_size, most)
        left = most
        while left > 0 and (chunk := source.read(min(left, 1024 * 1024))):
            target.write(chunk)
            left -= len(chunk)


def _check_size(name: str, size: int, most: int) -> None:
    if size > most:
        raise AdapterRefused(TOO_LARGE, f"{name} has {size} bytes; at most {most} are left for it.")


def _digest(directory: Path) -> str:
    """Of both files."""
    total = hashlib.sha256((directory / CONFIG).read_bytes())
    with (directory / WEIGHTS).open("rb") as file:
        total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()
