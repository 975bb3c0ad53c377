"""Parts of files and batches: credentials, the store, the pace, what follows from an answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmservice_operator.batches import model, outcome
from llmservice_operator.batches.credentials import Sealer
from llmservice_operator.batches.model import Batch, Owner, StoredFile
from llmservice_operator.batches.outcome import Again
from llmservice_operator.batches.pace import LONGEST_PAUSE, Pace
from llmservice_operator.batches.results import Result
from llmservice_operator.batches.store import KEPT_BATCHES, Quota, Store, StoreInUse

OWNER = Owner("team-a", "a" * 64)
QUOTA = Quota(1000, 10**9, 10**9)


def batch(number: int = 1, status: str = model.IN_PROGRESS) -> Batch:
    return Batch(f"batch_{number}", OWNER, "/v1/embeddings", "file-in", f"o{number}", f"e{number}", 1, 2, status=status)


def add_file(store: Store, file_id: str, size: int = 1, expires_at: int = 2**40) -> str:
    store.upload_path(file_id).write_bytes(b"x" * size)
    return store.add_file(StoredFile(file_id, OWNER, "batch", "name", size, 1, expires_at), QUOTA)


def test_a_key_is_read_with_its_secret_and_for_its_batch_alone() -> None:
    sealer = Sealer(b"s" * 32 + b"\n")
    sealed = sealer.seal("llm_key", "batch_1")
    assert b"llm_key" not in sealed
    assert Sealer(b"s" * 32).unseal(sealed, "batch_1") == "llm_key"
    assert sealer.unseal(sealed, "batch_2") is None
    assert Sealer(b"t" * 32).unseal(sealed, "batch_1") is None
    assert sealer.unseal(b"", "batch_1") is None
    assert sealer.seal("llm_key", "batch_1") != sealed
    with pytest.raises(ValueError, match="31 bytes"):
        Sealer(b"s" * 31)


def test_a_directory_belongs_to_one_process(tmp_path: Path) -> None:
    first = Store(tmp_path)
    with pytest.raises(StoreInUse):
        Store(tmp_path)
    first.close()
    Store(tmp_path).close()


def test_what_no_file_and_no_batch_has_is_deleted_at_the_start(tmp_path: Path) -> None:
    store = Store(tmp_path)
    add_file(store, "file-in")
    assert store.add_batch(batch(), b"sealed", 10) == ""
    for name in ("o1", "e1", "left-over"):
        store.path(name).write_bytes(b"x")
    store.upload_path("file-half").write_bytes(b"x")
    store.close()
    again = Store(tmp_path)
    assert {each.name for each in (tmp_path / "files").iterdir()} == {"file-in", "o1", "e1"}
    assert not list((tmp_path / "uploads").iterdir())
    assert again.credential("batch_1") == b"sealed"


def test_the_end_of_a_batch_forgets_its_key(tmp_path: Path) -> None:
    store = Store(tmp_path)
    add_file(store, "file-in")
    store.add_batch(batch(), b"sealed-text-of-the-key", 10)
    output = StoredFile("o1", OWNER, "batch_output", "out", 3, 1, 2**40)
    store.update_batch(batch().moved(model.COMPLETED, 5), [output])
    assert store.credential("batch_1") is None
    store.set_credential("batch_1", b"sealed-text-of-the-key")
    assert store.credential("batch_1") is None
    assert store.file(OWNER, "o1") == output
    store.close()
    assert b"sealed-text-of-the-key" not in (tmp_path / "batches.sqlite").read_bytes()


def test_expired_files_are_deleted_unless_a_batch_reads_them(tmp_path: Path) -> None:
    store = Store(tmp_path)
    add_file(store, "file-in", expires_at=10)
    add_file(store, "file-old", expires_at=10)
    add_file(store, "file-new", expires_at=11)
    store.add_batch(batch(), None, 10)
    assert store.delete_expired(10) == 1
    assert [each.id for each in store.files(OWNER, None, None, 10, True)] == ["file-in", "file-new"]
    store.update_batch(batch(status=model.CANCELLED))
    assert store.delete_expired(10) == 1
    assert {each.name for each in (tmp_path / "files").iterdir()} == {"file-new"}


def test_the_batches_of_a_key_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmservice_operator.batches.store.KEPT_BATCHES", 3)
    assert KEPT_BATCHES > 3
    store = Store(tmp_path)
    add_file(store, "file-in")
    for number in range(6):
        assert store.add_batch(batch(number), None, 2) == ""
        store.update_batch(batch(number, model.COMPLETED))
    assert [each.id for each in store.batches(OWNER, None, 100)] == ["batch_5", "batch_4", "batch_3", "batch_2"]
    assert [store.add_batch(batch(number), None, 2) for number in (7, 8, 9)] == ["", "", "too_many"]


def test_a_state_is_moved_from_the_expected_one_alone(tmp_path: Path) -> None:
    store = Store(tmp_path)
    add_file(store, "file-in")
    store.add_batch(batch(status=model.VALIDATING), None, 10)
    assert store.move_batch(batch(status=model.CANCELLING), model.VALIDATING)
    assert not store.move_batch(batch(status=model.IN_PROGRESS), model.VALIDATING)
    assert [each.status for each in store.open_batches()] == [model.CANCELLING]


def test_the_quota_of_the_namespace_is_that_of_all_keys(tmp_path: Path) -> None:
    store = Store(tmp_path)
    add_file(store, "file-in", size=6)
    other = Owner("team-a", "b" * 64)
    assert store.exceeds(other, 5, Quota(10, 100, 10)) == "namespace_bytes"
    assert store.exceeds(other, 4, Quota(10, 100, 10)) == ""
    assert store.exceeds(Owner("team-b", OWNER.key), 10, Quota(10, 100, 10)) == ""
    assert store.exceeds(OWNER, 1, Quota(1, 100, 100)) == "files"
    assert store.exceeds(OWNER, 5, Quota(9, 10, 100)) == "key_bytes"


def test_the_pace_rises_with_answers_and_halves_once_for_one_refusal() -> None:
    pace = Pace(64)
    assert pace.limit == 1
    for _ in range(40):
        pace.answered()
    assert pace.limit == 41
    pace.refused(10.0, 2.0, sent_at=9.0)
    pace.refused(10.5, 2.0, sent_at=9.5)
    assert pace.limit == 20
    assert not pace.may_send(11.9)
    assert pace.may_send(12.0)
    pace.in_work = 20
    assert not pace.may_send(12.0)
    for _ in range(20):
        pace.answered()
    assert pace.limit in (20, 21)


def test_refusals_without_a_time_pause_longer_and_longer() -> None:
    pace, now, waits = Pace(64), 0.0, []
    for _ in range(7):
        pace.refused(now, None, sent_at=now)
        waits.append(pace.resumes_at - now)
        now = pace.resumes_at + 0.1
    assert waits == pytest.approx([1, 2, 4, 8, 16, LONGEST_PAUSE, LONGEST_PAUSE])
    pace.refused(now, 1e9, sent_at=now)
    assert pace.resumes_at - now == pytest.approx(LONGEST_PAUSE)
    assert pace.limit == 1


@pytest.mark.parametrize(
    ("status", "headers", "expected"),
    [
        (503, {"Retry-After": "3"}, Again("refused", retry_after=3.0)),
        (429, {}, Again("refused")),
        (429, {"Retry-After": "nan"}, Again("refused")),
        (429, {"Retry-After": "-1"}, Again("refused")),
        (401, {}, Again("key_refused", retry_after=outcome.KEY_SECONDS)),
        (502, {}, Again("replica_failed", most_attempts=outcome.ATTEMPTS)),
        (500, {}, Again("engine_failed", slower=False, most_attempts=outcome.INTERNAL_ATTEMPTS)),
    ],
)
def test_what_is_sent_again(status: int, headers: dict[str, str], expected: Again) -> None:
    assert outcome.of_response(0, "a", status, headers, b"{}") == expected


def test_what_is_final() -> None:
    found = outcome.of_response(0, "a", 429, {"x-should-retry": "false"}, b'{"error": 1}')
    assert isinstance(found, Result)
    assert (found.status, found.is_answer) == (429, False)
    too_large = outcome.of_response(0, "a", 200, {}, None)
    assert isinstance(too_large, Result)
    assert (too_large.status, too_large.code) == (None, "answer_too_large")
