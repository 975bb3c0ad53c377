"""A fetch from a hub: what is on the disk after it, what is fetched again, and what is refused."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmservice_contract.source import Repository
from llmservice_runtime.fetch import client as client_module
from llmservice_runtime.fetch.cache import JOURNAL, MANIFEST, Cache
from llmservice_runtime.fetch.fetch import Fetched, Request, fetch
from llmservice_runtime.fetch.journal import PIECE
from llmservice_runtime.model.unreadable import ModelUnreadable
from support.range_hub import COMMIT, NAME, RangeHub, digest, serve_range_hub

LOCAL = frozenset({"127.0.0.1"})
SIZE = 2 * PIECE + 12345


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}')
    (folder / "tokenizer.json").write_text("{}")
    (folder / "modeling.py").write_text("raise SystemExit")
    (folder / "pytorch_model.bin").write_bytes(b"pickle")
    block = bytes(range(256)) * 4096
    (folder / "model.safetensors").write_bytes((block * (SIZE // len(block) + 1))[:SIZE])
    return folder


@pytest.fixture
def hub(model: Path) -> Iterator[RangeHub]:
    with serve_range_hub(RangeHub(model)) as found:
        yield found


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    (tmp_path / "cache").mkdir()
    return Cache(tmp_path / "cache")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(client_module.asyncio, "sleep", _short(asyncio.sleep))


def _short(sleep):  # type: ignore[no-untyped-def]
    return lambda seconds: sleep(min(seconds, 0.01))


def run(hub: RangeHub, cache: Cache, *, trusted: frozenset[str] = LOCAL, **more: object) -> Fetched:
    environ = more.pop("environ", {})
    more.setdefault("patience", 100.0)
    request = Request(Repository(NAME, hub.url), None, cache, "team.chat", trusted=trusted, **more)  # type: ignore[arg-type]
    return asyncio.run(fetch(request, environ))  # type: ignore[arg-type]


def refused(hub: RangeHub, cache: Cache, **more: object) -> ModelUnreadable:
    with pytest.raises(ModelUnreadable) as error:
        run(hub, cache, **more)
    return error.value


def test_files_and_manifest_are_complete_and_a_second_fetch_reads_no_weights(hub: RangeHub, cache: Cache) -> None:
    found = run(hub, cache)
    assert (found.revision, found.fetched) == (COMMIT, found.total)
    assert digest(found.path / "model.safetensors") == digest(hub.model / "model.safetensors")
    assert {each.name for each in found.path.iterdir()} == {
        "config.json",
        "tokenizer.json",
        "model.safetensors",
        MANIFEST,
    }, "neither code nor pickles"
    manifest = {each["name"]: each for each in json.loads((found.path / MANIFEST).read_text())["files"]}
    assert manifest["model.safetensors"]["sha256"] == digest(hub.model / "model.safetensors")
    assert hub.sent == SIZE

    again = run(hub, cache)
    assert (again.path, again.fetched, hub.sent) == (found.path, 0, SIZE)


def test_two_at_once_fetch_once(hub: RangeHub, cache: Cache) -> None:
    async def both() -> list[Fetched]:
        requests = [
            Request(Repository(NAME, hub.url), None, cache, f"team.{name}", trusted=LOCAL) for name in ("one", "two")
        ]
        return await asyncio.gather(*(fetch(each, {}) for each in requests))

    found = asyncio.run(both())
    assert sorted(each.fetched for each in found) == [0, found[0].total]
    assert hub.sent == SIZE


def test_lost_connections_continue_where_they_were(hub: RangeHub, cache: Cache) -> None:
    hub.closes_after = PIECE + PIECE // 2
    found = run(hub, cache)
    assert digest(found.path / "model.safetensors") == digest(hub.model / "model.safetensors")
    assert hub.sent < SIZE + 6 * PIECE


@pytest.mark.parametrize("status", ["429", "503"])
def test_an_overloaded_server_is_asked_again(hub: RangeHub, cache: Cache, status: str) -> None:
    hub.trouble.kind, hub.trouble.seconds, hub.trouble.paths = status, 0.1, "/resolve/"
    assert run(hub, cache).fetched > SIZE


@pytest.mark.parametrize("paths", ["/api/models/", ".safetensors"])
def test_a_server_that_sends_a_byte_now_and_then_fails(hub: RangeHub, cache: Cache, paths: str) -> None:
    (hub.model / "model.safetensors").write_bytes(b"x" * 100_000)
    hub.trouble.kind, hub.trouble.paths = "slow", paths
    assert refused(hub, cache, patience=0.4).cause.name == "HubUnreachable"


def test_a_server_that_stays_unavailable_fails_and_the_next_attempt_continues(hub: RangeHub, cache: Cache) -> None:
    hub.closes_after = PIECE + 1
    hub.trouble.kind, hub.trouble.headers, hub.trouble.paths = "429", {"Retry-After": "30"}, ".safetensors"
    error = refused(hub, cache, patience=10)
    assert error.cause.name == "HubUnreachable"
    assert (error.finding.numbers, error.retry_after) == ({"status": "429"}, 30)
    hub.trouble.kind, hub.closes_after = "", None
    assert run(hub, cache).path.is_dir()


@pytest.mark.parametrize(
    ("status", "words"),
    [("401", "credentials"), ("403", "credentials"), ("404", "no such model"), ("416", "answered 416")],
)
def test_refusals_have_a_reason(hub: RangeHub, cache: Cache, status: str, words: str) -> None:
    hub.trouble.kind = status
    error = refused(hub, cache)
    assert error.cause.name == "HubRefused"
    assert words in str(error)


def test_a_wrong_digest_is_fetched_once_more_and_then_refused(hub: RangeHub, cache: Cache) -> None:
    hub.digests["model.safetensors"] = "0" * 64
    error = refused(hub, cache)
    assert error.cause.name == "BrokenWeights"
    assert "model.safetensors" in str(error)
    assert hub.sent == 2 * SIZE
    assert not list((cache.root / "models").glob("*/[!.]*")), "nothing that an engine would read"


def test_a_commit_that_the_hub_exchanges_is_refused(hub: RangeHub, cache: Cache) -> None:
    hub.commit = "d" * 40
    request = Request(Repository(NAME, hub.url), COMMIT, cache, "team.chat", trusted=LOCAL)
    with pytest.raises(ModelUnreadable, match="answers with commit d"):
        asyncio.run(fetch(request, {}))


def test_pickles_alone_are_refused_before_any_file_is_fetched(hub: RangeHub, cache: Cache) -> None:
    (hub.model / "model.safetensors").unlink()
    assert refused(hub, cache).cause.name == "NoWeights"
    assert not any("/resolve/" in path for path in hub.trouble.requests)


@pytest.mark.parametrize(
    "target",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://[::ffff:169.254.169.254]/",
        "http://[fe80::1]/",
        "http://0.0.0.0/",
        "http://2852039166/",
        "http://localhost:1/",
        "http://100.100.100.200/",
        "file:///etc/passwd",
    ],
)
def test_redirects_to_addresses_of_the_platform_are_refused(hub: RangeHub, cache: Cache, target: str) -> None:
    hub.redirect = target
    error = refused(hub, cache)
    assert error.cause.name == "HubRefused"
    assert hub.sent == 0


def test_a_redirect_to_a_private_network_needs_a_private_source(hub: RangeHub, cache: Cache) -> None:
    hub.redirect = "http://10.0.0.1/{path}"
    assert "10.0.0.1" in str(refused(hub, cache))


def test_this_machine_is_no_source(hub: RangeHub, cache: Cache) -> None:
    error = refused(hub, cache, trusted=frozenset())
    assert error.cause.name == "HubRefused"
    assert hub.trouble.requests == []


def test_the_token_stays_with_the_hub(hub: RangeHub, cache: Cache, model: Path) -> None:
    environ = {"HF_TOKEN": "secret", "HF_TOKEN_ENDPOINT": hub.url}
    with serve_range_hub(RangeHub(model)) as storage:
        hub.redirect = f"{storage.url}{{path}}"
        run(hub, cache, environ=environ)
        assert storage.sent == SIZE
        assert set(storage.authorizations) == {""}
    assert set(hub.authorizations) == {"Bearer secret"}


def test_a_server_without_ranges_is_refused(hub: RangeHub, cache: Cache) -> None:
    (hub.model / "model.safetensors").write_bytes(b"0" * (17 * PIECE))
    hub.ignores_ranges = True
    assert "range" in refused(hub, cache).finding.fix


def test_a_full_disk_is_known_beforehand(hub: RangeHub, cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        f_bavail, f_frsize = 100, 4096

    monkeypatch.setattr("llmservice_runtime.fetch.cache.os.statvfs", lambda _: Full)
    error = refused(hub, cache)
    assert error.cause.name == "DiskFull"
    assert error.finding.numbers is not None
    assert error.finding.numbers["freeBytes"] == "409600"
    assert hub.sent == 0


def test_old_revisions_are_collected_and_not_what_runs(hub: RangeHub, cache: Cache) -> None:
    first = run(hub, cache)
    hub.commit = "d" * 40
    second = run(hub, cache, also_used=frozenset({first.entry}))
    assert first.path.is_dir() and second.path.is_dir(), "the pods still run the first"
    hub.commit = "e" * 40
    third = run(hub, cache, also_used=frozenset({second.entry}))
    assert not first.path.exists() and second.path.is_dir() and third.path.is_dir()


def test_a_service_keeps_what_another_does_not_use(hub: RangeHub, cache: Cache) -> None:
    first = run(hub, cache)
    cache.use("other.chat", {first.entry})
    hub.commit = "d" * 40
    run(hub, cache)
    assert first.path.is_dir()


def test_a_damaged_cache_is_fetched_anew(hub: RangeHub, cache: Cache) -> None:
    found = run(hub, cache)
    (found.path / "model.safetensors").write_bytes(b"")
    assert run(hub, cache).fetched > 0
    assert digest(found.path / "model.safetensors") == digest(hub.model / "model.safetensors")
    assert not (found.path / JOURNAL).exists()


def test_a_file_that_the_disk_lost_is_fetched_again(hub: RangeHub, cache: Cache) -> None:
    hub.digests["model.safetensors"] = ""  # a source without digests
    hub.trouble.kind, hub.trouble.paths = "404", "config.json"
    refused(hub, cache)
    partial = next((cache.root / "models").glob("*/.partial-*"))
    lines = (partial / JOURNAL).read_text().splitlines()
    files = ["config.json", "model.safetensors", "tokenizer.json"]
    done = [f"{files.index('model.safetensors')} {piece}" for piece in range(3)]
    (partial / JOURNAL).write_text("\n".join([lines[0], *done, ""]))
    (partial / "model.safetensors").unlink()
    hub.trouble.kind = ""
    found = run(hub, cache)
    assert found.fetched == found.total
    assert digest(found.path / "model.safetensors") == digest(hub.model / "model.safetensors")
