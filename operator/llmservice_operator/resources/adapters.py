"""The ConfigMap with the list of LoRA adapters, which running engine pods reload. The list is no part of the pod
template, so a change of it restarts no pod."""

from typing import Any

from llmservice_contract.adapters import Adapter, AdapterList
from llmservice_contract.container import ADAPTERS_FILE
from llmservice_contract.source import Claim, ObjectPrefix, Repository, SpecSource
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.resources import kinds, names
from llmservice_operator.resources.objects import Owner, metadata, sealed


def has_adapters(spec: LLMServiceSpec) -> bool:
    """Whether the engine reserves memory for adapters and serves those of the list, which may be empty."""
    return bool(spec.adapters) or spec.engine.max_loras is not None


def make_adapters(owner: Owner, spec: LLMServiceSpec) -> dict[str, Any] | None:
    """The ConfigMap for ``spec``; None if the engine serves no adapters."""
    if not has_adapters(spec):
        return None
    listed = AdapterList(
        tuple(Adapter(each.name, _argument(each.parsed_source), each.revision) for each in spec.adapters or ())
    )
    return sealed(
        {
            **kinds.CONFIGMAP.header,
            "metadata": metadata(owner, names.adapters(owner.name), names.ENGINE_COMPONENT),
            "data": {ADAPTERS_FILE: listed.to_json()},
        }
    )


def _argument(source: SpecSource) -> str:
    """The source as the engine's environment has sources."""
    match source:
        case Repository(name=name, endpoint=None):
            return f"hf://{name}"
        case Repository(name=name, endpoint=endpoint):
            return f"{endpoint}/{name}"
        case Claim() | ObjectPrefix():
            return source.argument
