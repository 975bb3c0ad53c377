"""The failures of docs/failures.md that the real node shows: with real vLLM, and with its words where that needs a GPU.

Every engine that has to load is the campaign's; a few of the others are in every run.
"""

from __future__ import annotations

import json
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from builders.services import COMMIT, ServiceBuilder, a_service
from support.campaign import FULL
from support.cluster import ROOT, wait_until
from support.forty import Case, Json, expected, keep, number_in, prove, ready, see
from support.serving import Serving

pytestmark = [pytest.mark.usefixtures("dump_on_failure"), pytest.mark.timeout(3000)]

TINY = "pvc://models/tiny"
OWN_CODE = {
    "model_type": "own",
    "architectures": ["OwnForCausalLM"],
    "auto_map": {"AutoConfig": "configuration_own.OwnConfig", "AutoModelForCausalLM": "modeling_own.OwnModel"},
}
LOADS_SECONDS = 615
"""More than the smallest budget."""

SPOILT: dict[str, Json] = {
    "long": {"config": {"max_position_embeddings": 2_097_152}},
    "nosuchquant": {"config": {"quantization_config": {"quant_method": "nosuchquant", "bits": 4}}},
    "nosucharch": {"config": {"architectures": ["NoSuchForCausalLM"]}},
    "owncode": {"config": OWN_CODE},
    "noweights": {"remove": "*.safetensors"},
    "cut": {"cut": "model.safetensors"},
    "fills": {"failure": {"ends": ["no-room-for-cache"], "unless": {"--tensor-parallel-size": "2"}}},
    "taken": {"failure": {"ends": ["gpu-memory-taken"], "unless": {"--gpu-memory-utilization": "0.77"}}},
    "batch": {"failure": {"ends": ["out-of-memory-sampler"], "unless": {"--max-num-seqs": "512"}}},
    "fewer": {"failure": {"ends": ["too-few-gpus"], "unless": {"--tensor-parallel-size": "2"}}},
    "old": {"failure": {"ends": ["gpu-too-old-for-quantization"], "unless": {"--quantization": "fp8"}}},
    "attention": {"failure": {"ends": ["attention-not-valid"], "unless": {"--attention-backend": None}}},
    "fault": {"failure": {"ends": ["cuda-error-while-serving"], "times": 2}},
    "full": {"failure": {"ends": ["disk-full"], "unless": {"cache": "claim"}}},
    "lost": {"failure": {"ends": ["ranks-lost"], "times": 2}},
    "first": {"failure": {"ends": ["disk-full", "broken-weights"], "unless": {"cache": "claim"}}},
    "slow": {"failure": {"loads": LOADS_SECONDS}},
}


@pytest.fixture(scope="module")
def models(serving: Serving) -> Serving:
    """A namespace with a model that works and those that don't, on one claim."""
    script = (ROOT / "tests" / "support" / "spoil_models.py").read_text()
    serving.apply(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "spoil"}, "data": {"spoil_models.py": script}}
    )
    job = serving.get("Job", "make-model")
    assert job is not None
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    container["command"] = ["python", "/script/spoil_models.py", json.dumps(SPOILT)]
    for volume in pod["volumes"]:
        if "configMap" in volume:
            volume["configMap"] = {"name": "spoil"}
    spec = {"backoffLimit": 0, "template": {"spec": pod}}
    serving.apply({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "spoil"}, "spec": spec})
    wait_until(lambda: serving.job_done("spoil"), "the models that fail are made", timeout=120)
    return serving


@pytest.fixture
def case(models: Serving, request: pytest.FixtureRequest) -> Iterator[Case]:
    """A service of a name of its own; gone afterwards, so that its devices are free."""
    made = Case(models, f"failure-{secrets.token_hex(3)}")
    yield made
    models.delete("LLMService", made.name)
    wait_until(lambda: not made.pods(), "its pods are gone", timeout=120)


def on_cpu(case: Case, source: str = TINY, **spec: Any) -> ServiceBuilder:
    """Real vLLM."""
    service = a_service(case.name).from_source(source).on_cpu()
    return service.with_spec(**{"resources": {"cpu": "300m"}, **spec})


def stand_in(case: Case, source: str, **spec: Any) -> ServiceBuilder:
    """On one pretended GPU, with vLLM's words alone."""
    service = (
        a_service(case.name)
        .from_source(source, COMMIT if source.startswith("hf://") else None)
        .with_spec(
            accelerator={"type": "amd", "resourceName": "nvidia.com/gpu"}, resources={"cpu": "20m", "memory": "256Mi"}
        )
    )
    return service.with_spec(**spec)


Made = Callable[[Case], ServiceBuilder]
REAL: dict[int, tuple[Made, Any]] = {
    1: (
        lambda case: on_cpu(case, model={"maxContextLength": 4096}),
        lambda finding: int(number_in(finding["fix"], r"to (\d+) or less")),
    ),
    2: (
        lambda case: on_cpu(case, "pvc://models/long", model={"maxContextLength": 2_097_152}),
        lambda finding: min(2048, int(number_in(finding["fix"], r"to (\d+) or less"))),
    ),
    3: (
        lambda case: on_cpu(case, parallelism={"tensor": 3}),
        lambda finding: int(number_in(finding["fix"], r"se (\d+)")),
    ),
    4: (lambda case: on_cpu(case, quantization={"method": "awq"}), "auto"),
    5: (lambda case: on_cpu(case, "pvc://models/nosuchquant"), TINY),
    6: (lambda case: on_cpu(case, "pvc://models/nosucharch"), TINY),
    7: (lambda case: on_cpu(case, "pvc://models/owncode"), TINY),
    8: (lambda case: on_cpu(case, "pvc://models/noweights"), TINY),
    9: (lambda case: on_cpu(case, "pvc://models/cut"), TINY),
    10: (
        lambda case: on_cpu(case, "pvc://models/tyni"),
        lambda finding: "pvc://models/" + number_in(finding["fix"], r"there is /models/(\w+)"),
    ),
    11: (lambda case: on_cpu(case, resources={"cpu": "300m", "memory": "1300Mi"}), "6Gi"),
}
"""By number: the service that fails, and what the field of its finding is set to."""
BEFORE_A_POD = (3,)


@pytest.mark.campaign
@pytest.mark.parametrize("number", REAL)
def test_vllm_itself_fails_is_told_and_put_right(case: Case, number: int) -> None:
    make, cure = REAL[number]
    case.apply(make(case))
    prove(case, number, case.has_been_read if number in BEFORE_A_POD else case.has_ended, cure)


def with_token(case: Case) -> str:
    """A Secret with a token that the hub takes."""
    make_secret(case, "hub", {"HF_TOKEN": "right"})
    return "hub"


def make_secret(case: Case, name: str, entries: dict[str, str]) -> None:
    body = {"metadata": {"name": name}, "stringData": entries}
    path = f"/api/v1/namespaces/{case.serving.namespace}/secrets"
    case.serving.cluster.request("DELETE", f"{path}/{name}")
    made = case.serving.cluster.request("POST", path, body)
    assert made.ok, made.message


WORDS: dict[int, tuple[Made, Any]] = {
    12: (lambda case: stand_in(case, "pvc://models/fills"), 2),
    13: (
        lambda case: stand_in(case, "pvc://models/taken"),
        lambda finding: number_in(finding["fix"], r"gpuMemoryUtilization to ([\d.]+) or less"),
    ),
    14: (
        lambda case: stand_in(case, "pvc://models/batch"),
        lambda finding: int(number_in(finding["fix"], r"to (\d+) or less")),
    ),
    15: (
        lambda case: stand_in(case, "pvc://models/fewer", parallelism={"tensor": 4}),
        lambda finding: int(number_in(finding["fix"], r"no more than (\d+)")),
    ),
    16: (lambda case: stand_in(case, "pvc://models/old"), "fp8"),
    17: (lambda case: stand_in(case, "pvc://models/attention", engine={"attention": "flash"}), "auto"),
    18: (lambda case: stand_in(case, "pvc://models/fault"), lambda finding: None),
    19: (lambda case: stand_in(case, "hf://org/gated"), None),
    20: (lambda case: stand_in(case, "hf://org/none"), "hf://org/tiny"),
    21: (lambda case: stand_in(case, "pvc://models/full"), "1Gi"),
    22: (
        lambda case: stand_in(case, "pvc://models/lost").spread_over(tensor=2, nodes=2),
        lambda finding: None,
    ),
}
EVERY_RUN = (13, 19)


@pytest.mark.parametrize("number", WORDS if FULL else EVERY_RUN)
def test_what_vllm_says_on_gpus_is_told_and_put_right(case: Case, number: int) -> None:
    make, cure = WORDS[number]
    if number == 19:
        cure = lambda finding: {"name": with_token(case)}  # noqa: E731
    case.apply(make(case))
    prove(case, number, case.has_ended, cure)


@pytest.mark.campaign
def test_the_first_end_is_told_however_later_ones_look(case: Case) -> None:
    row = expected(23)
    case.apply(stand_in(case, "pvc://models/first"))
    seen = see(case, row, case.has_ended)
    wait_until(lambda: case.has_ended(2), "it has ended twice", timeout=60)

    def both() -> bool:
        return [each["reason"] for each in case.findings()] == ["DiskFull", "BrokenWeights"]

    wait_until(both, "the root cause comes before the later exit", timeout=30)
    assert case.condition("Ready")["reason"] == "DiskFull"
    assert (seen.finding["certainty"], seen.finding["field"]) == (row.certainty, row.field)
    assert not seen.wrong
    begun = time.monotonic()
    case.change(seen.finding["field"], "1Gi")
    ready(case)
    keep(row, seen, time.monotonic() - begun)


@pytest.mark.campaign
def test_loading_beyond_its_budget_is_told_and_put_right(case: Case) -> None:
    """The budget is ten minutes at least, and so is this."""
    case.apply(stand_in(case, "pvc://models/slow", model={"size": "1Gi"}))
    wait_until(case.has_ended, "the startup probe has ended the engine", timeout=900, every=1)
    prove(case, 24, case.has_ended, "60Gi", ready_within=LOADS_SECONDS + 300)


def test_a_secret_that_is_missing_or_lacks_its_key_is_told_and_put_right(case: Case) -> None:
    case.apply(stand_in(case, "hf://org/tiny", model={"credentialsRef": {"name": "token"}}))
    first = see(case, expected(35), lambda: case.waits("CreateContainerConfigError"))
    assert (first.finding["reason"], first.finding["certainty"]) == ("SecretMissing", "Certain")
    make_secret(case, "token", {"TOKEN": "x"})
    wait_until(
        lambda: case.findings()[:1] and case.findings()[0]["reason"] == "SecretKeyMissing",
        "the missing key is reported",
        90,
    )

    def cure(finding: Json) -> None:
        assert {"HF_TOKEN", "token"} <= set(re.findall(r"[\w.-]+", finding["fix"]))
        make_secret(case, "token", {"HF_TOKEN": "x"})

    prove(case, 35, lambda: case.waits("CreateContainerConfigError"), cure)


@pytest.fixture
def directory(models: Serving) -> Iterator[Path]:
    """A directory of the node that isn't there yet, and a claim on it."""
    path = Path(f"/tmp/llmservice-mount-{secrets.token_hex(4)}")  # a name of the host, which is the node here
    name = path.name
    common = {"accessModes": ["ReadWriteOnce"], "storageClassName": "", "volumeName": name}
    volume = {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"],
        "hostPath": {"path": str(path), "type": "Directory"},
        "persistentVolumeReclaimPolicy": "Retain",
    }
    made = models.cluster.request("POST", "/api/v1/persistentvolumes", {"metadata": {"name": name}, "spec": volume})
    assert made.ok, made.message
    claim = {**common, "resources": {"requests": {"storage": "1Gi"}}}
    models.apply({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": claim})
    yield path
    models.delete("PersistentVolumeClaim", name)
    models.cluster.request("DELETE", f"/api/v1/persistentvolumes/{name}")
    shutil.rmtree(path, ignore_errors=True)


@pytest.mark.campaign
def test_a_volume_that_can_not_be_mounted_is_told_and_put_right(case: Case, directory: Path) -> None:
    case.apply(stand_in(case, f"pvc://{directory.name}/model"))

    def cure(finding: Json) -> None:
        assert str(directory) in finding["message"]
        (directory / "model").mkdir(parents=True)
        (directory / "model" / "config.json").write_text("{}")

    prove(case, 34, lambda: case.is_reported("FailedMount"), cure)


@pytest.mark.campaign
def test_an_eviction_for_disk_is_told_and_put_right(serving: Serving) -> None:
    with serving.cluster.namespace("evicted") as namespace:
        case = Case(Serving(serving.cluster, namespace), "evicted")
        little = {"cpu": "20m", "memory": "256Mi", "ephemeralStorage": "30Mi"}
        case.apply(stand_in(case, "hf://org/downloads-60", resources=little))
        prove(case, 40, lambda: case.is_reported("Evicted"), "1Gi")
