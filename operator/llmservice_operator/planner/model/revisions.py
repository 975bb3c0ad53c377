"""The commit of a hub's repository that a service is served from, and that of its draft model's.

A branch or tag moves, and each restart would load what it stands for then. So the commit is found once, when the model
is read, and recorded in ``status.model.revision`` (``draftRevision``); all replicas use it until the spec names another
source or revision. A service that an earlier version of the operator made goes on without: a pin of its own accord
would restart its pods.
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
    of_model = _moves(spec) and not _runs_unpinned(state, spec)
    return of_model or (_draft_moves(spec) and not _draft_runs_unpinned(state, spec))


def draft_waits(state: ServiceState, spec: LLMServiceSpec, known: ModelFacts | None) -> bool:
    """Whether the commit of the draft model is to be found, and those facts have none."""
    told = known is not None and known.draft == draft_key(spec)
    return _draft_moves(spec) and not told and not _draft_runs_unpinned(state, spec)


def with_draft(spec: LLMServiceSpec, read: ModelFacts | None, known: ModelFacts | None) -> ModelFacts | None:
    """The facts after a reading: those of the model that are ``known`` stay, and so does its commit, where the reading
    was for the draft model."""
    if read is None:
        return known
    draft = {"draft": draft_key(spec), "draft_revision": read.draft_revision}
    kept = known is not None and known.draft != draft["draft"] and known.configuration is not None
    return (known if known is not None and kept else read).model_copy(update=draft)


def draft_key(spec: LLMServiceSpec) -> str | None:
    """Source and revision of the draft model, if it is a hub's."""
    draft = spec.engine.speculative
    if draft is None or not isinstance(draft.parsed_model, Repository):
        return None
    return f"{draft.model}@{draft.revision}" if draft.revision else draft.model


def used(state: ServiceState, spec: LLMServiceSpec, facts: ModelFacts | None) -> ModelFacts | None:
    """The facts with the commit that the pods use; without one where they use none."""
    if facts is None:
        return None
    unpinned = {"revision": _runs_unpinned(state, spec), "draft_revision": _draft_runs_unpinned(state, spec)}
    return facts.model_copy(update={name: None for name, without in unpinned.items() if without})


def pinned(spec: LLMServiceSpec, facts: ModelFacts | None) -> LLMServiceSpec:
    """The spec at the commit of ``facts``, which are those that ``used`` gave."""
    if facts is None:
        return spec
    draft = facts.draft_revision if facts.draft == draft_key(spec) else None
    return _at_commits(spec, facts.revision, draft)


def pinned_by_status(spec: LLMServiceSpec, status: Mapping[str, Any]) -> LLMServiceSpec:
    """The spec at the commit that a service's status tells, if that is of the same source and revision."""
    model = status.get("model") or {}
    commit = model.get("revision") if model.get("source") == facts_key(spec) else None
    draft = model.get("draftRevision") if model.get("draft") == draft_key(spec) else None
    return _at_commits(spec, commit, draft)


def facts_key(spec: LLMServiceSpec) -> str:
    """Which model facts are of: source and revision."""
    revision = f"@{spec.model.revision}" if spec.model.revision else ""
    return spec.model.source + revision


def _moves(spec: LLMServiceSpec) -> bool:
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
    if _moves(spec) and isinstance(of_model, str):
        changes["model"] = spec.model.model_copy(update={"revision": of_model})
    if _draft_moves(spec) and isinstance(of_draft, str) and spec.engine.speculative is not None:
        draft = spec.engine.speculative.model_copy(update={"revision": of_draft})
        changes["engine"] = spec.engine.model_copy(update={"speculative": draft})
    return spec.model_copy(update=changes) if changes else spec


def _draft_runs_unpinned(state: ServiceState, spec: LLMServiceSpec) -> bool:
    """Whether pods of just this draft model are there, and at no commit."""
    return _draft_moves(spec) and _run_with(state, spec, _OF_DRAFT)


def _runs_unpinned(state: ServiceState, spec: LLMServiceSpec) -> bool:
    """Whether pods of just this source and revision are there, and at no commit."""
    return _moves(spec) and _run_with(state, spec, _OF_MODEL)


def _run_with(state: ServiceState, spec: LLMServiceSpec, names: Sequence[str]) -> bool:
    """Whether the pods have these variables as the spec itself asks for them."""
    live = state.statefulset
    if live is None:
        return False
    asked = environment.inspection(spec)
    for name in pods.environments(live["spec"]["template"]):
        data = with_current_names((state.child("ConfigMap", name) or {}).get("data") or {})
        return all(data.get(variable) == asked.get(variable) for variable in names)
    return False
