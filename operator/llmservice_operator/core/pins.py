"""The commit of a hub's repository that a service is served from.

A branch or tag moves, and each restart would load what it stands for then. So the commit is found once, when the model
is read, and recorded in ``status.model.revision``; all replicas use it until the spec names another source or revision.
A service that an earlier version of the operator made goes on without: a pin of its own accord would restart its pods.
"""

import re
from collections.abc import Mapping
from typing import Any

from llmservice_contract.engine_settings import MODEL_REVISION, MODEL_SOURCE, with_current_names
from llmservice_contract.source import Repository
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.api.status import ModelFacts
from llmservice_operator.core import pods
from llmservice_operator.core.situation import Situation
from llmservice_operator.render import environment

_COMMIT = re.compile(r"[0-9a-f]{40}")
_OF_MODEL = (MODEL_SOURCE.name, MODEL_REVISION.name, "HF_ENDPOINT")


def waits(situation: Situation, spec: LLMServiceSpec) -> bool:
    """Whether pods have to wait until the commit is known."""
    return _moves(spec) and not _runs_unpinned(situation, spec)


def used(situation: Situation, spec: LLMServiceSpec, facts: ModelFacts | None) -> ModelFacts | None:
    """The facts with the commit that the pods use; without one where they use none."""
    if facts is None or not _runs_unpinned(situation, spec):
        return facts
    return facts.model_copy(update={"revision": None})


def pinned(spec: LLMServiceSpec, facts: ModelFacts | None) -> LLMServiceSpec:
    """The spec at the commit of ``facts``, which are those that ``used`` gave."""
    if not _moves(spec) or facts is None or facts.revision is None:
        return spec
    model = spec.model.model_copy(update={"revision": facts.revision})
    return spec.model_copy(update={"model": model})


def pinned_by_status(spec: LLMServiceSpec, status: Mapping[str, Any]) -> LLMServiceSpec:
    """The spec at the commit that a service's status tells, if that is of the same source and revision."""
    model = status.get("model") or {}
    commit = model.get("revision")
    if model.get("source") != facts_key(spec) or not isinstance(commit, str) or not _moves(spec):
        return spec
    return spec.model_copy(update={"model": spec.model.model_copy(update={"revision": commit})})


def facts_key(spec: LLMServiceSpec) -> str:
    """Which model facts are of: source and revision."""
    revision = f"@{spec.model.revision}" if spec.model.revision else ""
    return spec.model.source + revision


def _moves(spec: LLMServiceSpec) -> bool:
    revision = spec.model.revision
    hub = isinstance(spec.model.parsed_source, Repository)
    return hub and (revision is None or _COMMIT.fullmatch(revision) is None)


def _runs_unpinned(situation: Situation, spec: LLMServiceSpec) -> bool:
    """Whether pods of just this source and revision are there, and at no commit."""
    live = situation.statefulset
    if live is None or not _moves(spec):
        return False
    asked = environment.inspection(spec)
    for name in pods.environments(live["spec"]["template"]):
        data = with_current_names((situation.child("ConfigMap", name) or {}).get("data") or {})
        return all(data.get(variable) == asked.get(variable) for variable in _OF_MODEL)
    return False
