"""Checks that no link in a model's directory leads out of it.

Otherwise an author of the volume could make the engine read other files of the pod (keys, login of the store) as a
tokenizer or a chat template, and reveal their content.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from llmservice_contract import causes
from llmservice_contract.container import MODELS_PATH
from llmservice_runtime.model.unreadable import ModelUnreadable

MOST_ENTRIES = 20_000
"""Maximum number of entries in a directory and below it."""
_DEEPEST = 32


def check_links(directory: Path, field: str) -> None:
    """Raises ModelUnreadable for a symbolic link to outside, for an entry that is neither file nor directory, and for
    too many entries.

    Links within the mounted volume are allowed, because the hub's cache has such links.
    """
    root = Path(os.path.realpath(directory))
    volume = Path(os.path.realpath(MODELS_PATH))
    allowed = volume if directory.is_relative_to(MODELS_PATH) else root
    if not root.is_relative_to(allowed):
        raise _refused(f"The model's directory {directory} is a symbolic link that leads out of {allowed}.", field)
    waiting = [(root, 0)]
    seen = 0
    while waiting:
        place, depth = waiting.pop()
        with os.scandir(place) as entries:
            for entry in entries:
                seen += 1
                if seen > MOST_ENTRIES or depth > _DEEPEST:
                    bounds = f"more than {MOST_ENTRIES} entries, or {_DEEPEST} levels"
                    raise _refused(f"The model's directory {directory} has {bounds}.", field)
                if _is_directory(entry, directory, allowed, field):
                    waiting.append((Path(entry.path), depth + 1))


def _is_directory(entry: os.DirEntry[str], directory: Path, allowed: Path, field: str) -> bool:
    """Whether the entry is a directory to check. Links inside the volume are not followed."""
    shown = Path(entry.path)
    if entry.is_symlink():
        target = Path(os.path.realpath(entry.path))
        if not target.is_relative_to(allowed):
            raise _refused(
                f"{shown} in the model's directory {directory} is a symbolic link that leads out of {allowed}.", field
            )
        return False
    mode = entry.stat(follow_symlinks=False).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise _refused(f"{shown} in the model's directory {directory} is neither a file nor a directory.", field)
    return stat.S_ISDIR(mode)


def _refused(message: str, field: str) -> ModelUnreadable:
    return ModelUnreadable(
        causes.MODEL_UNREADABLE, message, field=field, fix=f"Copy the model's files themselves to the place of {field}."
    )
