"""From a ref to a plain model: ``resolve`` replaces ``spec.model.ref`` by what the catalogue's entry says.

It is called once, where a service is observed. Everything after it sees a model with a source, and does not know
whether it came from the catalogue.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import pydantic

from llmservice_contract.choices import QuantizationMethod
from llmservice_contract.finding import Finding
from llmservice_contract.source import BadSource, parse_spec_source
from llmservice_operator.api.catalogue import ClusterLLMModelSpec, LLMModelSpec
from llmservice_operator.api.model import CatalogueKind, Model, ModelReference
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.planner.model.spec_errors import explain
from llmservice_operator.planner.report import phrases, reasons

Object = Mapping[str, Any]
REF = "spec.model.ref"
SPECS: Mapping[CatalogueKind, type[LLMModelSpec]] = {
    CatalogueKind.LLM_MODEL: LLMModelSpec,
    CatalogueKind.CLUSTER_LLM_MODEL: ClusterLLMModelSpec,
}


@dataclasses.dataclass(frozen=True)
class Resolution:
    """A service's spec with a plain model."""

    spec: LLMServiceSpec
    """It has a source and no ref."""
    entry: LLMModelSpec
    """The spec of the catalogue's model."""

    @property
    def is_of_platform(self) -> bool:
        """Whether the platform offers the model, so that its list of sources does not limit it."""
        return isinstance(self.entry, ClusterLLMModelSpec)


def resolve(namespace: str, spec: LLMServiceSpec, models: Iterable[Object], *, readable: bool) -> Resolution | Finding:
    """The spec of a service of ``namespace`` with the model that its ref names, or why it may not use it. ``models``:
    objects of the catalogue, of any namespace. ``readable``: whether the operator can read models of that kind. The
    spec must have a ref."""
    ref = spec.model.ref
    if ref is None:
        raise ValueError("the spec has no ref")
    found = next((each for each in models if is_named(each, namespace, ref)), None)
    if found is None:
        return _not_found(namespace, ref, readable=readable)
    if not found.get("spec"):  # the cache keeps only the identity of objects beyond its limits
        return Finding(
            reasons.MODEL_INVALID,
            f"{_named(namespace, ref)} can't be read: the objects of the namespace are too large or too many",
            field=REF,
            fix="delete models of the catalogue or services that are not needed",
        )
    try:
        entry = SPECS[ref.kind].model_validate(found["spec"])
        parse_spec_source(entry.source)
    except pydantic.ValidationError as error:
        return Finding(reasons.MODEL_INVALID, f"{_named(namespace, ref)}: {explain(error).message}", field=REF)
    except BadSource as error:
        return Finding(reasons.MODEL_INVALID, f"{_named(namespace, ref)}: spec.source is invalid: {error}", field=REF)
    return (
        _namespace_not_selected(namespace, ref, entry)
        or _quantization_not_allowed(namespace, ref, spec, entry)
        or _draft_elsewhere(namespace, ref, spec, entry)
        or Resolution(spec.model_copy(update={"model": _plain(spec.model, entry)}), entry)
    )


def plain(namespace: str, service: Object, models: Iterable[Object]) -> Object:
    """The service with the plain model that its ref names; unchanged if it names none or may not use it."""
    try:
        spec = LLMServiceSpec.model_validate(service.get("spec"))
    except pydantic.ValidationError:
        return service
    if spec.model.ref is None:
        return service
    found = resolve(namespace, spec, models, readable=True)
    if isinstance(found, Finding):
        return service
    model = found.spec.model.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {**service, "spec": {**service["spec"], "model": model}}


def is_named(model: Object, namespace: str, ref: ModelReference) -> bool:
    """Whether a ref of a service of ``namespace`` names this object of the catalogue."""
    meta = model["metadata"]
    own = ref.kind is not CatalogueKind.LLM_MODEL or meta.get("namespace") == namespace
    return bool(model["kind"] == ref.kind and meta["name"] == ref.name and own)


def ref_of(service: Object) -> tuple[str, str, str] | None:
    """Kind, namespace (empty for a ClusterLLMModel) and name of the model that a service names; None if it names
    none. The service may be invalid."""
    model = (service.get("spec") or {}).get("model")
    ref = model.get("ref") if isinstance(model, Mapping) else None
    if not isinstance(ref, Mapping):
        return None
    kind, name = ref.get("kind", CatalogueKind.LLM_MODEL), ref.get("name")
    if kind not in tuple(CatalogueKind) or not isinstance(name, str):
        return None
    namespace = service["metadata"]["namespace"] if kind == CatalogueKind.LLM_MODEL else ""
    return str(kind), str(namespace), name


def _plain(model: Model, entry: LLMModelSpec) -> Model:
    """The service's names and context length, and all that identifies the weights from the catalogue."""
    return model.model_copy(
        update={
            "ref": None,
            "source": entry.source,
            "revision": entry.revision,
            "digest": entry.digest,
            "format": entry.format,
            "credentials_ref": entry.credentials_ref,
            "size": entry.size,
        }
    )


def _named(namespace: str, ref: ModelReference) -> str:
    return f"{ref.kind} {f'{namespace}/' if ref.kind is CatalogueKind.LLM_MODEL else ''}{ref.name}"


def _not_found(namespace: str, ref: ModelReference, *, readable: bool) -> Finding:
    if not readable:
        return Finding(
            reasons.MODEL_NOT_FOUND,
            f"spec.model.ref names {_named(namespace, ref)}, but the operator can't read objects of kind {ref.kind}",
            field=REF,
            fix="use spec.model.source, or ask the platform team to install the CRDs and the operator's ClusterRole"
            if ref.kind is CatalogueKind.CLUSTER_LLM_MODEL
            else "use spec.model.source, or ask the platform team to install the CRDs and the operator's roles",
        )
    others = "kubectl get clusterllmmodels" if ref.kind is CatalogueKind.CLUSTER_LLM_MODEL else "kubectl get llmmodels"
    return Finding(
        reasons.MODEL_NOT_FOUND,
        f"spec.model.ref names {_named(namespace, ref)}, which does not exist",
        field=REF,
        fix=f"create it, or name another one: {others} lists them",
    )


def _namespace_not_selected(namespace: str, ref: ModelReference, entry: LLMModelSpec) -> Finding | None:
    if entry.is_offered_to(namespace):
        return None
    return Finding(
        reasons.MODEL_NOT_ALLOWED,
        f"{_named(namespace, ref)} is not offered to namespace {namespace}",
        field=REF,
        fix=f"use another model, or ask the platform team to add {namespace} to its spec.namespaces.names",
    )


def _quantization_not_allowed(
    namespace: str, ref: ModelReference, spec: LLMServiceSpec, entry: LLMModelSpec
) -> Finding | None:
    method = spec.quantization.method
    if entry.quantizations is None or method is QuantizationMethod.AUTO or method in entry.quantizations:
        return None
    permitted = [QuantizationMethod.AUTO, *(each for each in entry.quantizations if each != QuantizationMethod.AUTO)]
    return Finding(
        reasons.QUANTIZATION_NOT_ALLOWED,
        f"spec.quantization.method is {method}, but {_named(namespace, ref)} allows {phrases.join_or(permitted)}",
        field="spec.quantization.method",
        fix="use an allowed method",
    )


def _draft_elsewhere(namespace: str, ref: ModelReference, spec: LLMServiceSpec, entry: LLMModelSpec) -> Finding | None:
    """As the rule of the CRD for a plain source: a token is sent only to the hub of the model."""
    draft = spec.engine.speculative
    if draft is None or draft.model is None:
        return None
    ours, theirs = entry.source.split("/"), draft.model.split("/")
    parts = 1 if entry.source.startswith("hf://") else 3
    if not entry.source.startswith("s3://") and ours[:parts] == theirs[:parts]:
        return None
    return Finding(
        reasons.INVALID_SETTING,
        f"spec.engine.speculative.model is {draft.model}, but {_named(namespace, ref)} is in {entry.source}: both must "
        "be in the same hub or the same pvc://CLAIM",
        field="spec.engine.speculative.model",
        fix="use a draft model from there",
    )
