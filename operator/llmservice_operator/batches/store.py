"""Files and batches on a volume: what they are in an SQLite database, and their contents as files beside it.

The journal is a file of its own and the lock is exclusive, so that the volume needs no shared memory: NFS serves, and a
second process is refused. What has been committed survives the end of the process, and of the node.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import msgspec

from llmservice_operator.batches.model import OPEN, Batch, Owner, StoredFile

FREE_BYTES = 64 * 2**20
"""What uploads leave free of the volume, for results."""
KEPT_BATCHES = 1000
"""Batches of an owner beyond which the oldest ended ones are forgotten."""
_TABLES = """
CREATE TABLE IF NOT EXISTS files (
  number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE NOT NULL, namespace TEXT NOT NULL, key TEXT NOT NULL,
  purpose TEXT NOT NULL, size INTEGER NOT NULL, expires_at INTEGER NOT NULL, data BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS files_of_owner ON files (namespace, key, number);
CREATE TABLE IF NOT EXISTS batches (
  number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE NOT NULL, namespace TEXT NOT NULL, key TEXT NOT NULL,
  status TEXT NOT NULL, created_at INTEGER NOT NULL, input_file TEXT NOT NULL, data BLOB NOT NULL, credential BLOB);
CREATE INDEX IF NOT EXISTS batches_of_owner ON batches (namespace, key, number);
CREATE INDEX IF NOT EXISTS batches_by_status ON batches (status);
"""
_OPEN = ", ".join(f"'{each}'" for each in OPEN)
_decode_file, _decode_batch = msgspec.json.Decoder(StoredFile).decode, msgspec.json.Decoder(Batch).decode


class Quota(NamedTuple):
    """What an owner may store."""

    files: int
    key_bytes: int
    namespace_bytes: int


class StoreInUse(Exception):
    """Another process has the directory."""


class Store:
    """What is stored in one directory."""

    def __init__(self, directory: Path) -> None:
        self._contents = directory / "files"
        self._uploads = directory / "uploads"
        self._contents.mkdir(parents=True, exist_ok=True)
        # What was not complete when the process ended has no owner.
        shutil.rmtree(self._uploads, ignore_errors=True)
        self._uploads.mkdir()
        self._database = sqlite3.connect(directory / "batches.sqlite", timeout=0.5, check_same_thread=False)
        try:
            self._database.executescript(
                "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=TRUNCATE; PRAGMA synchronous=EXTRA; "
                "PRAGMA secure_delete=ON; BEGIN EXCLUSIVE; COMMIT;" + _TABLES
            )
        except sqlite3.OperationalError as error:
            self._database.close()
            raise StoreInUse(f"{directory}: {error}") from None
        self._remove_unknown()

    def close(self) -> None:
        """Lets another process have the directory."""
        self._database.close()

    def path(self, file_id: str) -> Path:
        """The contents of a file of this store."""
        return self._contents / file_id

    def upload_path(self, file_id: str) -> Path:
        """Where the contents of a file are until they are complete."""
        return self._uploads / file_id

    @property
    def has_room(self) -> bool:
        """Whether the volume has room for more uploads."""
        return shutil.disk_usage(self._contents).free > FREE_BYTES

    def add_file(self, file: StoredFile, quota: Quota) -> str:
        """Makes a complete upload a file. Returns "" or which part of the quota it exceeds."""
        if exceeded := self.exceeds(file.owner, file.size, quota):
            return exceeded
        self.upload_path(file.id).replace(self.path(file.id))
        sync_directory(self._contents)
        with self._database:
            self._insert(file)
        return ""

    def exceeds(self, owner: Owner, size: int, quota: Quota) -> str:
        """Which part of the quota one more file exceeds: "files", "key_bytes", "namespace_bytes", or ""."""
        files, own, total = self.used(owner)
        if files >= quota.files:
            return "files"
        if own + size > quota.key_bytes:
            return "key_bytes"
        return "namespace_bytes" if total + size > quota.namespace_bytes else ""

    def file(self, owner: Owner, file_id: str) -> StoredFile | None:
        """A file of this owner."""
        found = self._database.execute(
            "SELECT data FROM files WHERE id = ? AND namespace = ? AND key = ?", (file_id, owner.namespace, owner.key)
        ).fetchone()
        return _decode_file(found[0]) if found else None

    def files(
        self, owner: Owner, purpose: str | None, after: str | None, limit: int, ascending: bool
    ) -> list[StoredFile]:
        """Files of this owner, the newest first, from the one behind ``after``."""
        rows = self._page("files", owner, after, limit, ascending, "purpose", purpose)
        return [_decode_file(each) for each in rows]

    def used(self, owner: Owner) -> tuple[int, int, int]:
        """Files and bytes of this owner, and bytes of its namespace."""
        files, own = self._database.execute(
            "SELECT count(*), coalesce(sum(size), 0) FROM files WHERE namespace = ? AND key = ?",
            (owner.namespace, owner.key),
        ).fetchone()
        (total,) = self._database.execute(
            "SELECT coalesce(sum(size), 0) FROM files WHERE namespace = ?", (owner.namespace,)
        ).fetchone()
        return files, own, total

    def is_in_use(self, file_id: str) -> bool:
        """Whether a batch that has not ended reads it."""
        query = f"SELECT 1 FROM batches WHERE input_file = ? AND status IN ({_OPEN})"  # noqa: S608 (constants)
        return self._database.execute(query, (file_id,)).fetchone() is not None

    def delete_unused(self, file_id: str) -> bool:
        """Deletes a file unless a batch reads it. Returns whether it did."""
        if self.is_in_use(file_id):
            return False
        self.delete_file(file_id)
        return True

    def delete_file(self, file_id: str) -> None:
        """Deletes a file."""
        with self._database:
            self._database.execute("DELETE FROM files WHERE id = ?", (file_id,))
        self.path(file_id).unlink(missing_ok=True)

    def delete_expired(self, now: int) -> int:
        """Deletes files whose time has passed, without those that a batch reads. Returns how many."""
        rows = self._database.execute("SELECT id FROM files WHERE expires_at <= ? LIMIT 1000", (now,)).fetchall()
        ended = [file_id for (file_id,) in rows if not self.is_in_use(file_id)]
        for file_id in ended:
            self.delete_file(file_id)
        return len(ended)

    def delete_batches(self, before: int) -> None:
        """Deletes batches that ended and were made before this time."""
        query = f"DELETE FROM batches WHERE created_at < ? AND status NOT IN ({_OPEN})"  # noqa: S608 (constants)
        with self._database:
            self._database.execute(query, (before,))

    def add_batch(self, batch: Batch, credential: bytes | None, most_open: int) -> str:
        """Stores a new batch. Returns "" or why not: "no_input", "too_many"."""
        owner = batch.owner
        file = self.file(owner, batch.input_file)
        if file is None or file.purpose != "batch":
            return "no_input"
        if self.count_open(owner) >= most_open:
            return "too_many"
        self._forget_batches(owner)
        self._insert_batch(batch, credential)
        return ""

    def _forget_batches(self, owner: Owner) -> None:
        """Deletes the oldest batches of an owner that has had many."""
        query = (
            "DELETE FROM batches WHERE number <= (SELECT number FROM batches WHERE namespace = ? AND key = ? "  # noqa: S608
            f"ORDER BY number DESC LIMIT 1 OFFSET ?) AND namespace = ? AND key = ? AND status NOT IN ({_OPEN})"
        )
        with self._database:
            self._database.execute(query, (owner.namespace, owner.key, KEPT_BATCHES, owner.namespace, owner.key))

    def move_batch(self, batch: Batch, before: str) -> bool:
        """Stores a batch's state if it was in this one. Returns whether it was."""
        with self._database:
            found = self._database.execute(
                "UPDATE batches SET status = ?, data = ? WHERE id = ? AND status = ?",
                (batch.status, _encoded(batch), batch.id, before),
            )
        return found.rowcount == 1

    def _insert_batch(self, batch: Batch, credential: bytes | None) -> None:
        owner = batch.owner
        row = (batch.id, owner.namespace, owner.key, batch.status, batch.created_at, batch.input_file, _encoded(batch))
        with self._database:
            self._database.execute(
                "INSERT INTO batches (id, namespace, key, status, created_at, input_file, data, credential) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (*row, credential),
            )

    def update_batch(self, batch: Batch, files: Iterable[StoredFile] = ()) -> None:
        """Stores a batch's state; with its end, in the same transaction, the files of its results. Its credential does
        not stay longer than it needs it."""
        with self._database:
            self._database.execute(
                "UPDATE batches SET status = ?, data = ?, credential = CASE WHEN ? THEN credential END WHERE id = ?",
                (batch.status, _encoded(batch), batch.is_open, batch.id),
            )
            for each in files:
                self._insert(each)

    def set_credential(self, batch_id: str, credential: bytes) -> None:
        """Stores the encrypted key of a batch that has not ended."""
        query = f"UPDATE batches SET credential = ? WHERE id = ? AND status IN ({_OPEN})"  # noqa: S608 (constants)
        with self._database:
            self._database.execute(query, (credential, batch_id))

    def credential(self, batch_id: str) -> bytes | None:
        """The encrypted key of a batch."""
        found = self._database.execute("SELECT credential FROM batches WHERE id = ?", (batch_id,)).fetchone()
        return found[0] if found else None

    def batch(self, owner: Owner, batch_id: str) -> Batch | None:
        """A batch of this owner."""
        found = self._database.execute(
            "SELECT data FROM batches WHERE id = ? AND namespace = ? AND key = ?",
            (batch_id, owner.namespace, owner.key),
        ).fetchone()
        return _decode_batch(found[0]) if found else None

    def batches(self, owner: Owner, after: str | None, limit: int) -> list[Batch]:
        """Batches of this owner, the newest first, from the one behind ``after``."""
        return [_decode_batch(each) for each in self._page("batches", owner, after, limit, False)]

    def count_open(self, owner: Owner) -> int:
        """Batches of this owner that have not ended."""
        query = f"SELECT count(*) FROM batches WHERE namespace = ? AND key = ? AND status IN ({_OPEN})"  # noqa: S608
        (found,) = self._database.execute(query, (owner.namespace, owner.key)).fetchone()
        return int(found)

    def open_batches(self) -> list[Batch]:
        """Batches that have not ended, the oldest first."""
        query = f"SELECT data FROM batches WHERE status IN ({_OPEN}) ORDER BY number"  # noqa: S608 (constants)
        return [_decode_batch(data) for (data,) in self._database.execute(query)]

    def _insert(self, file: StoredFile) -> None:
        owner = file.owner
        row = (file.id, owner.namespace, owner.key, file.purpose, file.size, file.expires_at, _encoded(file))
        self._database.execute(
            "INSERT INTO files (id, namespace, key, purpose, size, expires_at, data) VALUES (?, ?, ?, ?, ?, ?, ?)", row
        )

    def _page(
        self,
        table: str,
        owner: Owner,
        after: str | None,
        limit: int,
        ascending: bool,
        column: str = "",
        value: str | None = None,
    ) -> list[bytes]:
        """Rows of one owner; table and column are constants of this module."""
        query = f"SELECT data FROM {table} WHERE namespace = ? AND key = ?"  # noqa: S608 (constants)
        values: list[str | int] = [owner.namespace, owner.key]
        if value is not None:
            query += f" AND {column} = ?"
            values.append(value)
        if after is not None:
            query += f" AND number {'>' if ascending else '<'} "
            query += f"(SELECT number FROM {table} WHERE id = ? AND namespace = ? AND key = ?)"  # noqa: S608
            values += [after, owner.namespace, owner.key]
        query += f" ORDER BY number {'ASC' if ascending else 'DESC'} LIMIT ?"
        return [data for (data,) in self._database.execute(query, (*values, limit))]

    def _remove_unknown(self) -> None:
        """Deletes contents that no file and no open batch has: the process ended before these were stored, or after
        they were deleted."""
        known = {file_id for (file_id,) in self._database.execute("SELECT id FROM files")}
        for batch in self.open_batches():
            known |= {batch.output_file, batch.error_file}
        for path in self._contents.iterdir():
            if path.name not in known:
                with contextlib.suppress(OSError):
                    path.unlink()


def sync_directory(path: Path) -> None:
    """Makes new names in a directory survive the end of the node."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _encoded(value: StoredFile | Batch) -> bytes:
    return msgspec.json.encode(value)
