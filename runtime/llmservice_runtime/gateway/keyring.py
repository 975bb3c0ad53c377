"""The keys of a service, as the kubelet mounts them from its Secret: one file for each key.

A bad entry is left out and logged once; others stay valid. A look-up takes the same time whether the id is known or
not, so its time tells nothing about which ids there are. No key and no content of an entry is ever logged.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from llmservice_contract.keys import BadKey, StoredKey, digest, id_of, read_entry

MOST_BYTES = 4096
"""Maximum size of an entry; a valid one has 120."""
MOST_HEADER_BYTES = 512
"""Maximum size of a header with a key; a valid one has about 80. A longer value is no key and is not hashed."""
ATTEMPTS = 3
"""Number of attempts to read a directory that the kubelet replaces at the same time."""
_LASTING = (FileNotFoundError, IsADirectoryError, PermissionError)
"""Errors that do not go away on the next attempt to read an entry. Others do, such as too many open files."""
_SCHEME = "bearer"
_NOBODY = StoredKey("", "0" * 64)


class KeyRing:
    """The keys in a directory; without one there are none. `read` may run in another thread than `find`."""

    def __init__(self, directory: Path | None, say: Callable[[str], None]) -> None:
        self._directory = directory
        self._say = say
        self._told: dict[str, str] = {}
        self._keys: Mapping[str, StoredKey] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def read(self) -> bool:
        """Takes what the directory holds now. False if that could not be read: what was read before stays."""
        if self._directory is None:
            return True
        bad: dict[str, str] = {}
        unread: list[str] = []
        try:
            keys = _read(self._directory, bad, unread)
            if not unread:
                self._keys = keys
        except FileNotFoundError:
            self._keys = {}
            bad["the directory"] = "there is none"
        except OSError as error:
            unread.append("the directory")
            bad["the directory"] = error.strerror or type(error).__name__
        for name, why in bad.items():
            if self._told.get(name) != why:
                self._say(f"API keys in {self._directory}: {name} is left out: {why}.")
        self._told = bad
        return not unread

    def find(self, authorizations: Sequence[bytes], api_keys: Sequence[bytes] = ()) -> StoredKey | None:
        """Whose key these `Authorization` and `x-api-key` headers hold.

        None unless it is known, and there is one header of either name, or one of each with the same key.
        """
        plain = _plain_key(authorizations, api_keys)
        key = self._keys.get(id_of(plain) or "", _NOBODY)
        known = hmac.compare_digest(digest(plain), key.sha256)
        return key if known and key is not _NOBODY else None


def _plain_key(authorizations: Sequence[bytes], api_keys: Sequence[bytes]) -> str:
    """The key that the headers hold; empty if there is none, a second one, or something else in one of them."""
    if len(authorizations) > 1 or len(api_keys) > 1:
        return ""
    if any(len(value) > MOST_HEADER_BYTES for value in (*authorizations, *api_keys)):
        return ""
    found = {_bearer(value) for value in authorizations} | {value.decode("latin-1").strip(" ") for value in api_keys}
    return found.pop() if len(found) == 1 else ""


def _bearer(authorization: bytes) -> str:
    """The key in `Bearer KEY`; empty for everything else."""
    scheme, _, plain = authorization.decode("latin-1").partition(" ")
    return plain.strip(" ") if scheme.lower() == _SCHEME else ""


def _read(directory: Path, bad: dict[str, str], unread: list[str]) -> Mapping[str, StoredKey]:
    """The keys of one state of the directory; the names and faults of other entries go into `bad`.

    Those that another attempt may read go into `unread`, too.
    """
    for _ in range(ATTEMPTS):
        bad.clear()
        unread.clear()
        current = _state(directory)
        keys = dict(_good(current, bad, unread))
        if current == _state(directory):
            break
    return keys


def _state(directory: Path) -> Path:
    """The directory with the current entries. The kubelet replaces all of them at once by changing the link ..data."""
    data = directory / "..data"
    return data.resolve() if data.is_symlink() else directory


def _good(directory: Path, bad: dict[str, str], unread: list[str]) -> Iterator[tuple[str, StoredKey]]:
    for path in sorted(directory.iterdir()):
        if path.name.startswith("."):
            continue
        try:
            yield path.name, read_entry(path.name, _text(path))
        except BadKey as error:
            bad[_shown(path.name)] = str(error)
        except OSError as error:
            if not isinstance(error, _LASTING):
                unread.append(path.name)
            bad[_shown(path.name)] = error.strerror or "it can't be read"


def _text(path: Path) -> str:
    with path.open("rb") as file:
        data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise BadKey(f"it has more than {MOST_BYTES} bytes")
    try:
        return data.decode().strip()
    except UnicodeDecodeError:
        raise BadKey("it is no UTF-8 text") from None


def _shown(name: str) -> str:
    return repr(name[:40])
