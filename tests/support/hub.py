"""A hub on this machine with one public and one gated repository; all others are unknown to it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support.http_server import serving
from support.trouble import Trouble, TroubledHandler

COMMIT = "0" * 39 + "1"
PUBLIC = "org/tiny"
GATED = "org/gated"


@contextmanager
def serve_hub(model: Path, trouble: Trouble | None = None) -> Iterator[str]:
    """The hub's address; `model` is what PUBLIC holds, at every revision."""
    trouble = trouble or Trouble()

    class Hub(TroubledHandler):
        def do_HEAD(self) -> None:  # noqa: N802 - the library's name
            self.do_GET()

        def do_GET(self) -> None:  # noqa: N802 - the library's name
            if trouble.has(self.path):
                self.make_trouble(trouble)
                return
            path = self.path.partition("?")[0].removeprefix("/api/models").strip("/")
            if path.startswith(GATED):
                self.answer(403, {"X-Error-Code": "GatedRepo"})
            elif not path.startswith(PUBLIC):
                self.answer(404, {"X-Error-Code": "RepoNotFound"})
            elif "/resolve/" in path:
                self.send_file(model / path.rpartition("/")[2])
            else:
                said = files(model) if "/tree/" in path else description(model)
                self.answer(200, {"Content-Type": "application/json"}, json.dumps(said).encode())

        def send_file(self, file: Path) -> None:
            if not file.is_file():
                self.answer(404, {"X-Error-Code": "EntryNotFound"})
                return
            content = file.read_bytes()
            etag = f'"{hashlib.sha256(content).hexdigest()}"'
            self.answer(200, {"ETag": etag, "X-Repo-Commit": COMMIT}, content)

    with serving(Hub) as url:
        try:
            yield url
        finally:
            trouble.stopped.set()


def description(model: Path) -> dict[str, Any]:
    """What a hub's API says about a repository."""
    files = [
        {"rfilename": file.name, "size": file.stat().st_size} | (_lfs(file) if file.suffix == ".safetensors" else {})
        for file in sorted(model.iterdir())
    ]
    return {"id": PUBLIC, "modelId": PUBLIC, "sha": COMMIT, "private": False, "siblings": files, "tags": []}


def _lfs(file: Path) -> dict[str, Any]:
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    return {"lfs": {"sha256": sha256, "size": file.stat().st_size, "pointerSize": 134}}


def files(model: Path) -> list[dict[str, Any]]:
    """The files of a repository, as a hub's API lists them."""
    found = sorted(model.iterdir())
    return [{"type": "file", "path": each.name, "size": each.stat().st_size, "oid": "0" * 40} for each in found]
