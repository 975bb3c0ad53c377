"""Notes about what a plan does not show otherwise: what is not known, and what a change does beside pods."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from llmservice_operator.cli.plan.service_plan import PlannedChange

Spec = Mapping[str, Any]
_FIT_FIELDS = ("model", "parallelism", "quantization", "accelerator", "engine")
"""Parts of the spec on which the memory estimate depends."""


def notes(
    answer: PlannedChange,
    before: Spec | None,
    after: Spec,
    *,
    is_model_known: bool,
    draft_model: str | None = None,
    is_draft_known: bool = False,
) -> Iterator[str]:
    """``before`` is None for a new service."""
    old = before or {}
    if answer.after.fit is None and _on_gpus(after) and any(old.get(each) != after.get(each) for each in _FIT_FIELDS):
        yield (
            "whether the model fits its GPUs is not known: set spec.accelerator.products"
            if is_model_known
            else "whether the model fits its GPUs is not known: pass its config.json by --model-config"
        )
    if is_draft_known and not draft_model:
        yield "--draft-model-config is not used: the service has no draft model (spec.engine.speculative.model)"
    if draft_model and not is_draft_known and answer.after.fit is not None:
        yield f"the memory of the draft model {draft_model} is not known: pass its config.json by --draft-model-config"
    further = (after.get("engine") or {}).get("extraArgs") or {}
    if answer.after.fit is not None and further:
        yield f"the memory estimate does not count spec.engine.extraArgs ({', '.join(sorted(further))})"
    if before is not None:
        yield from _keys(before, after)
        yield from _disks(before, after)


def scaled(spec: Spec) -> Iterator[str]:
    """For a scaled service whose number of replicas can't be read."""
    scaling = spec.get("scaling")
    if isinstance(scaling, Mapping) and spec.get("replicas") is None:
        least = scaling.get("minReplicas", 1)
        yield f"assuming {least} replicas (spec.scaling.minReplicas): the autoscaler sets the number by the load"


def _keys(before: Spec, after: Spec) -> Iterator[str]:
    old, new = (_secret(each) for each in (before, after))
    if old and not new:
        yield (
            f"spec.access.apiKeys is removed: every client that can connect may use the service, and the keys in the "
            f"Secret {old} are no longer asked for"
        )
    elif old and new != old:
        yield f"the keys in the Secret {old} become invalid: only those in the Secret {new} are accepted"
    elif new and not old:
        yield f"every request needs an API key from the Secret {new}: clients without one get 401"


def _secret(spec: Spec) -> str:
    access = spec.get("access") or {}
    return str((((access.get("apiKeys") or {}).get("secretRef")) or {}).get("name") or "")


def _disks(before: Spec, after: Spec) -> Iterator[str]:
    old, new = ((each.get("cache") or {}).get("size") for each in (before, after))
    if old and new and old != new:
        yield f"existing volume claims keep their size of {old}: only new ones get {new} (spec.cache.size)"


def _on_gpus(spec: Spec) -> bool:
    return (spec.get("accelerator") or {}).get("type") != "cpu"
