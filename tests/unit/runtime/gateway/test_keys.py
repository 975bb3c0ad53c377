"""Keys: what is made is found again, a wrong one is reported without its content, a look-up lets nothing else in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmservice_contract.keys import BadKey, Role, StoredKey, digest, id_of, make_key, read_entry
from llmservice_runtime.gateway.keyring import KeyRing

PLAIN, KEY = make_key(bytes(range(40)), "premium", Role.ADMIN)


class Reports(list[str]):
    def __call__(self, text: str) -> None:
        self.append(text)


def ring(directory: Path, reported: Reports | None = None) -> KeyRing:
    keys = KeyRing(directory, reported if reported is not None else Reports())
    keys.read()
    return keys


def found(keys: KeyRing, *authorizations: str) -> StoredKey | None:
    return keys.find([each.encode() for each in authorizations])


@given(st.binary(min_size=40, max_size=40), st.sampled_from(Role))
def test_a_key_that_is_made_is_read_again(random: bytes, role: Role) -> None:
    plain, key = make_key(random, "gold-1", role)
    assert id_of(plain) == key.id
    assert key.sha256 == digest(plain)
    assert read_entry(key.id, key.entry()) == key


def test_an_entry_does_not_hold_the_key() -> None:
    assert PLAIN.rpartition("_")[2] not in KEY.entry()


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("UPPER", KEY.entry(), "its name is not an id"),
        ("good1", "not json", "it is not JSON"),
        ("good1", "[" * 5000, "it is not JSON"),
        ("good1", "[]", "it is not a JSON object"),
        ("good1", json.dumps({"sha256": "0" * 64, "scope": 1}), "unknown fields: scope"),
        ("good1", json.dumps({"sha256": "0" * 63}), "sha256 is not"),
        ("good1", json.dumps({"sha256": "0" * 64, "tier": "A"}), "tier is not"),
        ("good1", json.dumps({"sha256": "0" * 64, "role": "root"}), "role is neither client nor admin"),
        ("good1", json.dumps({"sha256": "0" * 64, "role": []}), "role is neither client nor admin"),
    ],
)
def test_a_bad_entry_says_what_is_wrong(name: str, text: str, why: str) -> None:
    with pytest.raises(BadKey, match=why):
        read_entry(name, text)


def test_a_key_is_found_by_its_bearer(tmp_path: Path) -> None:
    (tmp_path / KEY.id).write_text(KEY.entry() + "\n")
    keys = ring(tmp_path)
    assert found(keys, f"Bearer {PLAIN}") == KEY
    assert found(keys, f"bearer  {PLAIN} ") == KEY


@pytest.mark.parametrize(
    "authorizations",
    [
        (),
        ("",),
        ("Bearer",),
        ("Bearer ",),
        (PLAIN,),
        (f"Basic {PLAIN}",),
        (f"Bearer {PLAIN}", f"Bearer {PLAIN}"),
        (f"Bearer {PLAIN}, Bearer {PLAIN}",),
        (f"Bearer {PLAIN[:-1]}",),
        (f"Bearer {PLAIN}x",),
        (f"Bearer {PLAIN}\n",),
        (f"Bearer {PLAIN.upper()}",),
        (f"Bearer llm_{KEY.id}_{'A' * 43}",),
        ("Bearer llm_unknown_" + "A" * 43,),
        (f"Bearer {KEY.sha256}",),
        (f"Bearer {KEY.id}",),
    ],
)
def test_nothing_else_is_a_key(tmp_path: Path, authorizations: tuple[str, ...]) -> None:
    (tmp_path / KEY.id).write_text(KEY.entry())
    assert found(ring(tmp_path), *authorizations) is None


BEARER = f"Bearer {PLAIN}".encode()


@pytest.mark.parametrize(
    ("authorizations", "api_keys"),
    [((), (PLAIN.encode(),)), ((), (f" {PLAIN} ".encode(),)), ((BEARER,), (PLAIN.encode(),))],
)
def test_a_key_is_found_by_its_header_of_anthropics_api(
    tmp_path: Path, authorizations: tuple[bytes, ...], api_keys: tuple[bytes, ...]
) -> None:
    (tmp_path / KEY.id).write_text(KEY.entry())
    assert ring(tmp_path).find(authorizations, api_keys) == KEY


@pytest.mark.parametrize(
    ("authorizations", "api_keys"),
    [
        ((), (PLAIN.encode(), PLAIN.encode())),
        ((BEARER, BEARER), (PLAIN.encode(),)),
        ((BEARER,), (b"other",)),
        ((BEARER,), (b"",)),
        ((b"",), (PLAIN.encode(),)),
        ((b"Bearer other",), (PLAIN.encode(),)),
        ((b"Basic eDp5",), (PLAIN.encode(),)),
        ((), (BEARER,)),
        ((), (PLAIN.encode() + b" " * 512,)),
        ((), (f"{PLAIN}\n".encode(),)),
    ],
)
def test_two_headers_that_differ_hold_no_key(
    tmp_path: Path, authorizations: tuple[bytes, ...], api_keys: tuple[bytes, ...]
) -> None:
    (tmp_path / KEY.id).write_text(KEY.entry())
    assert ring(tmp_path).find(authorizations, api_keys) is None


def test_an_unknown_id_is_nobody_even_for_the_digest_of_nobody(tmp_path: Path) -> None:
    assert len(ring(tmp_path)) == 0
    assert found(ring(tmp_path), "Bearer " + "0" * 64) is None


def test_a_bad_entry_takes_no_other_with_it_and_is_told_once(tmp_path: Path) -> None:
    (tmp_path / KEY.id).write_text(KEY.entry())
    (tmp_path / "broken").write_text("secret content")
    (tmp_path / "huge").write_bytes(b" " * 5000)
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "folder").mkdir()
    (tmp_path / ".hidden").write_text("ignored")
    reported = Reports()
    keys = ring(tmp_path, reported)
    keys.read()
    assert found(keys, f"Bearer {PLAIN}") == KEY
    assert len(reported) == 4
    assert not any("secret content" in text or "hidden" in text for text in reported)
    (tmp_path / "broken").write_text("[]")
    keys.read()
    assert "'broken' is left out: it is not a JSON object" in reported[-1]


def test_the_kubelet_turns_all_entries_at_once(tmp_path: Path) -> None:
    def publish(version: str, *keys: StoredKey) -> None:
        (tmp_path / version).mkdir()
        for key in keys:
            (tmp_path / version / key.id).write_text(key.entry())
            if not (tmp_path / key.id).is_symlink():
                (tmp_path / key.id).symlink_to(Path("..data") / key.id)
        (tmp_path / "..new").symlink_to(version)
        (tmp_path / "..new").replace(tmp_path / "..data")

    other_plain, other = make_key(b"o" * 40)
    publish("..1", KEY)
    keys = ring(tmp_path)
    assert found(keys, f"Bearer {PLAIN}") == KEY
    publish("..2", other)
    keys.read()
    assert found(keys, f"Bearer {PLAIN}") is None
    assert found(keys, f"Bearer {other_plain}") == other


def test_keys_that_could_not_be_read_for_now_change_nothing_and_are_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if the process has too many open files: the kubelet has taken KEY out, and the key ring must see it."""
    other_plain, other = make_key(b"o" * 40)
    (tmp_path / KEY.id).write_text(KEY.entry())
    (tmp_path / other.id).write_text(other.entry())
    keys = KeyRing(tmp_path, Reports())
    assert keys.read()
    (tmp_path / KEY.id).unlink()
    with monkeypatch.context() as broken:
        broken.setattr(Path, "open", lambda *_: (_ for _ in ()).throw(OSError(24, "Too many open files")))
        assert not keys.read()
    assert found(keys, f"Bearer {other_plain}") == other
    assert keys.read()
    assert found(keys, f"Bearer {PLAIN}") is None


def test_an_entry_that_can_never_be_read_leaves_the_others_certain(tmp_path: Path) -> None:
    (tmp_path / KEY.id).write_text(KEY.entry())
    (tmp_path / "folder").mkdir()
    keys = KeyRing(tmp_path, Reports())
    assert keys.read() and found(keys, f"Bearer {PLAIN}") == KEY


def test_an_immense_header_is_not_hashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[int] = []
    monkeypatch.setattr(
        "llmservice_runtime.gateway.keyring.digest", lambda plain: hashed.append(len(plain)) or "0" * 64
    )
    assert found(ring(tmp_path), "Bearer " + "A" * 1_000_000) is None
    assert hashed == [0]


def test_without_a_directory_there_are_no_keys(tmp_path: Path) -> None:
    reported = Reports()
    keys = ring(tmp_path / "absent", reported)
    assert found(keys, f"Bearer {PLAIN}") is None
    assert "there is none" in reported[0]
    assert len(ring(tmp_path)) == 0
