"""What the pinned vLLM's own build_app registers, printed as one line of JSON. For the engine's Python alone:

    python -P tests/support/vllm_app.py

The environment is the runtime's. "openapi" is the schema of the app that the runtime starts; "routes" are the rows of
this app and of apps with every switch on, over all tasks; "mounts" are the paths under which other apps answer.
`-P` keeps Python from taking the file operator.py beside this one for its own module.
"""

from __future__ import annotations

import json
import os
import re
import sys
from argparse import Namespace
from collections.abc import Iterable, Iterator
from types import SimpleNamespace
from typing import Any

from llmservice_runtime.launcher.command import make_command
from llmservice_runtime.launcher.settings import read_settings

SWITCHES = {"VLLM_SERVER_DEV_MODE": "1", "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1", "VLLM_ENABLE_COHERE_API": "1"}
FLAGS = (
    *("--enable-scale-out", "--enable-tokenizer-info-endpoint", "--enable-fault-tolerance", "--tokens-only"),
    *("--profiler-config", '{"profiler": "torch", "torch_profiler_dir": "/tmp"}'),
)
DOCS = "--disable-fastapi-docs"


def main() -> None:
    from starlette.routing import Mount

    command = make_command(read_settings(os.environ), None, "safetensors", os.environ)
    os.environ |= command.environment
    started = build(command.arguments, "generate")
    openapi = started.openapi()
    os.environ |= SWITCHES
    arguments = [each for each in command.arguments if each != DOCS] + list(FLAGS)
    apps = [started, *everything(arguments)]
    found = {row for app in apps for row in rows(app)}
    mounts = {route.path for app in apps for route in app.routes if isinstance(route, Mount)}
    print(json.dumps({"routes": sorted(found), "mounts": sorted(mounts), "openapi": openapi}))


def everything(arguments: list[str]) -> Iterator[Any]:
    """Apps with every switch on; some routes are there for some models alone."""
    from vllm.tasks import FRONTEND_TASKS, GENERATION_TASKS, POOLING_TASKS

    yield build(arguments, *GENERATION_TASKS)
    yield build([*arguments, "--enable-offline-docs"], *FRONTEND_TASKS)
    for task in POOLING_TASKS:
        yield build(arguments, task)


def build(arguments: Iterable[str], *tasks: str) -> Any:
    """vLLM's app for a model with these tasks."""
    from vllm.entrypoints.launchers.app import build_app

    model = SimpleNamespace(get_pooling_task=lambda tasks: tasks[0], hf_config=SimpleNamespace(num_labels=1))
    args = parse(arguments)
    args.middleware = []  # the front is made once in a process
    return build_app(args, tasks, model)


def parse(arguments: Iterable[str]) -> Namespace:
    from vllm.entrypoints.launchers.cli_args import make_arg_parser
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    serve, *rest = arguments
    assert serve == "serve"
    return make_arg_parser(FlexibleArgumentParser()).parse_args(rest)


def rows(app: Any) -> Iterator[str]:
    """Its routes as the front's table writes them: HEAD is GET, a parameter is {id}."""
    from starlette.routing import WebSocketRoute

    for route in app.routes:
        path = re.sub(r"\{\w+(:path)?\}", "{id}", route.path)
        if isinstance(route, WebSocketRoute):
            yield f"WEBSOCKET {path}"
        for method in getattr(route, "methods", None) or ():
            if method != "HEAD":
                yield f"{method} {path}"


if __name__ == "__main__":
    sys.exit(main())
