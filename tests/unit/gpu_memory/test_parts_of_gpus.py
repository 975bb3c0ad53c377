"""Slices of GPUs (MIG), and GPUs that several pods share (time-slicing, MPS)."""

import pytest

from llmservice_operator.gpu_memory import gpus
from llmservice_operator.gpu_memory.fit import fit
from llmservice_operator.gpu_memory.gpus import GPU, shared
from llmservice_operator.gpu_memory.ledger import Reason, Verdict
from llmservice_operator.gpu_memory.request import Request
from support.published import measurements

QWEN = next(each.config for each in measurements() if each.row["model"] == "Qwen/Qwen2.5-7B-Instruct")


def known(name: str) -> GPU:
    found = gpus.find(name)
    assert found is not None
    return found


H100, SLICE = known("H100"), known("NVIDIA-H100-80GB-HBM3-MIG-3g.40gb")


@pytest.mark.parametrize("gpu", [SLICE, shared(H100, 4, "time-slicing"), shared(H100, 4, "mps")])
@pytest.mark.parametrize(("tensor", "pipeline"), [(2, 1), (1, 2)])
def test_a_model_is_not_split_over_parts_of_gpus(gpu: GPU, tensor: int, pipeline: int) -> None:
    found = fit(
        Request(
            QWEN, gpu, tensor=tensor, pipeline=pipeline, utilization=0.2 if gpu.replicas > 1 else 0.9, max_context=2048
        )
    )
    assert (found.verdict, found.reason) == (Verdict.DOES_NOT_FIT, Reason.PARTS_OF_GPUS)
    assert "2" in found.message and gpu.name in found.message
    assert all(each.change.get("spec.parallelism.tensor", 1) == 1 for each in found.suggestions)


def test_a_slice_that_is_enough_is_suggested_in_place_of_two() -> None:
    found = fit(Request(QWEN, SLICE, tensor=2, max_context=4096))
    assert {"spec.parallelism.tensor": 1} in [each.change for each in found.suggestions]


def test_whole_gpus_are_combined_as_before() -> None:
    assert fit(Request(QWEN, H100, tensor=2)).verdict is Verdict.FITS


def test_mps_gives_each_pod_its_part_and_no_more() -> None:
    gpu = shared(H100, 2, "mps")
    found = fit(Request(QWEN, gpu, max_context=4096))
    assert (found.verdict, found.reason) == (Verdict.DOES_NOT_FIT, Reason.GPU_SHARED)
    assert "39.6 of 79.2 GiB" in found.message.replace(" GiB of", " of") and "2 pods" in found.message
    assert {"spec.engine.gpuMemoryUtilization": "0.47"} in [each.change for each in found.suggestions]
    assert fit(Request(QWEN, gpu, max_context=4096, utilization=0.47)).verdict is Verdict.FITS
    assert fit(Request(QWEN, shared(H100, 8, "mps"), utilization=0.11)).verdict is Verdict.DOES_NOT_FIT


def test_time_slicing_promises_nothing_beyond_the_part_of_a_pod() -> None:
    gpu = shared(H100, 2, "time-slicing")
    found = fit(Request(QWEN, gpu, max_context=4096))
    assert (found.verdict, found.reason) == (Verdict.UNKNOWN, Reason.GPU_SHARED)
    assert "0.47" in found.message
    within = fit(Request(QWEN, gpu, max_context=4096, utilization=0.47))
    assert within.verdict is Verdict.FITS and "other pods" in within.message


def test_what_does_not_fit_the_part_is_said_for_time_slicing_too() -> None:
    found = fit(Request(QWEN, shared(H100, 8, "time-slicing"), max_context=4096, utilization=0.11))
    assert found.verdict is Verdict.DOES_NOT_FIT and found.reason is Reason.NO_ROOM_FOR_CACHE


@pytest.mark.parametrize(
    ("name", "replicas", "is_slice"),
    [
        ("NVIDIA-H100-80GB-HBM3", 1, False),
        ("NVIDIA-H100-80GB-HBM3-SHARED", 2, False),
        ("NVIDIA-H100-80GB-HBM3-MIG-3g.40gb-SHARED", 2, True),
        ("nvidia.com/mig-3g.40gb.shared", 1, True),
    ],
)
def test_names_say_what_is_shared(name: str, replicas: int, is_slice: bool) -> None:
    found = known(name)
    assert (found.replicas, found.is_slice) == (replicas, is_slice)
