"""The condition Fits: whether the model fits the GPUs that its pods may get, before a pod exists.

It is estimated from what the inspection has read. A running service is the better evidence: then Fits is True.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import pydantic

from llmservice_contract import engine_arguments
from llmservice_contract.adapters import lora_rank
from llmservice_contract.choices import AcceleratorType, Dtype, Runner
from llmservice_contract.engine_settings import MAX_LORA_RANK, MAX_LORAS
from llmservice_contract.finding import Finding
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.api.status import Memory
from llmservice_operator.gpu_memory.gpus import GPU
from llmservice_operator.gpu_memory.ledger import Fit
from llmservice_operator.gpu_memory.ledger import Verdict as Answer
from llmservice_operator.gpu_memory.request import UTILIZATION, Draft, Lora, Request
from llmservice_operator.planner.conditions import model_inspection
from llmservice_operator.planner.conditions.gpu_candidates import candidates
from llmservice_operator.planner.model.fit_estimate import Estimate, Question
from llmservice_operator.planner.model.observed import NOTHING, Input
from llmservice_operator.planner.model.result import NO_RESULT, Result
from llmservice_operator.planner.model.state import ServiceState
from llmservice_operator.planner.report import phrases, reasons
from llmservice_operator.planner.report.condition import Verdict, of, unknown, yes
from llmservice_operator.resources import environment, quantity
from llmservice_operator.resources.adapters import has_adapters
from llmservice_operator.resources.platform import FitPolicy


def question(
    spec: LLMServiceSpec,
    config: Mapping[str, Any],
    gpu: GPU,
    *,
    stored_bytes: int | None = None,
    parameters: int | None = None,
    draft_config: Mapping[str, Any] | None = None,
) -> Request:
    """The request whether the model of ``spec`` fits ``gpu``. ``config`` is its config.json, ``stored_bytes`` the size
    of its weight files, ``parameters`` their number, and ``draft_config`` its draft model's config.json, if known."""
    engine, cuts, draft = spec.engine, spec.parallelism, spec.engine.speculative
    on_cpu = spec.accelerator.type is AcceleratorType.CPU
    return Request(
        config=config,
        gpu=gpu,
        tensor=cuts.tensor,
        pipeline=cuts.pipeline,
        quantization=spec.quantization.method.value,
        cache_dtype=spec.quantization.kv_cache_dtype.value,
        max_context=spec.model.max_context_length,
        max_sequences=engine.max_num_seqs,
        max_batched_tokens=engine.max_num_batched_tokens,
        utilization=float(engine.gpu_memory_utilization or UTILIZATION),
        prefix_caching=engine.prefix_caching is not False,
        stored_bytes=stored_bytes,
        parameters=parameters,
        draft=Draft(draft.model, draft_config) if draft is not None and draft.model is not None else None,
        vendor=spec.accelerator.type.value,
        nodes=cuts.nodes_per_replica,
        data=cuts.engines,
        lora=_lora(spec),
        cpu_cache=environment.cpu_kv_cache_gib(spec) * quantity.GIB if on_cpu else None,
    )


def _lora(spec: LLMServiceSpec) -> Lora | None:
    """Memory that vLLM reserves for adapters, whether there are any or not."""
    if not has_adapters(spec):
        return None
    rank = spec.engine.max_lora_rank or MAX_LORA_RANK.default or 1
    return Lora(spec.engine.max_loras or MAX_LORAS.default or 1, lora_rank(rank))


CONDITION = "Fits"
STARTS = "The pods start all the same, and their log has vLLM's own numbers"
"""The end of the message of a verdict that stays Unknown."""
NEAR = 0.05
"""Possible error of the estimate, as a share of the GPU memory that vLLM uses."""
MOST_GPUS = 16
"""Maximum number of GPU models to estimate for one service; those with the least memory come first."""
_UNLABELLED = (
    "no node has a label with its GPU product: set spec.accelerator.products, or install GPU feature discovery"
)
_UNPUBLISHED = (
    "no node has a device of spec.accelerator.deviceClassName whose driver publishes its memory: set "
    "spec.accelerator.products"
)
Found = Sequence[tuple[GPU, Fit]]


@dataclasses.dataclass(frozen=True)
class Fitting:
    """The result of the check."""

    result: Result = NO_RESULT
    """The condition."""
    memory: Memory | None = None
    denied: Verdict | None = None
    """Why no pod is created; None if pods are created."""
    question: Question | None = None
    """The question for the estimate that is missing."""


def check(state: ServiceState, spec: LLMServiceSpec, reading: model_inspection.Reading) -> Fitting:
    """The verdict on the model of the spec, as far as it is known."""
    policy = state.observed.platform.fit_policy
    if policy is FitPolicy.OFF:
        return Fitting()
    if reading.facts is None or not reading.facts.configuration:
        return Fitting(Result(_unread(reading)))
    outside = not_modelled(spec)
    if outside is not None:
        return Fitting(Result(outside))
    gpus = candidates(spec, state.observed.nodes)
    if gpus is None:
        verdict, memory = _before(
            state, reasons.GPU_UNKNOWN, "the GPUs of the nodes are not known: set spec.accelerator.products"
        )
        nodes = state.observed.missing(Input.NODES) if verdict.reason == reasons.GPU_UNKNOWN else NOTHING
        return Fitting(Result(verdict, nodes), memory)
    if not gpus:
        text = _UNLABELLED if spec.accelerator.device_class_name is None else _UNPUBLISHED
        return Fitting(Result(unknown(reasons.GPU_UNKNOWN, text)))
    asked = ask(spec, reading.facts.configuration, reading.facts.weight_bytes, gpus)
    estimate = state.observed.estimate
    if estimate is None or estimate.question != asked:
        return _awaited(state, asked)
    found = found_in(estimate)
    verdict = verdict_on(found)
    memory = _memory(*min(found, key=lambda each: each[1].ledger.cache or 0))
    if verdict.status == "False" and _runs(state):
        return Fitting(
            Result(yes(reasons.FITS, f"Running, although the memory estimate says it does not fit: {verdict.message}")),
            memory,
        )
    nowhere = all(each.verdict is Answer.DOES_NOT_FIT for _, each in found)
    return Fitting(Result(verdict), memory, verdict if policy is FitPolicy.DENY and nowhere else None)


def not_modelled(spec: LLMServiceSpec) -> Verdict | None:
    """The verdict if settings of the spec change how much memory is needed in a way that the estimate does not know."""
    engine = spec.engine
    fields = {
        "spec.engine.hfOverrides": engine.hf_overrides is not None,
        "spec.engine.dtype": engine.dtype is Dtype.FLOAT32,
        "spec.engine.runner": engine.runner is Runner.POOLING,
        "spec.parallelism.expertParallel": bool(spec.parallelism.expert_parallel),
    }
    extra = engine_arguments.CHANGE_MEMORY.intersection(engine.extra_args or {})
    settings = [*(name for name, is_set in fields.items() if is_set), *(f"extraArgs {name}" for name in sorted(extra))]
    if not settings:
        return None
    verb = "is" if len(settings) == 1 else "are"
    text = f"{phrases.join_truncated(settings)} {verb} set, which the memory estimate does not model. {STARTS}"
    return unknown(reasons.NOT_MODELLED, text)


def _unread(reading: model_inspection.Reading) -> Verdict | None:
    """Why the verdict is unknown; None if no inspection was needed."""
    said = reading.said or reading.result.verdict
    if said is not None:
        return dataclasses.replace(said, status="Unknown", findings=())
    if reading.facts is not None:
        return unknown(reasons.NOT_MODELLED, "its config.json is too long for the operator to read")
    return None


def ask(spec: LLMServiceSpec, configuration: str, weight_bytes: int | None, gpus: Sequence[GPU]) -> Question:
    """The question whether the inspected model fits each of these GPUs."""
    requests = (question(spec, {}, gpu, stored_bytes=weight_bytes or None) for gpu in gpus[:MOST_GPUS])
    return Question(configuration, tuple(requests))


def found_in(estimate: Estimate) -> Found:
    """The fit for each GPU."""
    return [(request.gpu, fit) for request, fit in zip(estimate.question.requests, estimate.fits, strict=True)]


def _awaited(state: ServiceState, asked: Question) -> Fitting:
    """The result until the estimate is ready: the previous verdict. If the platform denies models that do not fit, pods
    that do not exist yet wait for the estimate."""
    message = "the operator is estimating whether the model fits its GPUs"
    verdict, memory = _before(state, reasons.ESTIMATING, message)
    denied = None
    if state.observed.platform.fit_policy is FitPolicy.DENY:
        before = state.previous.get("Accepted", {})
        same = before.get("observedGeneration") == state.generation
        if same and before.get("status") == "False" and before.get("reason") == verdict.reason:
            denied = verdict
        elif not same or before.get("status") != "True":
            denied = unknown(reasons.ESTIMATING, message)
    return Fitting(Result(verdict, frozenset({Input.ESTIMATE})), memory, denied, asked)


def verdict_on(found: Found) -> Verdict:
    """The verdict of the condition for these GPUs."""
    bad = [(gpu, each) for gpu, each in found if each.verdict is Answer.DOES_NOT_FIT]
    unsure = next((each for _, each in found if each.verdict is Answer.UNKNOWN), None)
    if unsure is not None:
        return unknown(unsure.reason.value, f"{unsure.message}. {STARTS}")
    if not bad:
        return yes(reasons.FITS, "; ".join(f"{gpu.name}: {each.message}" for gpu, each in found))
    gpu, worst = bad[0]
    account = f"on {gpu.name}: {worst.message}"
    fix = _fix(worst)
    if len(bad) == len(found):
        return of(
            Finding(
                worst.reason.value,
                account,
                numbers=_numbers(worst),
                alternative=_doubt(worst),
                field=_field(worst),
                fix=fix,
            )
        )
    good = phrases.join_truncated([gpu.name for gpu, each in found if each.verdict is Answer.FITS])
    return of(
        Finding(
            reasons.FITS_SOME_GPUS,
            f"the model fits {good} but not {phrases.join_truncated([gpu.name for gpu, _ in bad])}, and its pods may "
            f"get either; {account}",
            numbers=_numbers(worst),
            alternative=_doubt(worst),
            field="spec.accelerator.products",
            fix=f"Set spec.accelerator.products to {good}. Or: {fix}" if fix else "",
        )
    )


def _numbers(fit_: Fit) -> dict[str, str]:
    """Bytes per GPU, and tokens. Unknown numbers are left out."""
    ledger = fit_.ledger
    known = {
        "gpuBytes": ledger.total,
        "requestedBytes": ledger.requested,
        "weightsBytes": ledger.weights,
        "kvAvailableBytes": ledger.cache,
        "contextLength": fit_.context,
        "maxContextLength": fit_.longest,
    }
    return {name: str(value) for name, value in known.items() if value is not None}


def _doubt(fit_: Fit) -> str:
    """The alternative cause, if the estimate is a sum and close to the limit."""
    near = reasons.of(fit_.reason).by_arithmetic and _lacking(fit_) < NEAR * fit_.ledger.requested
    return "vLLM needs less memory than estimated and starts" if near else ""


def _lacking(fit_: Fit) -> float:
    """Bytes of KV cache that are missing on each GPU."""
    cache = fit_.ledger.cache or 0
    return cache / fit_.concurrency - cache if fit_.concurrency else -cache


def _field(fit_: Fit) -> str:
    return next(iter(fit_.suggestions[0].change)) if fit_.suggestions else ""


def _fix(fit_: Fit) -> str:
    if not fit_.suggestions:
        return ""
    return f"What would fit: {'; '.join(suggestion.text for suggestion in fit_.suggestions)}."


def _before(state: ServiceState, reason: str, message: str) -> tuple[Verdict, Memory | None]:
    """The previous verdict on this generation; Unknown with ``reason`` if there is none."""
    previous = state.previous.get(CONDITION, {})
    if previous.get("observedGeneration") != state.generation or not reasons.of(str(previous.get("reason"))).estimated:
        return unknown(reason, message), None
    causes = tuple(each for each in state.findings if each.reason == previous["reason"])
    verdict = Verdict(previous["status"], str(previous["reason"]), str(previous.get("message", "")), findings=causes)
    return verdict, _stored(state)


def _stored(state: ServiceState) -> Memory | None:
    stored = (state.observed.service.get("status") or {}).get("memory")
    try:
        return Memory.model_validate(stored) if stored else None
    except pydantic.ValidationError:  # of another version of the operator
        return None


def _runs(state: ServiceState) -> bool:
    """Whether all replicas were ready with this spec."""
    conditions = (state.previous.get(kind, {}) for kind in ("Ready", "RolledOut"))
    return all(
        each.get("status") == "True" and each.get("observedGeneration") == state.generation for each in conditions
    )


def _memory(gpu: GPU, found: Fit) -> Memory | None:
    ledger = found.ledger
    if ledger.weights is None or not ledger.total:
        return None
    try:
        return Memory(
            gpu=gpu.name[:128],
            total=_gib(ledger.total),
            requested=_gib(ledger.requested),
            weights=_gib(ledger.weights),
            activation=_gib(ledger.activation or 0),
            cuda_graphs=_gib(ledger.graphs or 0),
            non_torch=_gib(ledger.outside or 0),
            kv_available=_gib(ledger.cache or 0),
            kv_per_token=ledger.per_token or 0,
            max_context_length=found.longest,
            max_concurrency=None if found.concurrency is None else f"{found.concurrency:g}"[:16],
        )
    except pydantic.ValidationError:  # absurd sizes: the verdict says so
        return None


def _gib(amount: int) -> str:
    return f"{amount / (1 << 30):.1f}Gi"
