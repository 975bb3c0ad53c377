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
from support.store import serve_closed_store, serve_store

CONFIG = json.dumps({"architectures": ["LlamaForCausalLM"], "num_attention_heads": 4, "num_hidden_layers": 2}).encode()
KEYS = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    parts = {f"llms/tiny/model-{part}.safetensors": b"x" * 1000 for part in (1, 2)}
    below = {"llms/tiny/original/model.safetensors": b"x" * 5, "llms/tiny-2/model.safetensors": b"x" * 7}
    odd = {"llms/odd/config.json": b"[1]"}
    with serve_store("bucket", {"llms/tiny/config.json": CONFIG, **parts, **below, **odd}) as address:
        yield address


def inspect(address: str, directory: Path, source: str, **environ: str) -> Any:
    """What `inspect` prints of a model of the store."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    settings = {
        "MODEL_NAME": source,
        "AWS_ENDPOINT_URL": address,
        "HOME": str(directory),
        "PYTHONPATH": str(ROOT / "runtime"),
        "TERMINATION_LOG": str(directory / "termination-log"),
    }
    command = [vllm_python(), "-m", "llmservice_runtime", "inspect"]
    done = subprocess.run(command, env=ours | settings | environ, capture_output=True, text=True, timeout=120)
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
        ("s3://bucket/llms/tiny", {}, "can't be read without keys, and no keys are set", "spec.model.credentialsRef"),
        (
            "s3://bucket/llms/tiny",
            {**KEYS, "AWS_ENDPOINT_URL": NOWHERE},
            f'Could not connect to the endpoint URL: "{NOWHERE}',
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
    assert "can't be read without keys, and no keys are set" in failure["message"]


def test_keys_that_may_not_read_it_are_told_as_that(tmp_path: Path) -> None:
    with serve_closed_store() as address:
        failure = inspect(address, tmp_path, "s3://bucket/llms/tiny", **KEYS)
    assert "does not let these keys read s3://bucket/llms/tiny: AccessDenied" in failure["message"]
    assert (failure["error"], failure["field"]) == ("StoreRefused", "spec.model.credentialsRef")
    assert "it does not exist" in failure["alternative"]
