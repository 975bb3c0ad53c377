"""Reads the facts of a model that the operator needs before it starts: heads, layers, size, quantization."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import msgspec

from llmservice_contract import configuration
from llmservice_contract.inspection import Inspection, ModelFacts
from llmservice_contract.quantization import storage
from llmservice_contract.source import ObjectPrefix, Repository, Source
from llmservice_runtime.launcher.settings import Speculation
from llmservice_runtime.model import bucket, digest, hub
from llmservice_runtime.model.model_files import check_is_no_speculator, read_config, sizes, total
from llmservice_runtime.model.remote_code import needs_remote_code
from llmservice_runtime.model.unreadable import ModelUnreadable
from llmservice_runtime.model.weights import check_kind, format_of

DRAFT = "spec.engine.speculative.model"


def inspect(
    source: Source, revision: str | None, speculation: Speculation | None = None, wanted_digest: str | None = None
) -> Inspection:
    """The facts of the model, with the commit of the draft model's repository if there is one; or why the model can't
    be read, or that its weights have another digest than ``wanted_digest``. Never raises because of the model."""
    found = _inspect(source, revision, wanted_digest)
    draft = speculation.draft if speculation is not None else None
    if speculation is None or not isinstance(draft, Repository) or not isinstance(found, ModelFacts):
        return found
    try:
        listing = hub.listing(draft, speculation.revision)
        format_of(listing.sizes, draft.name, DRAFT)
    except ModelUnreadable as error:
        return dataclasses.replace(error.finding, field=DRAFT)
    return msgspec.structs.replace(found, draft_revision=listing.commit)


def _inspect(source: Source, revision: str | None, wanted_digest: str | None) -> Inspection:
    try:
        if isinstance(source, Repository):
            found = hub.listing(source, revision)
            check_kind(found.sizes, source.name)
            stated = digest.of_files(found.stated)
            digest.check(wanted_digest, stated, source.name)
            # At the commit, so that all facts are from the same state of the repository.
            config = read_config(source, found.commit or revision)
            read = facts(config, _weights(found.sizes, source.name), found.commit)
            return msgspec.structs.replace(read, digest=stated)
        stated = digest.of_files(bucket.weights_stated(source)) if isinstance(source, ObjectPrefix) else None
        digest.check(wanted_digest, stated, source.argument)
        read = facts(read_config(source), _weights(sizes(source), source.argument))
        return msgspec.structs.replace(read, digest=stated)
    except ModelUnreadable as error:
        return error.finding


def facts(whole: Mapping[str, Any], weights: int | None, commit: str | None = None) -> ModelFacts:
    """Facts of config.json as vLLM reads it: of a multimodal model, the text part. Raises ModelUnreadable."""
    check_is_no_speculator(whole, "the model")
    text = whole.get("text_config")
    config: Mapping[str, Any] = text if isinstance(text, Mapping) else whole
    architectures = whole.get("architectures")
    heads = _number(config, "num_attention_heads", "n_head", "num_heads")
    return ModelFacts(
        architecture=str(architectures[0]) if isinstance(architectures, list) and architectures else None,
        attention_heads=heads,
        key_value_heads=_number(config, "num_key_value_heads", "num_kv_heads") or heads,
        layers=_number(config, "num_hidden_layers", "n_layer", "num_layers"),
        max_context_length=_context(config),
        quantization=storage(whole).method,
        weight_bytes=weights,
        configuration=_packed(whole),
        revision=commit,
        remote_code=True if needs_remote_code(whole) else None,
    )


def _weights(files: Mapping[str, int], where: str) -> int | None:
    """Size of the weights. Raises ModelUnreadable if there are only pickles."""
    format_of(files, where)
    return total(files)


def _packed(whole: Mapping[str, Any]) -> str | None:
    """None also if it is not strict JSON, such as a NaN."""
    try:
        return configuration.packed(configuration.relevant(whole))
    except ValueError:
        return None


def _context(config: Mapping[str, Any]) -> int | None:
    """Where both names have a number, vLLM takes the smaller one."""
    named = (_number(config, "max_position_embeddings", "n_positions"), _number(config, "max_seq_len"))
    return min((length for length in named if length is not None), default=None)


def _number(config: Mapping[str, Any], *names: str) -> int | None:
    for name in names:
        value = config.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return None
