"""The directory with fetched models, on a volume that services share.

``models/SOURCE/REVISION`` is a complete model with its manifest. ``models/SOURCE/.partial-REVISION`` is one that is
being fetched; it is renamed as a whole when all its digests are right. ``services/NAME`` lists what a service uses: a
model that no service lists is collected.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from llmservice_contract.fetching import ENTRY, MODELS
from llmservice_runtime.fetch.download import disk_full, sync_directory
from llmservice_runtime.fetch.remote_file import RemoteFile

MANIFEST = ".llmservice.json"
JOURNAL = ".journal"
COLLECT = "collect"
MOST_MANIFEST = 8 << 20
MOST_USED = 1 << 20


def source_key(source: str) -> str:
    """The directory of a source, 16 hexadecimal digits."""
    return hashlib.sha256(source.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Cache:
    """The cache in the directory `root`."""

    root: Path

    def path(self, entry: str) -> Path:
        """The directory of a complete model; `entry` is SOURCE/REVISION."""
        return self.root / MODELS / entry

    def partial(self, entry: str) -> Path:
        source, _, revision = entry.partition("/")
        return self.root / MODELS / source / f".partial-{revision}"

    def is_complete(self, entry: str) -> bool:
        """Whether all files of the manifest are there with their sizes."""
        path = self.path(entry)
        try:
            with (path / MANIFEST).open("rb") as file:
                files = json.loads(file.read(MOST_MANIFEST))["files"]
            return bool(files) and all((path / each["name"]).stat().st_size == each["size"] for each in files)
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def check_room(self, needed: int) -> None:
        """Raises ModelUnreadable if the volume has not enough bytes free."""
        disk = os.statvfs(self.root)
        free = disk.f_bavail * disk.f_frsize
        if needed > free:
            raise disk_full(
                f"{needed} bytes of the model are to be fetched, and the volume of the cache has {free} bytes free.",
                {"neededBytes": str(needed), "freeBytes": str(free)},
            )

    def finish(self, entry: str, files: Sequence[RemoteFile], digests: Mapping[str, str]) -> None:
        """Writes the manifest and makes the partial model the complete one."""
        partial, path = self.partial(entry), self.path(entry)
        found = [{"name": each.name, "size": each.size, "sha256": digests[each.name]} for each in files]
        _write(partial / MANIFEST, json.dumps({"version": 1, "files": found}))
        (partial / JOURNAL).unlink(missing_ok=True)
        if path.exists():  # not complete
            shutil.rmtree(path)
        partial.rename(path)
        sync_directory(path.parent)

    def use(self, service: str, entries: Iterable[str]) -> None:
        """Records what a service uses."""
        (self.root / "services").mkdir(exist_ok=True)
        _write(self.root / "services" / service, "".join(f"{entry}\n" for entry in sorted(set(entries))))

    def collect(self) -> list[str]:
        """Deletes models that no service uses; returns them. The caller holds the lock COLLECT.

        A fetch records its use first, so what is being fetched stays."""
        used = {
            entry
            for path in (self.root / "services").iterdir()
            if not path.name.startswith(".")
            for entry in _start(path).split()
        }
        gone = []
        for path in sorted((self.root / MODELS).glob("*/*")):
            entry = f"{path.parent.name}/{path.name.removeprefix('.partial-')}"
            if re.fullmatch(ENTRY, entry) and entry not in used and path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
                gone.append(f"{path.parent.name}/{path.name}")
        return gone

    @asynccontextmanager
    async def lock(self, name: str) -> AsyncIterator[None]:
        """Waits until no other process has the lock of this name. A process that ends, however, releases it."""
        (self.root / MODELS).mkdir(exist_ok=True)
        fd = os.open(self.root / f".lock-{name}", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        try:
            while True:
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    await asyncio.sleep(0.5)
            yield
        finally:
            os.close(fd)


def _write(path: Path, content: str) -> None:
    """Replaces the file as a whole."""
    new = path.with_name(f".new-{path.name}")
    with new.open("w") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    sync_directory(path.parent)


def _start(path: Path) -> str:
    with path.open(errors="replace") as file:
        return file.read(MOST_USED)
