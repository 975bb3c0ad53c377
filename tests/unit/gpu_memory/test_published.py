"""The fit against what vLLM itself measured on GPUs, by others, on models that it was mostly not calibrated on."""

import pytest

from llmservice_operator.gpu_memory.fit import fit
from llmservice_operator.gpu_memory.ledger import Verdict
from support.published import GIB, Measurement, measurements

MODELLED = [each for each in measurements() if fit(each.request).verdict is not Verdict.UNKNOWN]
STARTED = [each for each in MODELLED if each.row["started"] and "kvGiB" in each.row]
ODD = {
    "openai-gpt-oss-20b-tp2--8192": 0.04,
    "gpt-oss-120b-tp8-rtxpro4500-v0.28": 0.055,
    "qwen2.5-1.5b-4090d-v0.28": 0.035,
}
"""Where weights are off by more than 3 %, and how much: kernels for MXFP4 fill experts up differently on each GPU."""


def test_most_measured_models_are_modelled():
    unknown = {each.row["model"] for each in measurements()} - {each.row["model"] for each in MODELLED}
    assert unknown == {"microsoft/phi-2", "moonshotai/Kimi-VL-A3B-Instruct"}


@pytest.mark.parametrize("measured", [each for each in MODELLED if "weightsGiB" in each.row], ids=str)
def test_weights_are_within_three_percent(measured: Measurement):
    weights = fit(measured.request).ledger.weights
    assert weights == pytest.approx(measured.row["weightsGiB"] * GIB, rel=ODD.get(str(measured), 0.03))


@pytest.mark.parametrize("measured", MODELLED, ids=str)
def test_what_started_fits_and_what_did_not_does_not(measured: Measurement):
    if str(measured) == "gpt-oss-120b-tp8-rtxpro4500-v0.28":
        pytest.xfail("it has room for its cache, and ran out of memory later, while it warmed up")
    assert fit(measured.request).verdict is (Verdict.FITS if measured.row["started"] else Verdict.DOES_NOT_FIT)


@pytest.mark.parametrize("measured", STARTED, ids=str)
def test_the_cache_is_within_ten_percent(measured: Measurement):
    assert fit(measured.request).ledger.cache == pytest.approx(measured.row["kvGiB"] * GIB, rel=0.10)


@pytest.mark.parametrize(
    "measured", [each for each in STARTED if {"kvTokens", "maxConcurrency"} <= each.row.keys()], ids=str
)
def test_the_cache_holds_as_many_requests_as_vllm_says(measured: Measurement):
    assert fit(measured.request).concurrency == pytest.approx(measured.row["maxConcurrency"], rel=0.10)
