"""The commits of the model's and the draft model's repository that a service uses.

A branch or tag moves, and each restart would load its current commit. So the inspection resolves the commit once and
stores it in ``status.model.revision`` (``draftRevision``). All replicas use it until the spec names another source or
revision. Services of earlier versions of the operator stay without a commit, because pinning one would restart their
pods.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from llmservice_contract.engine_settings import (
    MODEL_REVISION,
    MODEL_SOURCE,
    SPECULATIVE_MODEL,
    SPECULATIVE_REVISION,
    with_current_names,
)
from llmservice_contract.source import Repository
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.api.status import ModelFacts
from llmservice_operator.planner.model import pods
from llmservice_operator.planner.model.state import ServiceState
from llmservice_operator.resources import environment

_COMMIT = re.compile(r"[0-9a-f]{40}")
_OF_MODEL = (MODEL_SOURCE.name, MODEL_REVISION.name, "HF_ENDPOINT")
_OF_DRAFT = (SPECULATIVE_MODEL.name, SPECULATIVE_REVISION.name, "HF_ENDPOINT")


def waits(state: ServiceState, spec: LLMServiceSpec) -> bool:
    """Whether pods have to wait until the commit is known."""
    of_model = moves(spec) and not _runs_unpinned(state, spec)
    return of_model or (_draft_moves(spec) and not _draft_runs_unpinned(state, spec))


def draft_waits(state: ServiceState, spec: LLMServiceSpec, known: ModelFacts | None) -> bool:
    """Whether the commit of the draft model is needed and these facts lack it."""
    resolved = known is not None and known.draft == draft_key(spec)
    return _draft_moves(spec) and not resolved and not _draft_runs_unpinned(state, spec)


def with_draft(spec: LLMServiceSpec, read: ModelFacts | None, known: ModelFacts | None) -> ModelFacts | None:
    """The facts after an inspection. If it was only for the draft model, the ``known`` facts and commit of the model
    are kept."""
    if read is None:
        return known
    draft = {"draft": draft_key(spec), "draft_revision": read.draft_revision}
    kept = known is not None and known.draft != draft["draft"] and known.configuration is not None
    return (known if known is not None and kept else read).model_copy(update=draft)


def draft_key(spec: LLMServiceSpec) -> str | None:
    """Source and revision of the draft model, if it is in a hub."""
    draft = spec.engine.speculative
    if draft is None or not isinstance(draft.parsed_model, Repository):
        return None
    return f"{draft.model}@{draft.revision}" if draft.revision else draft.model


def used(state: ServiceState, spec: LLMServiceSpec, facts: ModelFacts | None) -> ModelFacts | None:
    """The facts with the commit that the pods use; without a commit if they use none."""
    if facts is None:
        return None
    unpinned = {"revision": _runs_unpinned(state, spec), "draft_revision": _draft_runs_unpinned(state, spec)}
    return facts.model_copy(update={name: None for name, without in unpinned.items() if without})


def pinned(spec: LLMServiceSpec, facts: ModelFacts | None) -> LLMServiceSpec:
    """The spec with the commit of ``facts``, which must be a result of ``used``."""
    if facts is None:
        return spec
    draft = facts.draft_revision if facts.draft == draft_key(spec) else None
    return _at_commits(spec, facts.revision, draft)


def pinned_by_status(spec: LLMServiceSpec, status: Mapping[str, Any]) -> LLMServiceSpec:
    """The spec with the commit in a service's status, if that has the same source and revision."""
    model = status.get("model") or {}
    commit = model.get("revision") if model.get("source") == facts_key(spec) else None
    draft = model.get("draftRevision") if model.get("draft") == draft_key(spec) else None
    return _at_commits(spec, commit, draft)


def facts_key(spec: LLMServiceSpec) -> str:
    """Source and revision that model facts belong to."""
    revision = f"@{spec.model.revision}" if spec.model.revision else ""
    return spec.model.source + revision


def moves(spec: LLMServiceSpec) -> bool:
    """Whether the source is a branch or tag of a hub."""
    revision = spec.model.revision
    hub = isinstance(spec.model.parsed_source, Repository)
    return hub and (revision is None or _COMMIT.fullmatch(revision) is None)


def _draft_moves(spec: LLMServiceSpec) -> bool:
    draft = spec.engine.speculative
    if draft is None or draft_key(spec) is None:
        return False
    return draft.revision is None or _COMMIT.fullmatch(draft.revision) is None


def _at_commits(spec: LLMServiceSpec, of_model: object, of_draft: object) -> LLMServiceSpec:
    changes: dict[str, Any] = {}
    if moves(spec) and isinstance(of_model, str):
        changes["model"] = spec.model.model_copy(update={"revision": of_model})
    if _draft_moves(spec) and isinstance(of_draft, str) and spec.engine.speculative is not None:
        draft = spec.engine.speculative.model_copy(update={"revision": of_draft})
        changes["engine"] = spec.engine.model_copy(update={"speculative": draft})
    return spec.model_copy(update=changes) if changes else spec


def _draft_runs_unpinned(state: ServiceState, spec: LLMServiceSpec) -> bool:
    """Whether pods with this draft model exist, without a commit."""
    return _draft_moves(spec) and _run_with(state, spec, _OF_DRAFT)


def _runs_unpinned(state: ServiceState, spec: LLMServiceSpec) -> bool:
    """Whether pods with this source and revision exist, without a commit."""
    return moves(spec) and _run_with(state, spec, _OF_MODEL)


def pods_use_model(state: ServiceState, spec: LLMServiceSpec) -> bool:
    """Whether the pods are of this source, at whatever commit."""
    return _run_with(state, spec, (MODEL_SOURCE.name, "HF_ENDPOINT"))


def _run_with(state: ServiceState, spec: LLMServiceSpec, names: Sequence[str]) -> bool:
    """Whether the pods have these variables as in the spec."""
    live = state.statefulset
    if live is None:
        return False
    asked = environment.inspection(spec)
    for name in pods.environments(live["spec"]["template"]):
        data = with_current_names((state.child("ConfigMap", name) or {}).get("data") or {})
        return all(data.get(variable) == asked.get(variable) for variable in names)
    return False
