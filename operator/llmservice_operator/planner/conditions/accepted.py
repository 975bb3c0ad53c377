"""The checks of the spec. They run in order; the first objection becomes the condition Accepted.

A spec that is not accepted changes nothing: running pods stay as they are.
"""

import dataclasses
from collections.abc import Callable, Iterable

from llmservice_contract import engine_arguments
from llmservice_contract.choices import AcceleratorType, QuantizationMethod
from llmservice_contract.engine_settings import BY_VARIABLE, TENSOR_PARALLEL
from llmservice_contract.finding import Finding
from llmservice_contract.setting import BadValue, shown
from llmservice_contract.source import BadSource, parse_spec_source
from llmservice_operator.api.adapters import in_place_of
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.api.status import ModelFacts
from llmservice_operator.planner.conditions import allowed
from llmservice_operator.planner.model import pods
from llmservice_operator.planner.model.observed import Object
from llmservice_operator.planner.model.state import ServiceState, adoptable
from llmservice_operator.planner.report import phrases, reasons
from llmservice_operator.planner.report.condition import Verdict, no, of, unknown
from llmservice_operator.resources import container, devices, environment, names, placements, pod_allowlist, quantity
from llmservice_operator.resources.platform import Platform

ALLOWED_CHECKPOINTS = {
    QuantizationMethod.NONE: (None,),
    QuantizationMethod.FP8: (None, "fp8", "fbgemm-fp8", "compressed-tensors"),
    QuantizationMethod.INT8: ("compressed-tensors",),
    QuantizationMethod.INT4: ("compressed-tensors",),
    QuantizationMethod.AWQ: ("awq",),
    QuantizationMethod.GPTQ: ("gptq",),
}


def check_spec(state: ServiceState) -> Verdict | None:
    """The first objection to the spec alone; None if it is valid."""
    if state.spec_error is not None and state.count_of_invalid is not None:
        newer = state.spec_error.reason == reasons.INVALID_SPEC
        return of(
            dataclasses.replace(
                state.spec_error,
                message=f"{state.spec_error.message}. Running pods are not changed; only the number of replicas "
                f"follows spec.replicas",
                fix="install the version of the operator that supports it, or remove it"
                if newer
                else state.spec_error.fix,
            )
        )
    if state.spec is None:
        return of(state.spec_error or Finding(reasons.INVALID_SPEC, "the operator can't parse the spec"))
    found = (check(state, state.spec) for check in SPEC_CHECKS)
    objection = next((verdict for verdict in found if verdict is not None), None)
    platform = state.observed.platform
    objection = objection or allowed_placement(state.spec, platform) or allowed_pod(state.spec, platform)
    of_platform = state.entry is not None and state.entry.is_of_platform
    return objection or allowed.check(
        state.owner.namespace, state.spec, platform.allowed, model_of_platform=of_platform
    )


def check_model(spec: LLMServiceSpec, facts: ModelFacts | None) -> Verdict | None:
    """The first objection because of the model's configuration; None if there is none or the facts are unknown."""
    if facts is None:
        return None
    found = (check(spec, facts) for check in MODEL_CHECKS)
    return next((verdict for verdict in found if verdict is not None), None)


def check_names(state: ServiceState, desired: Iterable[Object]) -> Verdict | None:
    """An objection if an object with the name of a child exists and is not owned by this service."""
    for wanted in desired:
        name = wanted["metadata"]["name"]
        there = state.child(wanted["kind"], name)
        if there is None or pods.owned_by(there, state.owner.uid) or adoptable(there):
            continue
        owner = pods.controller(there)
        if owner is not None and owner["kind"] == "LLMService" and owner["name"] == state.owner.name:
            return unknown(
                reasons.WAITING_FOR_CLEANUP,
                f"{wanted['kind']} {name} belongs to a deleted LLMService of the same name and is being removed",
            )
        whose = f"is owned by {owner['kind']} {owner['name']}" if owner else "is not owned by this LLMService"
        return no(
            reasons.NAME_TAKEN,
            f"{wanted['kind']} {name} already exists and {whose}; the operator does not change it",
            fix="delete or rename it, or give this LLMService another name",
        )
    return None


def short_name(state: ServiceState, spec: LLMServiceSpec) -> Verdict | None:
    """The name is short enough for the names and labels of all children to stay within 63 characters."""
    longest = names.LONGEST_SERVICE_NAME_ON_NODES if spec.parallelism.is_multi_node else names.LONGEST_SERVICE_NAME
    name = state.owner.name
    if len(name) <= longest:
        return None
    return no(
        reasons.INVALID_SPEC,
        f"metadata.name has {len(name)} characters; the maximum is {longest}, because the names of pods are longer",
        numbers={"characters": str(len(name)), "most": str(longest)},
    )


def plain_source(_: ServiceState, spec: LLMServiceSpec) -> Verdict | None:
    """The engine can load the model and its draft model from their sources."""
    draft = spec.engine.speculative.model if spec.engine.speculative is not None else None
    for field, source in (("spec.model.source", spec.model.source), ("spec.engine.speculative.model", draft)):
        if source is None:
            continue
        try:
            parse_spec_source(source)
        except BadSource as error:
            return no(reasons.UNSUPPORTED_SOURCE, f"{field} is {shown(source)}: {error}", field=field)
    return None


def adapters(state: ServiceState, spec: LLMServiceSpec) -> Verdict | None:
    """Each adapter can be loaded from its source with the model's credentials, and has a name of its own."""
    served = spec.model.served_names or [state.owner.name]
    for each in spec.adapters or ():
        try:
            each.parsed_source  # noqa: B018
            why = in_place_of(each.source, spec.model.source)
        except BadSource as error:
            why = str(error)
        if why is not None:
            return no(
                reasons.UNSUPPORTED_SOURCE,
                f"spec.adapters: the source of {shown(each.name)} is {shown(each.source)}: {why}",
                field="spec.adapters",
            )
        if each.name in served:
            return no(
                reasons.INVALID_SETTING,
                f"spec.adapters has the name {shown(each.name)}, by which clients request the model itself",
                field="spec.adapters",
                fix="give the adapter another name",
            )
    return None


def extra_arguments(_: ServiceState, spec: LLMServiceSpec) -> Verdict | None:
    """Each argument and variable of vLLM is one that a service may set, with a value that vLLM takes."""
    for field, entries, check in (
        ("spec.engine.extraArgs", spec.engine.extra_args, engine_arguments.check_argument),
        ("spec.engine.env", spec.engine.env, engine_arguments.check_variable),
    ):
        for name, value in sorted((entries or {}).items()):
            refusal = check(name, value)
            if refusal is not None:
                return no(reasons.INVALID_SETTING, f"{field}: {refusal.message}", field=field, fix=refusal.fix)
    return None


def parsers_and_template(_: ServiceState, spec: LLMServiceSpec) -> Verdict | None:
    """Parsers and templates are those of the pinned vLLM."""
    for name, chosen, known in (
        ("toolCallParser", spec.engine.tool_call_parser, engine_arguments.TOOL_CALL_PARSERS),
        ("reasoningParser", spec.engine.reasoning_parser, engine_arguments.REASONING_PARSERS),
        (
            "chatTemplate.builtin",
            spec.engine.chat_template.builtin if spec.engine.chat_template is not None else None,
            engine_arguments.CHAT_TEMPLATES,
        ),
    ):
        if chosen is None or chosen in known or (chosen == engine_arguments.NO_PARSER and "Parser" in name):
            continue
        return no(
            reasons.INVALID_SETTING,
            f"spec.engine.{name} is {chosen}, which vLLM {engine_arguments.VLLM_VERSION} does not have"
            f"{engine_arguments.nearest(chosen, known)}",
            field=f"spec.engine.{name}",
            fix=f"use one of {', '.join(known)}",
        )
    return None


def enough_shared_memory(_: ServiceState, spec: LLMServiceSpec) -> Verdict | None:
    """Cached keys and values that leave the GPUs lie in /dev/shm."""
    stated, needed = spec.resources.shared_memory, spec.engine.kv_offload_memory
    if stated is None or needed is None or quantity.parse(stated) > quantity.parse(needed):
        return None
    return no(
        reasons.TOO_LITTLE_MEMORY,
        f"spec.resources.sharedMemory {stated} is too small: engine.kvOffloadMemory takes {needed} of it",
        numbers={"sharedMemory": str(stated), "kvOffloadMemory": str(needed)},
        field="spec.resources.sharedMemory",
        fix="remove spec.resources.sharedMemory, or set it to more than spec.engine.kvOffloadMemory",
    )


def engine_settings(state: ServiceState, _: LLMServiceSpec) -> Verdict | None:
    """The runtime accepts each value; it would refuse to start otherwise."""
    try:
        variables = state.environment
    except ValueError as error:
        return no(reasons.INVALID_SETTING, str(error), field="spec.engine.kvCacheMemory")
    for variable, value in variables.items():
        row = BY_VARIABLE.get(variable)
        if row is None:
            continue
        try:
            row.parse(value)
        except BadValue:
            return no(
                reasons.INVALID_SETTING,
                f"{row.field or row.name} is {value}: the engine accepts only {row.allowed}",
                field=row.field or "",
            )
    return None


def allowed_placement(spec: LLMServiceSpec, platform: Platform) -> Verdict | None:
    """The platform allows the nodes and priorities that the spec requests. If the chart's admission policy is in force,
    the API server has already rejected the others, unless the object is older than the platform's list."""
    if platform.allowed_placement is None:
        return None
    found = placements.denied(spec.scheduling, platform.allowed_placement)
    if found is None:
        return None
    field = f"spec.scheduling.{found.field}"
    allowed = f"it allows {phrases.join_truncated(found.allowed)}" if found.allowed else "it allows none"
    return no(
        reasons.PLACEMENT_NOT_ALLOWED,
        f"{field} requests {found.what}, which the platform does not allow: {allowed}",
        field=field,
        fix=f"remove or change it, or ask the platform team to add it to the chart value allowed.{found.value}",
    )


def allowed_pod(spec: LLMServiceSpec, platform: Platform) -> Verdict | None:
    """The platform allows what the spec adds to its pods."""
    found = pod_allowlist.denied(spec, platform.allowed_pod)
    if found is None:
        return None
    if not found.value:
        return no(
            reasons.INVALID_SETTING,
            f"{found.field} has {found.what}, which the operator, Prometheus' scraping or Kubernetes itself uses",
            field=found.field,
            fix="remove it, or use another key",
        )
    allowed = f"it allows {phrases.join_truncated(found.allowed)}" if found.allowed else "it allows none"
    return no(
        reasons.POD_SETTING_NOT_ALLOWED,
        f"{found.field} has {found.what}, which the platform does not allow: {allowed}",
        field=found.field,
        fix=f"remove or change it, or ask the platform team to add it to the chart value allowed.{found.value}",
    )


def device_claims(state: ServiceState, spec: LLMServiceSpec) -> Verdict | None:
    """The cluster has the API by which pods claim devices."""
    if spec.accelerator.device_class_name is None or state.observed.platform.device_claims:
        return None
    return no(
        reasons.DEVICE_CLAIMS_UNSUPPORTED,
        f"spec.accelerator.deviceClassName is {spec.accelerator.device_class_name}, but the API server has no "
        "resource.k8s.io/v1: dynamic resource allocation needs Kubernetes 1.34 or later",
        field="spec.accelerator.deviceClassName",
        fix="use a device plugin (spec.accelerator.resourceName), or upgrade Kubernetes: the operator looks for it "
        "every 5 minutes",
    )


def enough_memory(_: ServiceState, spec: LLMServiceSpec) -> Verdict | None:
    """On CPUs the KV caches take their memory from the container's memory request."""
    if spec.accelerator.type is not AcceleratorType.CPU or spec.resources.memory is None:
        return None
    processes, where = devices.per_node(spec), " on a node" if spec.parallelism.is_multi_node else ""
    caches = processes * environment.cpu_kv_cache_gib(spec)
    engines = spec.parallelism.engines
    split = f"tensor {processes // engines}" + (f" x data {engines}" if engines > 1 else "")
    if quantity.parse(spec.resources.memory) > caches * quantity.GIB:
        return None
    return no(
        reasons.TOO_LITTLE_MEMORY,
        f"spec.resources.memory {spec.resources.memory} is too small: the KV cache takes engine.kvCacheMemory "
        f"{environment.cpu_kv_cache_gib(spec)}Gi x {split}{where} = {caches}Gi, and the engine and the weights need "
        "memory too",
        numbers={"memory": spec.resources.memory, "kvCaches": f"{caches}Gi"},
        field="spec.resources.memory",
        fix=f"request {container.least_memory_gib(spec)}Gi or more, or a smaller cache",
    )


def no_remote_code(spec: LLMServiceSpec, facts: ModelFacts) -> Verdict | None:
    """vLLM never runs code from a model's repository, so it would refuse to start."""
    if not facts.remote_code:
        return None
    return no(
        reasons.REMOTE_CODE,
        f"{spec.model.source} can be loaded only with its own Python code (auto_map in its config.json), which is "
        "never executed; no field allows it",
        field="spec.model.source",
        fix="choose a model whose architecture vLLM supports, or a conversion of this one",
    )


def heads_divisible(spec: LLMServiceSpec, facts: ModelFacts) -> Verdict | None:
    """vLLM gives each device an equal share of the attention heads."""
    heads, tensor = facts.attention_heads, spec.parallelism.tensor
    if heads is None or heads % tensor == 0:
        return None
    return no(
        reasons.HEADS_NOT_DIVISIBLE,
        f"{heads} attention heads can't be divided by tensor: {tensor} ({heads} / {tensor} is not an integer)",
        numbers={"attentionHeads": str(heads), "tensor": str(tensor)},
        field="spec.parallelism.tensor",
        fix=f"use {phrases.join_or(usable_tensors(facts))}",
    )


def key_value_heads_divisible(spec: LLMServiceSpec, facts: ModelFacts) -> Verdict | None:
    """vLLM splits the key and value heads equally too, or copies each of them to an equal number of devices."""
    heads, tensor = facts.key_value_heads, spec.parallelism.tensor
    if heads is None or _shared_or_copied(heads, tensor):
        return None
    return no(
        reasons.HEADS_NOT_DIVISIBLE,
        f"{heads} key and value heads can be neither divided by tensor: {tensor} nor copied to each "
        f"({heads} / {tensor} and {tensor} / {heads} are not integers)",
        numbers={"keyValueHeads": str(heads), "tensor": str(tensor)},
        field="spec.parallelism.tensor",
        fix=f"use {phrases.join_or(usable_tensors(facts))}",
    )


def enough_layers(spec: LLMServiceSpec, facts: ModelFacts) -> Verdict | None:
    """Each pipeline stage needs at least one layer."""
    layers, stages = facts.layers, spec.parallelism.pipeline
    if layers is None or layers >= stages:
        return None
    return no(
        reasons.TOO_FEW_LAYERS,
        f"{layers} layers can't be split into pipeline: {stages} stages",
        numbers={"layers": str(layers), "pipeline": str(stages)},
        field="spec.parallelism.pipeline",
        fix=f"use at most {layers}",
    )


def quantization_as_stored(spec: LLMServiceSpec, facts: ModelFacts) -> Verdict | None:
    """vLLM can load weights only by the method that they are stored in, except fp8 of 16-bit weights."""
    method = spec.quantization.method
    if method is QuantizationMethod.AUTO or facts.quantization in ALLOWED_CHECKPOINTS[method]:
        return None
    stored = f"stored as {facts.quantization}" if facts.quantization else "stored in 16 bits, not quantized"
    return no(
        reasons.QUANTIZATION_MISMATCH,
        f"spec.quantization.method is {method}, but the model's weights are {stored}",
        field="spec.quantization.method",
        fix="use auto to load them as they are stored, or choose a model that is stored in this format",
    )


def usable_tensors(facts: ModelFacts) -> list[int]:
    """Values of spec.parallelism.tensor that divide the model's heads; 1 always does."""
    return [
        tensor
        for tensor in range(TENSOR_PARALLEL.minimum, TENSOR_PARALLEL.maximum + 1)
        if (facts.attention_heads or tensor) % tensor == 0 and _shared_or_copied(facts.key_value_heads or 1, tensor)
    ]


def _shared_or_copied(heads: int, tensor: int) -> bool:
    return heads % tensor == 0 or tensor % heads == 0


SPEC_CHECKS: tuple[Callable[[ServiceState, LLMServiceSpec], Verdict | None], ...] = (
    short_name,
    plain_source,
    adapters,
    extra_arguments,
    parsers_and_template,
    engine_settings,
    device_claims,
    enough_memory,
    enough_shared_memory,
)
MODEL_CHECKS: tuple[Callable[[LLMServiceSpec, ModelFacts], Verdict | None], ...] = (
    no_remote_code,
    heads_divisible,
    key_value_heads_divisible,
    enough_layers,
    quantization_as_stored,
)
