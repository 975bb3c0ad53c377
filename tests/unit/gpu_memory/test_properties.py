"""Whatever stands in a config.json, an answer comes, and its ledger makes sense."""

import copy

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmservice_operator.cli import wire
from llmservice_operator.cli.fit.document import document
from llmservice_operator.gpu_memory.fit import fit
from llmservice_operator.gpu_memory.gpus import KNOWN, of_memory
from llmservice_operator.gpu_memory.ledger import Verdict
from llmservice_operator.gpu_memory.request import Lora, Request
from support.campaign import FULL
from support.small_models import MODELS

EXAMPLES = 10_000 if FULL else 250

SIZES = st.one_of(st.sampled_from((1, 2, 8, 32, 64, 96, 128, 4096, 8192, 131072)), st.integers(1, 1 << 20))
ODD = st.one_of(
    st.none(), st.booleans(), st.integers(-(1 << 70), 1 << 70), st.floats(allow_nan=True), st.text(max_size=8),
    st.lists(st.one_of(st.integers(), st.text(max_size=4), st.none()), max_size=4),
    st.dictionaries(st.text(max_size=8), st.integers(), max_size=2),
)  # fmt: skip
QUANTIZATION = st.fixed_dictionaries(
    {"quant_method": st.sampled_from(("fp8", "awq", "gptq", "compressed-tensors", "mxfp4", "modelopt", "other"))},
    optional={
        "bits": SIZES,
        "group_size": st.one_of(SIZES, st.just(-1)),
        "weight_block_size": st.one_of(st.just([128, 128]), ODD),
        "ignore": ODD,
        "config_groups": ODD,
        "quant_algo": st.sampled_from(("FP8", "NVFP4", "W4A8_AWQ")),
    },
)


@st.composite
def configs(draw):
    """A config.json: one of a known model, with some of its values changed for others, sensible or not."""
    config = copy.deepcopy(draw(st.sampled_from(sorted(MODELS.values(), key=str))))
    for field in draw(st.lists(st.sampled_from(sorted(config)), max_size=4, unique=True)):
        config[field] = draw(st.one_of(SIZES, ODD))
    for field in draw(st.lists(st.sampled_from(sorted(config)), max_size=1)):
        del config[field]
    if draw(st.integers(0, 4)) == 0:
        config["quantization_config"] = draw(st.one_of(QUANTIZATION, ODD))
    return {"text_config": config, **config} if draw(st.integers(0, 9)) == 0 else config


@st.composite
def requests(draw):
    """A question with such a config.json."""
    maybe = lambda values: st.one_of(st.none(), values)  # noqa: E731
    return Request(
        draw(configs()),
        draw(st.one_of(st.sampled_from(KNOWN), st.floats(0.5, 300).map(of_memory))),
        tensor=draw(st.integers(1, 16)),
        pipeline=draw(st.integers(1, 16)),
        quantization=draw(st.sampled_from(("auto", "none", "fp8", "int8", "awq"))),
        cache_dtype=draw(st.sampled_from(("auto", "fp8", "fp8_e5m2"))),
        max_context=draw(maybe(st.integers(16, 1 << 24))),
        max_sequences=draw(maybe(st.integers(1, 65_536))),
        max_batched_tokens=draw(maybe(st.integers(16, 1 << 24))),
        utilization=draw(st.floats(0.001, 1.0)),
        lora=draw(maybe(st.builds(Lora, st.integers(1, 64), st.integers(1, 256)))),
        stored_bytes=draw(maybe(st.integers(1, 1 << 50))),
        cpu_cache=draw(st.one_of(st.none(), st.none(), st.integers(1, 1 << 42))),
    )


@settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(requests())
def test_there_is_always_an_answer_and_its_ledger_makes_sense(request: Request):
    found = fit(request)
    wire.text(document(request.gpu, found))
    ledger = found.ledger
    if found.verdict is Verdict.UNKNOWN or ledger.weights is None:
        assert found.message
        return
    assert 0 < ledger.weights < 1 << 62
    assert min(ledger.activation, ledger.graphs, ledger.outside, ledger.per_token) >= 0
    assert sum(ledger.parts.values()) == ledger.weights
    is_encoder = not found.block_bytes
    if not request.on_cpu:
        taken = ledger.weights + ledger.activation + ledger.graphs + ledger.outside
        assert taken + (0 if is_encoder else ledger.cache) == ledger.requested
    assert (found.longest or 0) >= 0
    if found.verdict is Verdict.FITS:
        assert ledger.cache == 0 if is_encoder else ledger.cache > 0
        assert found.context <= found.longest or not found.block_bytes
        assert found.concurrency is None or found.concurrency >= 1
        assert request.on_cpu or ledger.weights < ledger.total
    else:
        assert all(suggestion.fit.verdict is Verdict.FITS for suggestion in found.suggestions)
