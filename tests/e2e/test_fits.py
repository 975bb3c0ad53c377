"""Whether a model fits, on the real node: a real Job reads it, no GPU is taken, and the advice is right."""

import json

import pytest

from builders.nodes import H100
from builders.services import a_service
from llmservice_operator import __version__
from support.cluster import wait_until
from support.published import measurements
from support.serving import Serving

pytestmark = [pytest.mark.usefixtures("dump_on_failure"), pytest.mark.timeout(300)]

QWEN = next(each.config for each in measurements() if each.row["model"] == "Qwen/Qwen3-32B")
RUNTIME_IMAGE = f"localhost/llmservice/runtime-cpu:{__version__}"
COPY = (
    "import os, shutil; os.makedirs('/models/qwen', exist_ok=True); shutil.copy('/config/config.json', '/models/qwen')"
)


def put_beside_the_model(serving: Serving) -> None:
    """config.json of a model of 32e9 parameters into the volume, without its weights."""
    serving.apply(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "qwen"},
            "data": {"config.json": json.dumps(QWEN)},
        }
    )
    made = serving.get("Job", "make-model")["spec"]["template"]["spec"]
    container = {
        **made["containers"][0],
        "image": RUNTIME_IMAGE,
        "command": ["python", "-c", COPY],
        "volumeMounts": [{"name": "models", "mountPath": "/models"}, {"name": "config", "mountPath": "/config"}],
    }
    container.pop("args", None)
    claim = next(each for each in made["volumes"] if "persistentVolumeClaim" in each)
    volumes = [{**claim, "name": "models"}, {"name": "config", "configMap": {"name": "qwen"}}]
    template = {"spec": {**made, "containers": [container], "volumes": volumes}}
    serving.apply(
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": "put-qwen"},
            "spec": {"backoffLimit": 2, "template": template},
        }
    )
    wait_until(lambda: serving.job_done("put-qwen"), "config.json is in the volume", timeout=120, every=0.5)


def test_what_does_not_fit_is_said_before_a_gpu_is_there_and_put_right_by_the_advice(serving: Serving) -> None:
    put_beside_the_model(serving)
    service = a_service("big").from_source("pvc://models/qwen").on(H100).with_replicas(1)
    serving.apply(service.build())
    reported = serving.wait_for("big", "Fits", "False", "CacheTooSmall")
    assert f"on {H100}: one request of 40k tokens needs 10.0 GiB of KV cache per GPU" in reported["message"]
    status = serving.get("LLMService", "big")["status"]
    assert status["memory"]["weights"] == "61.0Gi"
    assert serving.condition("big", "Ready")["status"] == "False", "no node has such a GPU"
    (found,) = [each for each in status["findings"] if each["reason"] == "CacheTooSmall"]
    length = int(found["fix"].partition("model.maxContextLength ")[2].partition(":")[0])

    serving.apply(service.with_spec(model={"source": "pvc://models/qwen", "maxContextLength": length}).build())
    serving.wait_for("big", "Fits", "True")
    serving.apply(service.with_spec(parallelism={"tensor": 3}).build())
    serving.wait_for("big", "Accepted", "False", "HeadsNotDivisible")
    serving.delete("LLMService", "big")
