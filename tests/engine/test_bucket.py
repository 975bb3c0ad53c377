"""An inspection of a model on S3, by the client that the streamer of vLLM uses, against a store on this machine."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.engine import ROOT, vllm_python
from support.metadata_service import serve_metadata_service
from support.short_waits import with_short_waits
from support.store import serve_closed_store, serve_store, troubled
from support.trouble import Trouble

CONFIG = json.dumps({"architectures": ["LlamaForCausalLM"], "num_attention_heads": 4, "num_hidden_layers": 2}).encode()
KEYS = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}
NOWHERE = "http://127.0.0.1:9"
PROGRAM = ("-m", "llmservice_runtime", "inspect")
SHORT = with_short_waits("inspect", try_seconds=3.0)
SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    parts = {f"llms/tiny/model-{part}.safetensors": b"x" * 1000 for part in (1, 2)}
    below = {"llms/tiny/original/model.safetensors": b"x" * 5, "llms/tiny-2/model.safetensors": b"x" * 7}
    odd = {"llms/odd/config.json": b"[1]"}
    with serve_store("bucket", {"llms/tiny/config.json": CONFIG, **parts, **below, **odd}) as address:
        yield address


def inspect(address: str, directory: Path, source: str, *, program: tuple[str, ...] = PROGRAM, **environ: str) -> Any:
    """What `inspect` prints of a model of the store."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    settings = {
        "MODEL_NAME": source,
        "AWS_ENDPOINT_URL": address,
        "HOME": str(directory),
        "PYTHONPATH": str(ROOT / "runtime"),
        "TERMINATION_LOG": str(directory / "termination-log"),
    }
    done = subprocess.run(
        [vllm_python(), *program], env=ours | settings | environ, capture_output=True, text=True, timeout=120
    )
    return json.loads(done.stdout)


def read_with_boto3_alone(address: str, directory: Path, environ: dict[str, str]) -> str:
    """The key id that boto3 finds by itself."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    script = "import boto3; print(boto3.Session().get_credentials().access_key)"
    settings = {"AWS_ENDPOINT_URL": address, "HOME": str(directory)}
    command = [vllm_python(), "-c", script]
    done = subprocess.run(command, env=ours | settings | environ, capture_output=True, text=True, timeout=120)
    return done.stdout.strip()


def test_config_and_size_come_from_the_store(store: str, tmp_path: Path) -> None:
    facts = inspect(store, tmp_path, "s3://bucket/llms/tiny", **KEYS)
    assert (facts["attentionHeads"], facts["layers"], facts["weightBytes"]) == (4, 2, 2000)
    assert facts["configuration"]


@pytest.mark.parametrize(
    ("source", "environ", "words", "field"),
    [
        ("s3://bucket/llms/tin", KEYS, "has no config.json, so it is no model", "spec.model.source"),
        ("s3://other/llms/tiny", KEYS, "There is no bucket other", "spec.model.source"),
        ("s3://bucket/llms/odd", KEYS, "is not a JSON object", "spec.model.source"),
        (
            "s3://bucket/llms/tiny",
            {},
            "can't be read without keys, and the pod has neither",
            "spec.model.credentialsRef",
        ),
    ],
)
def test_why_a_model_can_not_be_read_is_said_with_the_field(
    store: str, tmp_path: Path, source: str, environ: dict[str, str], words: str, field: str
) -> None:
    failure = inspect(store, tmp_path, source, **environ)
    assert words in failure["message"]
    assert failure["field"] == field


def test_the_role_of_the_node_is_never_asked_for(store: str, tmp_path: Path) -> None:
    with serve_metadata_service() as metadata:
        environ = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": metadata.address, "AWS_EC2_METADATA_DISABLED": "false"}
        assert read_with_boto3_alone(store, tmp_path, environ) == "NODE-ROLE"
        assert metadata.requests
        metadata.requests.clear()
        failure = inspect(store, tmp_path, "s3://bucket/llms/tiny", **environ)
        assert metadata.requests == []
    assert "can't be read without keys, and the pod has neither keys nor a role" in failure["message"]
    assert "spec.serviceAccountName" in failure["fix"]


def test_keys_that_may_not_read_it_are_told_as_that(tmp_path: Path) -> None:
    with serve_closed_store() as address:
        failure = inspect(address, tmp_path, "s3://bucket/llms/tiny", **KEYS)
    assert "does not let these keys read s3://bucket/llms/tiny: AccessDenied" in failure["message"]
    assert (failure["error"], failure["field"]) == ("StoreRefused", "spec.model.credentialsRef")
    assert "it does not exist" in failure["alternative"]


@pytest.mark.parametrize(
    "trouble",
    [
        Trouble("503", body=SLOW_DOWN, seconds=4),
        Trouble("429", {"Retry-After": "2"}, seconds=4),
        Trouble("reset", seconds=4),
    ],
    ids=lambda each: each.kind,
)
def test_an_inspection_waits_for_a_store_that_is_unavailable_for_some_seconds(
    store: str, tmp_path: Path, trouble: Trouble
) -> None:
    with troubled(store, trouble) as address:
        facts = inspect(address, tmp_path, "s3://bucket/llms/tiny", **KEYS)
    assert facts.get("attentionHeads") == 4, facts
    assert trouble.requests


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        (Trouble("503", body=SLOW_DOWN), "SlowDown"),
        (Trouble("429", {"Retry-After": str(10 * 365 * 86_400)}), "429"),
        (Trouble("500"), "500"),
        (Trouble("slow"), "within 3 s"),
        (Trouble("reset"), "could not be read"),
    ],
    ids=lambda each: each.kind if isinstance(each, Trouble) else "",
)
def test_a_store_that_stays_unavailable_ends_an_inspection_in_time(
    store: str, tmp_path: Path, trouble: Trouble, words: str
) -> None:
    with troubled(store, trouble) as address:
        failure = inspect(address, tmp_path, "s3://bucket/llms/tiny", program=SHORT, **KEYS)
    assert (failure["error"], failure["field"]) == ("StoreUnreachable", "spec.model.credentialsRef")
    assert words in failure["message"]
    assert int(failure.get("numbers", {}).get("retryAfterSeconds", "0")) <= 3600


def test_a_store_that_is_not_there_is_unreachable(store: str, tmp_path: Path) -> None:
    failure = inspect(NOWHERE, tmp_path, "s3://bucket/llms/tiny", program=SHORT, **KEYS)
    assert failure["error"] == "StoreUnreachable"
    assert f'Could not connect to the endpoint URL: "{NOWHERE}' in failure["message"]
