"""The request of `kubectl llm fit`, from files and options. Errors in them are a Failure."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pydantic

from llmservice_contract.choices import AcceleratorType
from llmservice_contract.mistral_format import PARAMS, as_config, is_params
from llmservice_operator.api import KIND
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.cli import manifests
from llmservice_operator.cli.failure import Failure
from llmservice_operator.cli.terminal import say
from llmservice_operator.gpu_memory import gpus
from llmservice_operator.gpu_memory.gpus import GPU
from llmservice_operator.gpu_memory.request import Lora, Request
from llmservice_operator.planner.conditions.fits import question
from llmservice_operator.planner.model.spec_errors import explain

CONFIG = "config.json"
INDEX = "model.safetensors.index.json"
LARGEST_FILE = 64 << 20


def requests(options: argparse.Namespace) -> list[tuple[GPU, Request]]:
    """One request for each GPU that the service may get. Raises Failure."""
    spec = service(options.filename)
    if spec.engine.extra_args:
        say(f"Not counted in the estimate: spec.engine.extraArgs ({', '.join(sorted(spec.engine.extra_args))}).")
    config, stored = model(options)
    lora = Lora(options.max_loras, options.max_lora_rank) if options.max_loras else None
    draft = configuration(options.draft_model_config) if options.draft_model_config else None
    if draft is not None and (spec.engine.speculative is None or spec.engine.speculative.model is None):
        raise Failure(f"--draft-model-config: {options.filename} has no draft model (spec.engine.speculative.model)")
    asked = (
        (gpu, question(spec, config, gpu, stored_bytes=stored, parameters=options.parameters, draft_config=draft))
        for gpu in _gpus(options, spec)
    )
    return [(gpu, replace(request, vllm=options.vllm, lora=lora or request.lora)) for gpu, request in asked]


def service(path: str) -> LLMServiceSpec:
    """The spec of the one LLMService of a manifest. Raises Failure."""
    found = manifests.services([path])
    if len(found) != 1:
        raise Failure(f"{path} has {len(found)} {KIND}s: pass a manifest with exactly one")
    try:
        return LLMServiceSpec.model_validate(found[0].get("spec"))
    except pydantic.ValidationError as error:
        raise Failure(f"the {KIND} of {path} is not valid: {explain(error)}") from None


def model(options: argparse.Namespace) -> tuple[Mapping[str, Any], int | None]:
    """config.json, and the size of the weights' files if it is known. Raises Failure."""
    if options.model is None:
        config = configuration(options.model_config)
        return config, total_size(options.model_index) if options.model_index else None
    directory = Path(options.model)
    # A checkpoint in Mistral's own format may have no config.json.
    name = CONFIG if (directory / CONFIG).exists() or not (directory / PARAMS).exists() else PARAMS
    config = configuration(str(directory / name))
    if options.model_index:
        return config, total_size(options.model_index)
    if (directory / INDEX).is_file():
        return config, total_size(str(directory / INDEX))
    return config, sum(file.stat().st_size for file in directory.glob("*.safetensors")) or None


def configuration(path: str) -> dict[str, Any]:
    """What config.json says of a model, from that file or from its params.json. Raises Failure."""
    found = json_object(path)
    return as_config(found) if is_params(found) else found


def total_size(path: str) -> int:
    """Size of the weights' files in bytes, from their index. Raises Failure."""
    total = json_object(path).get("metadata", {}).get("total_size")
    if isinstance(total, float) and total.is_integer():
        total = int(total)
    if not isinstance(total, int) or isinstance(total, bool) or total <= 0:
        raise Failure(f"{path} has no metadata.total_size: it is not an index of safetensors; set --parameters instead")
    return total


def _gpus(options: argparse.Namespace, spec: LLMServiceSpec) -> list[GPU]:
    if options.gpu_memory is not None:
        return [gpus.of_memory(options.gpu_memory)]
    if spec.accelerator.type is AcceleratorType.CPU and options.gpu is None:
        return [GPU("CPU", 0)]
    wanted = [options.gpu] if options.gpu is not None else spec.accelerator.products or []
    if not wanted:
        raise Failure(
            "the spec names no GPU in accelerator.products: set --gpu, such as H100, or --gpu-memory, such as 79.18"
        )
    return [_gpu(name, spec.accelerator.type) for name in wanted]


def _gpu(name: str, vendor: AcceleratorType) -> GPU:
    gpu = gpus.find(name)
    if gpu is None:
        similar = ", ".join(gpus.similar(name))
        raise Failure(
            f"{name} is not a known GPU: set --gpu-memory to its memory in GiB as PyTorch reports it"
            + (f", or --gpu to one of {similar}" if similar else "")
        )
    if gpu.vendor is not None and gpu.vendor != vendor:
        raise Failure(f"{gpu.name} is a GPU of {gpu.vendor}, but spec.accelerator.type is {vendor}: change one of them")
    return gpu


def json_object(path: str) -> dict[str, Any]:
    """The JSON object of a file. Raises Failure."""
    try:
        found = json.loads(text(path))
    except (ValueError, RecursionError):
        raise Failure(f"{path} is not JSON") from None
    if not isinstance(found, dict):
        raise Failure(f"{path} is not a JSON object")
    return found


def text(path: str) -> str:
    """A file, or stdin for -. Raises Failure."""
    try:
        if path == "-":
            return sys.stdin.read(LARGEST_FILE)
        if Path(path).stat().st_size > LARGEST_FILE:
            raise Failure(f"{path} is larger than {LARGEST_FILE >> 20} MiB")
        return Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise Failure(f"{path} can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Failure(f"{path} is not text in UTF-8") from None
