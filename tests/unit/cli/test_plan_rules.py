"""What the CRD refuses, found out without an API server: the same as a real one does, rule by rule, bound by bound."""

from __future__ import annotations

import builtins
import tomllib
from pathlib import Path
from typing import Any

import pytest

from builders.refusals import CASES, Case
from builders.services import a_service
from llmservice_operator.cli.plan import rules
from support.probes import Probe, probes

ROOT = Path(__file__).parents[3]
PROBES = [probe for probe in probes() if not probe.on_status]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_rule_of_the_crd_is_evaluated(case: Case) -> None:
    accepted, notes = rules.objections(_named(case.accepted.build()))
    assert (accepted, notes) == ([], [])
    refused, _ = rules.objections(_named(case.refused.build()))
    assert any(case.says in each.message or each.by == "types" for each in refused)


def test_bounds_are_those_of_the_crd() -> None:
    wrong = [str(probe.bound) for probe in PROBES if _as_an_api_server(probe) is not probe.accepted]
    assert not wrong


def test_a_refusal_names_the_field_and_says_what_to_do() -> None:
    (refusal,), _ = rules.objections(a_service().with_spec(engine={"kvCacheMemory": "4Gi"}).build())
    assert (refusal.by, refusal.what) == ("rules", "LLMService chat")
    assert refusal.message.startswith("spec.engine: engine.kvCacheMemory is not for accelerator.type nvidia or amd")


def test_without_the_optional_package_it_says_what_is_left_to_the_api_server(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_cel(name: str, *arguments: Any, **more: Any) -> Any:
        if name == "cel":
            raise ImportError(name)
        return real(name, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", without_cel)
    rules._evaluator.cache_clear()
    try:
        refused, (note,) = rules.objections(a_service().with_spec(engine={"kvCacheMemory": "4Gi"}).build())
    finally:
        rules._evaluator.cache_clear()
    assert not refused
    assert "only the API server can evaluate them" in note
    (needed,) = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["plan"]
    assert f"pip install '{needed}'" in note


def _as_an_api_server(probe: Probe) -> bool:
    return not rules.objections(probe.object)[0]


def _named(service: dict[str, Any]) -> dict[str, Any]:
    service["metadata"].setdefault("name", "chat")
    return service
