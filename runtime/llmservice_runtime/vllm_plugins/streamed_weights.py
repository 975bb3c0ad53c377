"""Which of a model's safetensors vLLM streams, if it is stored in two formats.

Repositories of Mistral have all weights twice: in consolidated*.safetensors beside params.json, and in other files
beside config.json. Without streaming vLLM loads one of them, but its Run:ai streamer reads every *.safetensors that it
lists, and fails on names that the model does not have (vLLM issue 40765).
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from llmservice_contract import engine_settings as rows
from llmservice_contract import mistral_format
from llmservice_contract.choices import ModelFormat

_LOADER = "vllm.model_executor.model_loader.runai_streamer_loader"
_LISTING = "list_safetensors"


def install(environ: Mapping[str, str] = os.environ) -> None:
    """Lists from now on only the files of the format that vLLM reads the configuration of; harmless if repeated. A vLLM
    that is built in another way is left as it is."""
    from vllm.transformers_utils import runai_utils

    listing = getattr(runai_utils, _LISTING, None)
    if listing is None or hasattr(listing, "__wrapped__"):
        return
    chosen = _of_one_format(listing, environ.get(rows.MODEL_FORMAT.name))
    for module in (runai_utils, sys.modules.get(_LOADER)):
        if getattr(module, _LISTING, None) is listing:
            setattr(module, _LISTING, chosen)


def _of_one_format(listing: Callable[[str], list[str]], model_format: str | None) -> Callable[[str], list[str]]:
    @functools.wraps(listing)
    def chosen(path: str = "") -> list[str]:
        return of_one_format(listing(path), is_mistral=_is_mistral(path, model_format))

    return chosen


def of_one_format(files: list[str], *, is_mistral: bool) -> list[str]:
    """The files of one format; all of them if they have only one."""
    consolidated = [file for file in files if file.rpartition("/")[2].startswith("consolidated")]
    others = [file for file in files if file not in set(consolidated)]
    if not consolidated or not others:
        return files
    return consolidated if is_mistral else others


def _is_mistral(path: str, model_format: str | None) -> bool:
    """Whether vLLM reads params.json. Of an object store it does so only if it is configured to."""
    if model_format:
        return model_format == ModelFormat.MISTRAL
    return (Path(path) / mistral_format.PARAMS).is_file()
