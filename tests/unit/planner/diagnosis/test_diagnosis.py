"""What the runtime found is what `kubectl describe llms` shows: the cause, the numbers, the field."""

from __future__ import annotations

from pathlib import Path

import pytest

from builders.observed import a_scene, condition, findings
from builders.pods import a_pod
from builders.services import a_service
from llmservice_contract import causes
from llmservice_contract.diagnosis import Diagnosis
from llmservice_contract.finding import Finding
from llmservice_runtime.diagnosis import End, diagnose
from llmservice_runtime.diagnosis.output_tail import OutputTail
from llmservice_runtime.model.checkpoint import WrongCheckpoint

OUTPUTS = Path(__file__).parents[3] / "fixtures" / "vllm-output"


def reported(diagnosis: Diagnosis, **ended: str) -> tuple[str, str]:
    """Reason and message of Serving where a pod has left `diagnosis`."""
    pod = a_pod().ended(diagnosis.exit_code, diagnosis.to_json(), **ended)
    made = a_scene(a_service().with_replicas(1)).settled().with_pods(pod).plan()
    found = condition(made, "Serving")
    assert condition(made, "Ready")["message"] == found["message"]
    assert condition(made, "Stalled")["message"] == found["message"]
    return found["reason"], found["message"]


def test_a_failure_of_vllm_is_told_with_its_cause_and_what_to_do() -> None:
    tail = OutputTail()
    tail.feed(1, (OUTPUTS / "gpu-memory-taken.txt").read_bytes())
    reason, message = reported(diagnose(End(1, tail.lines), {}))
    assert reason == "GPUMemoryTaken"
    assert message.startswith(
        "chat-0: the engine ended with exit code 84 (GPUMemoryTaken): Something else holds memory"
    )
    assert message.endswith("or set spec.engine.gpuMemoryUtilization to 0.77 or less.")


def test_a_refusal_of_the_runtime_is_told_in_its_own_words() -> None:
    text = "QUANTIZATION_MODE=awq needs an awq checkpoint: choose another."
    diagnosis = WrongCheckpoint(text, "spec.quantization.method").diagnosis(causes.WRONG_CHECKPOINT)
    assert diagnosis.finding.field == "spec.quantization.method"
    assert reported(diagnosis) == (
        "WrongCheckpoint",
        f"chat-0: the engine ended with exit code 78 (WrongCheckpoint): {text} {diagnosis.finding.fix}",
    )


def test_what_nobody_knows_is_told_as_vllm_said_it() -> None:
    diagnosis = Diagnosis(Finding("Unknown", "KeyError: 'layer.7'"))
    assert reported(diagnosis) == (
        "Crashed",
        "chat-0: the engine ended with exit code 1: KeyError: 'layer.7' (likely; else an earlier error in the log)",
    )


@pytest.mark.parametrize(
    ("cause", "reason"),
    [
        (causes.OOM_KILLED, "OOMKilled"),
        (causes.HOST_OUT_OF_MEMORY, "HostOutOfMemory"),
        (causes.READY_TIMEOUT, "LoadingTooLong"),
        (causes.GPU_FAULT, "GPUFault"),
    ],
)
def test_a_cause_is_the_reason_that_is_told(cause: causes.Cause, reason: str) -> None:
    assert reported(Diagnosis(Finding(cause.name, "what"), cause.exit_code))[0] == reason


def test_what_a_pod_with_the_runtime_of_0_2_leaves_is_told_as_before() -> None:
    text = (
        '{"cause":"DiskFull","message":"A volume is full.","field":"spec.cache.size","fix":"Give it more room.",'
        '"detail":"OSError: [Errno 28]","exitCode":106}'
    )
    made = a_scene(a_service().with_replicas(1)).settled().with_pods(a_pod().ended(106, text)).plan()
    (found,) = findings(made)
    assert (found["reason"], found["certainty"], found["field"]) == ("DiskFull", "Certain", "spec.cache.size")
    assert (found["subject"], found["fix"], found["numbers"]) == ("chat-0", "Give it more room.", {"exitCode": "106"})
    assert condition(made, "Serving")["message"].endswith("A volume is full. Give it more room.")


@pytest.mark.parametrize("cause", ["Ready", "QuotaExceeded", "no word", "x" * 5000, ""])
def test_a_container_can_not_name_what_is_no_end_of_an_engine(cause: str) -> None:
    made = a_scene(a_service().with_replicas(1)).settled()
    text = Diagnosis(Finding(cause, "what", field="spec.x" * 999, fix="y" * 9000)).to_json()
    (found,) = findings(made.with_pods(a_pod().ended(1, text)).plan())
    assert found["reason"] == "Crashed"


def test_the_kubelets_own_verdict_goes_first() -> None:
    reason, message = reported(Diagnosis(Finding("Unknown", "what"), 137), reason="OOMKilled")
    assert (reason, "spec.resources.memory" in message) == ("OOMKilled", True)


def test_what_to_do_is_told_however_long_the_account_of_what_was_wrong() -> None:
    message = reported(Diagnosis(Finding("DiskFull", "x" * 3000, fix="Give it more room."), 106))[1]
    assert message.endswith("… Give it more room.")
    assert len(message) < 900


def test_a_crash_loop_of_one_cause_writes_its_verdict_once() -> None:
    words = Diagnosis(Finding("DiskFull", "A volume is full."), 106).to_json()
    first = a_scene(a_service().with_replicas(1)).settled().with_pods(a_pod().ended(106, words)).settled()
    again = a_pod().waiting("CrashLoopBackOff").ended_before(106, words)
    assert first.at(300).with_pods(again).plan().status == first.plan().status
