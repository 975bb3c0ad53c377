"""A fetch from S3 with the client that the runtime image has, against a store on this machine."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from support.engine import ROOT, vllm_python
from support.store import serve_closed_store, serve_store, troubled
from support.trouble import Trouble

KEYS = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}
WEIGHTS = bytes(range(256)) * 20_000
OBJECTS = {"llms/tiny/config.json": b"{}", "llms/tiny/model.safetensors": WEIGHTS, "llms/tiny/model.py": b"raise"}


def fetch(address: str, directory: Path, **environ: str) -> tuple[int, Any]:
    """Exit code and termination message."""
    (directory / "cache").mkdir(exist_ok=True)
    ours = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    log = directory / "log"
    settings = {
        "AWS_ENDPOINT_URL": address,
        "HOME": str(directory),
        "PYTHONPATH": f"{ROOT / 'runtime'}:{ROOT / 'tests'}",
        "TERMINATION_LOG": str(log),
        "FETCH_CACHE": str(directory / "cache"),
        "FETCH_SERVICE": "team.chat",
        "RUNAI_STREAMER_S3_USE_VIRTUAL_ADDRESSING": "0",
    }
    command = [vllm_python(), "-m", "support.fetch_process", "s3://bucket/llms/tiny"]
    done = subprocess.run(command, env=ours | settings | KEYS | environ, capture_output=True, text=True, timeout=120)
    assert log.exists(), done.stderr
    return done.returncode, json.loads(log.read_text())


def test_objects_are_fetched_once_and_a_changed_object_is_another_revision(tmp_path: Path) -> None:
    with serve_store("bucket", OBJECTS) as store:
        code, first = fetch(store, tmp_path)
        assert (code, first["fetchedBytes"]) == (0, len(WEIGHTS) + 2)
        path = tmp_path / "cache" / "models" / first["entry"]
        assert (path / "model.safetensors").read_bytes() == WEIGHTS
        assert not (path / "model.py").exists()
        trouble = Trouble()
        with troubled(store, trouble) as front:
            fetch(front, tmp_path)  # another address: another source
        assert fetch(store, tmp_path)[1] == first | {"fetchedBytes": len(WEIGHTS) + 2}, "the other one was collected"
        assert fetch(store, tmp_path)[1] == first | {"fetchedBytes": 0}
    with serve_store("bucket", OBJECTS | {"llms/tiny/model.safetensors": WEIGHTS[::-1]}) as store:
        assert fetch(store, tmp_path)[1]["revision"] != first["revision"]


def test_a_store_that_refuses(tmp_path: Path) -> None:
    with serve_closed_store() as store:
        code, said = fetch(store, tmp_path)
    assert (code, said["error"], said["field"]) == (103, "StoreRefused", "spec.model.credentialsRef")


def test_a_store_at_a_metadata_service_is_not_asked(tmp_path: Path) -> None:
    code, said = fetch("http://169.254.169.254", tmp_path)
    assert (code, said["error"]) == (103, "StoreRefused")
    assert "169.254.169.254" in said["message"]
