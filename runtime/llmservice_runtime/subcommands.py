"""The subcommands of `python -m llmservice_runtime [serve | print | inspect | fetch | drain]`.

serve (the default) checks the environment and runs vLLM, as one rank of a group if a replica has several nodes. print
shows the command line that serve would run, with the variables that it adds or changes. inspect reports the model's
facts as one line of JSON, on stdout and in the termination log. fetch puts the model's files into a cache that engines
read. drain makes the running engine finish its requests before it is stopped.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from llmservice_contract import causes, container
from llmservice_contract import engine_settings as rows
from llmservice_contract.causes import Cause
from llmservice_contract.choices import AcceleratorType, LoadFormat, ModelFormat, QuantizationMethod, Runner
from llmservice_contract.engine_arguments import NO_PARSER
from llmservice_contract.finding import Finding
from llmservice_contract.inspection import Inspection, failure_to_json
from llmservice_contract.quantization import storage
from llmservice_contract.source import Directory, ObjectPrefix
from llmservice_runtime.cannot_serve import CannotServe
from llmservice_runtime.launcher import launcher
from llmservice_runtime.launcher.command import NO_NODE_ROLE, Command, make_command
from llmservice_runtime.launcher.cpu import emulates_gpu, has_avx512, on_cpu, stands_in, without_effect
from llmservice_runtime.launcher.listen_address import listen_address
from llmservice_runtime.launcher.platform_ca import trust_platform_ca
from llmservice_runtime.launcher.pre_stop import DrainRequest
from llmservice_runtime.launcher.settings import NO_PARSERS, Parsers, Settings, WrongSettings, read_settings
from llmservice_runtime.launcher.vllm_version import EngineTooOld, NoEngine, find_engine
from llmservice_runtime.model import chat_template, digest, model_files, weights
from llmservice_runtime.model.checkpoint import WrongCheckpoint, check_engines_on_cpu, check_on_cpu, quantization_flag
from llmservice_runtime.model.hub_token import check_token
from llmservice_runtime.model.inspection import inspect
from llmservice_runtime.model.offline import Model, reach_hub
from llmservice_runtime.model.unreadable import ModelUnreadable
from llmservice_runtime.multi_node import start as group
from llmservice_runtime.vllm_plugins.api_server import PluginMissing, check_plugin

USAGE = "usage: python -m llmservice_runtime [serve | print [--json] | inspect | fetch | drain]"
REFUSALS: dict[type[CannotServe], Cause] = {
    WrongSettings: causes.WRONG_SETTINGS,
    WrongCheckpoint: causes.WRONG_CHECKPOINT,
    ModelUnreadable: causes.MODEL_UNREADABLE,
    NoEngine: causes.NO_ENGINE,
    EngineTooOld: causes.ENGINE_TOO_OLD,
    PluginMissing: causes.NO_ENGINE,
}


def main() -> int:
    """Runs the subcommand and returns the exit code."""
    environ = os.environ
    environ.update(NO_NODE_ROLE)
    log = Path(environ.get(container.TERMINATION_LOG_VARIABLE) or container.TERMINATION_LOG)
    match sys.argv[1:]:
        case [] | ["serve"]:
            return _serve(environ, log)
        case ["print"]:
            return _print(environ)
        case ["print", "--json"]:
            return _print(environ, as_json=True)
        case ["inspect"]:
            return _inspect(environ, log)
        case ["fetch"]:
            return _fetch(environ, log)
        case ["drain"]:
            return _drain(environ)
    print(USAGE, file=sys.stderr)
    return container.EXIT_WRONG_SETTINGS


def _serve(environ: Mapping[str, str], log: Path) -> int:
    """Returns an exit code if serving is impossible; otherwise another program replaces this process."""
    try:
        trust_platform_ca(os.environ)
        settings = _settings(environ)
        group.check_secret(settings)
        program = find_engine(settings.accelerator)
        check_plugin()
        command = _command(settings, environ)
    except tuple(REFUSALS) as error:
        return _stop(error, log)
    if settings.values[rows.NODES_PER_REPLICA] > 1:
        launcher.say("starting with all ranks: " + shlex.join(["vllm", *command.arguments]))
        return group.exec_agent(settings, program, command, log)
    drain = DrainRequest.of(settings)
    launcher.say("starting: " + shlex.join(["vllm", *command.arguments]))
    return launcher.exec_launcher([program, *command.arguments], command.environment, log, drain.port, drain.seconds)


def _print(environ: Mapping[str, str], *, as_json: bool = False) -> int:
    try:
        trust_platform_ca(os.environ)
        command = _command(_settings(environ), environ)
    except tuple(REFUSALS) as error:
        return _refuse(error)
    arguments = ["vllm", *command.arguments]
    changed = {name: value for name, value in sorted(command.environment.items()) if environ.get(name) != value}
    if as_json:
        print(json.dumps({"command": arguments, "environment": changed}))
    else:
        print(shlex.join([*(f"{name}={value}" for name, value in changed.items()), *arguments]))
    return 0


def _settings(environ: Mapping[str, str]) -> Settings:
    settings = read_settings(environ)
    if not emulates_gpu(settings, environ):
        return settings
    lost = without_effect(settings)
    launcher.say(
        f"a CPU emulates {settings.values.shown(rows.ACCELERATOR)} ({container.CPU_STANDS_IN_VARIABLE}=1)"
        + (f"; {lost} has no effect." if lost else ".")
    )
    return on_cpu(settings)


def _command(settings: Settings, environ: Mapping[str, str]) -> Command:
    """The command of vLLM, after the checks of model and device."""
    check_token(settings.source, environ)
    for source, field in ((settings.source, "spec.model.source"), (settings.draft, "spec.engine.speculative.model")):
        if isinstance(source, Directory):
            model_files.check_directory(Path(source.path), field)
    if reach_hub(_models(settings)):
        environ = {**environ, "HF_HUB_OFFLINE": "1"}
    revision, wanted = settings.values.get(rows.MODEL_REVISION), settings.values.get(rows.MODEL_DIGEST)
    digest.check_source(settings.source, revision, wanted)
    model_files.check_config(settings.source, revision)
    _check_engines(settings)
    load_format = weights.load_format(settings.source, settings.values.get(rows.MODEL_REVISION))
    return make_command(
        settings,
        _quantization(settings, environ),
        _load_format(settings, load_format),
        environ,
        _parsers(settings),
        listen_address(),
    )


def _check_engines(settings: Settings) -> None:
    engines = settings.values.get(rows.DATA_PARALLEL) or 1
    if settings.accelerator is not AcceleratorType.CPU or engines == 1:
        return
    try:
        config = model_files.read_config(settings.source, settings.values.get(rows.MODEL_REVISION))
    except ModelUnreadable:
        return  # vLLM reports why
    check_engines_on_cpu(config, engines)


def _models(settings: Settings) -> list[Model]:
    """The model and its draft model, each with its revision."""
    speculation = settings.speculation
    draft = [] if speculation is None or speculation.draft is None else [(speculation.draft, speculation.revision)]
    return [(settings.source, settings.values.get(rows.MODEL_REVISION)), *draft]


def _load_format(settings: Settings, found: str) -> str:
    """The value of --load-format: what the spec says, else what goes with the files."""
    if isinstance(settings.source, ObjectPrefix):
        return found
    match settings.values.get(rows.MODEL_FORMAT), settings.values.get(rows.LOAD_FORMAT):
        case _, LoadFormat() as chosen:
            return str(chosen)
        case ModelFormat.MISTRAL, _:
            return weights.MISTRAL
        case ModelFormat.HF, _:
            return weights.SAFETENSORS
    return found


def _parsers(settings: Settings) -> Parsers:
    """Those that the spec names, else the model's own."""
    tools, reasoning = settings.values.get(rows.TOOL_CALL_PARSER), settings.values.get(rows.REASONING_PARSER)
    serves = settings.values[rows.NODE_RANK] == 0 and settings.values.get(rows.RUNNER) is not Runner.POOLING
    if not serves:
        return NO_PARSERS
    found = NO_PARSERS
    if tools is None or reasoning is None:
        found = chat_template.parsers(
            settings.source, settings.values.get(rows.MODEL_REVISION), settings.values.get(rows.CHAT_TEMPLATE)
        )
    chosen = Parsers(tools or found.tool_calls, reasoning or found.reasoning)
    return Parsers(*(None if name == NO_PARSER else name for name in (chosen.tool_calls, chosen.reasoning)))


def _quantization(settings: Settings, environ: Mapping[str, str]) -> str | None:
    """The value of --quantization. Reads the checkpoint if the settings or the processor depend on it."""
    for_cpu = settings.accelerator is AcceleratorType.CPU
    method = settings.values[rows.QUANTIZATION]
    if method is QuantizationMethod.AUTO and (not for_cpu or has_avx512()):
        return None
    try:
        stored = storage(model_files.read_config(settings.source, settings.values.get(rows.MODEL_REVISION)))
    except ModelUnreadable:
        if method is QuantizationMethod.AUTO:
            return None  # vLLM knows other ways to store a configuration
        raise
    flag = quantization_flag(method, stored)
    if flag and for_cpu and stands_in(environ):
        launcher.say(f"{settings.values.shown(rows.QUANTIZATION)} has no effect: a CPU doesn't quantize while loading.")
        flag = None
    if for_cpu:
        check_on_cpu(stored, flag, avx512=has_avx512())
    return flag


def _inspect(environ: Mapping[str, str], log: Path) -> int:
    try:
        trust_platform_ca(os.environ)
        settings = read_settings(environ)
    except WrongSettings as error:
        _report(error.diagnosis(causes.WRONG_SETTINGS).finding, log)
        return container.EXIT_WRONG_SETTINGS
    try:
        check_token(settings.source, environ)
        wanted = settings.values.get(rows.MODEL_DIGEST)
        result = inspect(settings.source, settings.values.get(rows.MODEL_REVISION), settings.speculation, wanted)
    except ModelUnreadable as error:
        result = error.finding
    _report(result, log)
    return container.EXIT_NO_MODEL if isinstance(result, Finding) else 0


def _fetch(environ: Mapping[str, str], log: Path) -> int:
    from llmservice_runtime.fetch import command  # aiohttp is slow to import

    try:
        trust_platform_ca(os.environ)
        settings = read_settings(environ)
    except WrongSettings as error:
        _report(error.diagnosis(causes.WRONG_SETTINGS).finding, log)
        return container.EXIT_WRONG_SETTINGS
    return command.run(settings.source, settings.values.get(rows.MODEL_REVISION), environ, log)


def _report(result: Inspection, log: Path) -> None:
    text = failure_to_json(result) if isinstance(result, Finding) else result.to_json()
    launcher.write_termination_log(log, text)
    print(text)


def _drain(environ: Mapping[str, str]) -> int:
    """The exit code is always 0: a failing preStop hook does not prevent the stop, and only causes an Event."""
    try:
        print(DrainRequest.of(read_settings(environ)).run())
    except WrongSettings as error:
        print(f"not drained: {error}")
    return 0


def _stop(error: CannotServe, log: Path) -> int:
    launcher.write_termination_log(log, error.diagnosis(REFUSALS[type(error)]).to_json())
    return _refuse(error)


def _cause(error: CannotServe) -> Cause:
    return error.cause if isinstance(error, ModelUnreadable) else REFUSALS[type(error)]


def _refuse(error: CannotServe) -> int:
    for problem in str(error).splitlines():
        launcher.say(problem)
    return _cause(error).exit_code
