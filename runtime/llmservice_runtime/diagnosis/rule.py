"""One rule: a pattern for vLLM's output, the cause that it means, and what to change.

Its texts are templates over the pattern's groups and the engine's environment. If the advice depends on numbers, the
rule has a function for it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from llmservice_contract.causes import Cause
from llmservice_contract.diagnosis import Diagnosis
from llmservice_contract.engine_settings import MODEL_REVISION, MODEL_SOURCE
from llmservice_contract.finding import Finding

NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")


@dataclass(frozen=True, slots=True)
class Advice:
    """What to change; both texts may be templates."""

    fix: str
    field: str = ""
    """The path of the field to change first."""


@dataclass(frozen=True, slots=True)
class Found:
    """The input of advice."""

    groups: Mapping[str, str]
    """The pattern's named groups; an empty text for a group that did not match."""
    environment: Mapping[str, str]
    """The variables that vLLM was started with, under their current names."""

    @property
    def on_cpu(self) -> bool:
        """Whether the engine computes on a CPU."""
        return "VLLM_CPU_KVCACHE_SPACE" in self.environment

    def number(self, name: str) -> float:
        """The group `name` as a number; 0 if it did not match."""
        try:
            return float(self.groups.get(name) or 0)
        except ValueError:
            return 0


@dataclass(frozen=True, slots=True)
class Rule:
    """A pattern for a line of vLLM's output, and its meaning."""

    cause: Cause
    pattern: str
    message: str
    advice: Advice | Callable[[Found], Advice]
    alternative: str = ""
    """Another possible meaning, as part of a sentence and a template; empty if there is none."""

    def apply(self, text: str, environment: Mapping[str, str]) -> Diagnosis | None:
        """The diagnosis if the pattern matches `text`, a line without its log prefix."""
        match = re.search(self.pattern, text)
        if match is None:
            return None
        found = Found({name: value or "" for name, value in match.groupdict().items()}, environment)
        advice = self.advice if isinstance(self.advice, Advice) else self.advice(found)
        words = {**_named(environment), **found.groups}
        finding = Finding(
            self.cause.name,
            self.message.format_map(words),
            numbers={name: value for name, value in found.groups.items() if NUMBER.fullmatch(value)},
            alternative=self.alternative.format_map(words),
            field=advice.field,
            fix=advice.fix.format_map(words),
        )
        return Diagnosis(finding, self.cause.exit_code, text.strip())


def _named(environment: Mapping[str, str]) -> dict[str, str]:
    """Values of the environment that a template may use."""
    return {
        "model": environment.get(MODEL_SOURCE.name, "of the model"),
        "revision": environment.get(MODEL_REVISION.name, "of that name"),
    }
