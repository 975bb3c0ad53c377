"""Combinations of settings that are invalid, found before heavy modules are loaded.

Each function returns the problems, with the field to change first.
"""

from __future__ import annotations

from llmservice_contract import engine_arguments
from llmservice_contract import engine_settings as rows
from llmservice_contract.choices import AttentionBackend, SpeculativeMethod
from llmservice_contract.combinations import COMBINATIONS
from llmservice_contract.setting import shown
from llmservice_contract.source import Directory, Repository, Source
from llmservice_runtime.launcher.values import Problem, Values


def contradictions(values: Values, source: Source | None, draft: Source | None) -> list[Problem]:
    """Problems of values that are valid alone but not together."""
    return [
        *_revision(values, source),
        *_flash_attention(values),
        *_nodes(values),
        *_combinations(values),
        *_speculation(values, source, draft),
        *_tracing(values),
        *_ports(values),
        *_devices(values),
        *_extra_arguments(values),
        *_parsers(values),
        *_chat_template(values),
    ]


def _revision(values: Values, source: Source | None) -> list[Problem]:
    revision = values.given(rows.MODEL_REVISION)
    if revision is None or source is None or isinstance(source, Repository):
        return []
    kind = "a directory" if isinstance(source, Directory) else "S3"
    text = (
        f"{revision} is not allowed beside {values.shown(rows.MODEL_SOURCE)}: {kind} has no revisions, only a hub's "
        "repository has."
    )
    return [Problem.of(text, rows.MODEL_REVISION)]


def _flash_attention(values: Values) -> list[Problem]:
    flash, attention = values.given(rows.ENABLE_FLASH_ATTENTION), values[rows.ATTENTION]
    if flash is None:
        return []
    others = (AttentionBackend.TRITON, AttentionBackend.FLASHINFER) if flash.value else (AttentionBackend.FLASH,)
    if attention not in others:
        return []
    text = f"{flash} contradicts {values.shown(rows.ATTENTION)}: take one of them out."
    return [Problem.of(text, rows.ENABLE_FLASH_ATTENTION, rows.ATTENTION)]


def _nodes(values: Values) -> list[Problem]:
    nodes, rank = values[rows.NODES_PER_REPLICA], values[rows.NODE_RANK]
    devices = values[rows.TENSOR_PARALLEL] * values[rows.PIPELINE_PARALLEL]
    found = []
    if rank >= nodes:
        found.append(
            Problem.of(
                f"{values.shown(rows.NODE_RANK)} is not allowed: it must be below "
                f"{values.shown(rows.NODES_PER_REPLICA)}.",
                rows.NODE_RANK,
                rows.NODES_PER_REPLICA,
            )
        )
    if nodes > 1 and values.get(rows.MASTER_ADDRESS) is None:
        found.append(
            Problem.of(
                f"{values.shown(rows.NODES_PER_REPLICA)} needs {rows.MASTER_ADDRESS.name}, the host name or address of "
                "rank 0.",
                rows.NODES_PER_REPLICA,
            )
        )
    if nodes > 1 and values.get(rows.ADAPTERS) is not None:
        found.append(
            Problem.of(
                f"{rows.ADAPTERS.name} is not allowed with {values.shown(rows.NODES_PER_REPLICA)}: only the pod of "
                "rank 0 would fetch the adapters' files. Take it out.",
                rows.ADAPTERS,
                rows.NODES_PER_REPLICA,
            )
        )
    if devices % nodes:
        found.append(
            Problem.of(
                f"{values.shown(rows.NODES_PER_REPLICA)} is not allowed with {values.shown(rows.TENSOR_PARALLEL)} and "
                f"{values.shown(rows.PIPELINE_PARALLEL)}: each node needs an equal part of the {devices} devices. Set "
                "it to a number that divides them.",
                rows.NODES_PER_REPLICA,
            )
        )
    return found


def _speculation(values: Values, source: Source | None, draft: Source | None) -> list[Problem]:
    method, model = values.given(rows.SPECULATIVE_METHOD), values.given(rows.SPECULATIVE_MODEL)
    revision = values.given(rows.SPECULATIVE_REVISION)
    if method is None:
        methods = " or ".join(SpeculativeMethod)
        return [
            Problem.of(
                f"{given} is not allowed without {rows.SPECULATIVE_METHOD.name}: set that to {methods}, or take it "
                "out.",
                setting,
            )
            for setting in (rows.SPECULATIVE_MODEL, rows.SPECULATIVE_REVISION, rows.SPECULATIVE_TOKENS)
            if (given := values.given(setting)) is not None
        ]
    found = []
    if not method.value.needs_model and model is not None:
        found.append(
            Problem.of(f"{model.name} is not allowed with {method}, which needs no model.", rows.SPECULATIVE_MODEL)
        )
    if revision is not None and not isinstance(draft, Repository):
        found.append(
            Problem.of(
                f"{revision} is allowed only beside {rows.SPECULATIVE_MODEL.name} that is a hub's repository: take it "
                "out.",
                rows.SPECULATIVE_REVISION,
                rows.SPECULATIVE_MODEL,
            )
        )
    if method.value.needs_model and model is None:
        found.append(
            Problem.of(
                f"{method} needs {rows.SPECULATIVE_MODEL.name}, the small model that guesses.", rows.SPECULATIVE_METHOD
            )
        )
    if model is not None and draft is not None and source is not None and not _of_one_place(draft, source):
        found.append(
            Problem.of(
                f"{model.name}={shown(model.text)} is not allowed beside {values.shown(rows.MODEL_SOURCE)}: both have "
                "to be directories, or repositories of the same hub.",
                rows.SPECULATIVE_MODEL,
            )
        )
    return found


def _of_one_place(draft: Source, source: Source) -> bool:
    match draft, source:
        case Directory(), Directory():
            return True
        case Repository(endpoint=one), Repository(endpoint=other):
            return one == other
    return False


def _combinations(values: Values) -> list[Problem]:
    """Values that exclude each other, by the table that the CRD's rules are made from too."""
    found = []
    for row in COMBINATIONS:
        each = [values.get(setting) for setting in row.settings]
        if None not in each and row.excludes(*each):
            text = row.message.format(*map(values.shown, row.settings))
            found.append(Problem.of(f"{text}.", *row.settings))
    return found


def _tracing(values: Values) -> list[Problem]:
    sampling = values.given(rows.TRACE_SAMPLING)
    if sampling is None or values.given(rows.TRACING_ENDPOINT) is not None:
        return []
    text = f"{sampling} is not allowed without {rows.TRACING_ENDPOINT.name}: set that, or take it out."
    return [Problem.of(text, rows.TRACE_SAMPLING)]


def _ports(values: Values) -> list[Problem]:
    if values[rows.PORT] != values[rows.METRICS_PORT_ROW]:
        return []
    port, metrics = rows.PORT.name, rows.METRICS_PORT_ROW.name
    text = f"{port} and {metrics} are both {values[rows.PORT]}. Set {metrics} to another port."
    return [Problem.of(text, rows.METRICS_PORT_ROW)]


def _extra_arguments(values: Values) -> list[Problem]:
    """What this image's vLLM takes: the operator, which has looked already, may be of another version."""
    found = []
    for name, value in sorted((values.get(rows.EXTRA_ARGS) or {}).items()):
        refusal = engine_arguments.check_argument(name, value)
        if refusal is not None:
            found.append(Problem.of(f"{rows.EXTRA_ARGS.name}: {refusal.message}; {refusal.fix}.", rows.EXTRA_ARGS))
    return found


def _parsers(values: Values) -> list[Problem]:
    found = []
    for row, names in (
        (rows.TOOL_CALL_PARSER, engine_arguments.TOOL_CALL_PARSERS),
        (rows.REASONING_PARSER, engine_arguments.REASONING_PARSERS),
    ):
        given = values.given(row)
        if given is not None and given.value not in (engine_arguments.NO_PARSER, *names):
            hint = engine_arguments.nearest(given.value, names)
            found.append(Problem.of(f"{given} is no parser of vLLM {engine_arguments.VLLM_VERSION}{hint}.", row))
    return found


def _chat_template(values: Values) -> list[Problem]:
    given = values.given(rows.CHAT_TEMPLATE)
    if given is None or given.value.startswith("/") or given.value in engine_arguments.CHAT_TEMPLATES:
        return []
    text = f"{given} is no template of vLLM: these are {', '.join(engine_arguments.CHAT_TEMPLATES)}."
    return [Problem.of(text, rows.CHAT_TEMPLATE)]


def _devices(values: Values) -> list[Problem]:
    """Settings that do not apply to the device, by the table."""
    found = []
    for given in values.without_effect(values[rows.ACCELERATOR]):
        setting = rows.BY_VARIABLE[given.name]
        instead = rows.BY_FIELD[setting.instead].name if setting.instead else ""
        advice = f"Take it out and set {instead}." if instead else "Take it out."
        found.append(
            Problem.of(
                f"{given} is not allowed with {values.shown(rows.ACCELERATOR)}: {setting.elsewhere}. {advice}", setting
            )
        )
    return found
