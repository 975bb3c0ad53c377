"""One row of the table of causes: what vLLM writes, what that means, and what to change.

The words of a row are templates over what its pattern found and the engine's own environment. A row whose advice
depends on the numbers gives a function for it.
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
    """What to do; both parts may be templates."""

    fix: str
    field: str = ""
    """The path of the field to change first."""


@dataclass(frozen=True, slots=True)
class Found:
    """What advice may depend on."""

    groups: Mapping[str, str]
    """What the pattern's named groups found; empty text for one that took no part."""
    environment: Mapping[str, str]
    """The variables that vLLM was started with, under their current names."""

    @property
    def on_cpu(self) -> bool:
        """Whether the engine computes on a CPU."""
        return "VLLM_CPU_KVCACHE_SPACE" in self.environment

    def number(self, name: str) -> float:
        """What the group `name` found, as a number; 0 if it found none."""
        try:
            return float(self.groups.get(name) or 0)
        except ValueError:
            return 0


@dataclass(frozen=True, slots=True)
class Rule:
    """A pattern, and what its text in vLLM's output means."""

    cause: Cause
    pattern: str
    message: str
    advice: Advice | Callable[[Found], Advice]
    alternative: str = ""
    """What else the text may mean, as a part of a sentence and a template; empty if it can mean nothing else."""

    def tell(self, text: str, environment: Mapping[str, str]) -> Diagnosis | None:
        """The diagnosis if `text`, a line without its log prefix, says what this row is about."""
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
    """What a message may say of the model without a pattern for it."""
    return {
        "model": environment.get(MODEL_SOURCE.name, "of the model"),
        "revision": environment.get(MODEL_REVISION.name, "of that name"),
    }
