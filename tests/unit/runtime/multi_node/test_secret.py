"""What shows that an end knows the group's secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmservice_runtime.multi_node.secret import SecretUnusable, is_proof, new_nonce, proof, read_secret

SECRET, NONCES = b"0123456789abcdef", ("a" * 32, "b" * 32)


def test_a_proof_is_of_one_secret_one_end_one_rank_one_digest_and_both_nonces() -> None:
    made = proof(SECRET, "leader", 1, "0a", NONCES)
    assert is_proof(made, proof(SECRET, "leader", 1, "0a", NONCES))
    others = (
        proof(b"another secret that is long", "leader", 1, "0a", NONCES),
        proof(SECRET, "worker", 1, "0a", NONCES),
        proof(SECRET, "leader", 2, "0a", NONCES),
        proof(SECRET, "leader", 1, "0b", NONCES),
        proof(SECRET, "leader", 1, "0a", (NONCES[1], NONCES[0])),
        proof(SECRET, "leader", 1, "0a", (NONCES[0], new_nonce())),
        "",
        "\U0001f600",
    )
    assert not any(is_proof(each, made) for each in others)


def test_a_secret_is_read_without_white_space_and_only_where_it_is_long_enough(tmp_path: Path) -> None:
    file = tmp_path / "group-secret"
    assert read_secret("") is None
    file.write_bytes(SECRET + b"\n")
    assert read_secret(str(file)) == SECRET
    for wrong in (b"", b" " * 100, b"x" * 15, b"x" * 4097):
        file.write_bytes(wrong)
        with pytest.raises(SecretUnusable) as caught:
            read_secret(str(file))
        assert "xxx" not in str(caught.value), "no part of it is in the message"
    with pytest.raises(SecretUnusable, match="can't be read"):
        read_secret(str(tmp_path))


def test_no_nonce_comes_twice() -> None:
    assert len({new_nonce() for _ in range(1000)}) == 1000
