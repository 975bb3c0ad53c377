"""S3 by the role of a ServiceAccount (web identity, as on EKS): the inspection, and the streamer of the weights."""

from __future__ import annotations

import json
import os
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.test_bucket import CONFIG, inspect
from llmservice_runtime.launcher.command import make_command
from llmservice_runtime.launcher.settings import read_settings
from support.engine import vllm_python
from support.store import serve_store
from support.web_identity import ROLE, WebIdentity, serve_web_identity

HEADER = json.dumps({"weight": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}).encode()
WEIGHTS = struct.pack("<Q", len(HEADER)) + HEADER + struct.pack("<4f", 1, 2, 3, 4)
SOURCE = "s3://bucket/tiny"
STREAM = """
from runai_model_streamer import SafetensorsStreamer
from runai_model_streamer.safetensors_streamer.safetensors_streamer import list_safetensors
with SafetensorsStreamer() as streamer:
    streamer.stream_files(list_safetensors("s3://bucket/tiny/"))
    for name, tensor in streamer.get_tensors():
        print(name, tensor.tolist())
"""


@pytest.fixture
def aws() -> Iterator[WebIdentity]:
    objects = {"tiny/config.json": CONFIG, "tiny/model.safetensors": WEIGHTS}
    with serve_store("bucket", objects) as store, serve_web_identity(store) as found:
        yield found


Variables = Callable[[WebIdentity, Path], dict[str, str]]
CLOUDS = pytest.mark.parametrize("variables", [WebIdentity.variables, WebIdentity.pod_identity])


@CLOUDS
def test_an_inspection_has_the_role_of_its_service_account(
    aws: WebIdentity, tmp_path: Path, variables: Variables
) -> None:
    environ = variables(aws, tmp_path / "token")
    facts = inspect(aws.address, tmp_path, SOURCE, **environ)
    assert facts["weightBytes"] == len(WEIGHTS)
    assert aws.roles and set(aws.roles) == {ROLE}
    assert aws.refused == []


@CLOUDS
def test_the_weights_are_streamed_with_the_role_of_the_service_account(
    aws: WebIdentity, tmp_path: Path, variables: Variables
) -> None:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    pod = ours | variables(aws, tmp_path / "token") | {"MODEL_NAME": SOURCE, "HOME": str(tmp_path)}
    environ = make_command(read_settings(pod), None, "runai_streamer", pod).environment
    done = subprocess.run([vllm_python(), "-c", STREAM], env=dict(environ), capture_output=True, text=True, timeout=300)
    assert done.stdout.split() == ["weight", "[1.0,", "2.0,", "3.0,", "4.0]"], done.stderr[-2000:]
    assert aws.roles and set(aws.roles) == {ROLE}
    assert aws.refused == []


@CLOUDS
def test_a_token_that_the_role_does_not_take_is_reported_as_that(
    aws: WebIdentity, tmp_path: Path, variables: Variables
) -> None:
    environ = variables(aws, tmp_path / "token")
    (tmp_path / "token").write_text("another")
    failure = inspect(aws.address, tmp_path, SOURCE, **environ)
    assert (failure["error"], failure["field"]) == ("StoreRefused", "spec.serviceAccountName")
    assert "does not get its role" in failure["message"]
