"""A plan for a pull request and for programs: Markdown and JSON."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from unit.cli.person import LONGER, Person

ROOT = Path(__file__).parents[3]


def test_a_comment_for_a_pull_request(person: Person) -> None:
    done = person.plan(person.manifest(LONGER), options="-o markdown")
    assert done.out.startswith("### 🟢 `team-a/chat`: all 3 replicas are replaced one after the other")
    assert "| 1 | chat-2 is replaced | 2 | 3 |" in done.out.splitlines()
    assert "| `spec.model.maxContextLength` | `nothing` | `2048` | replaces pods |" in done.out.splitlines()
    assert "+   data.MODEL_MAX_CONTEXT_LENGTH: 2048" in done.out.splitlines()
    assert done.out.count("```") == 2


def test_every_field_of_the_json_is_documented(person: Person) -> None:
    person.runs(2, 3, cache={"size": "1Gi"})
    reported = [person.json(LONGER | {"replicas": 9}), person.json({"cache": {"size": "2Gi"}})]
    documented = set(re.findall(r"`([A-Za-z]+)`", (ROOT / "docs" / "plan.md").read_text()))
    assert _names(reported) <= documented, _names(reported) - documented


def _names(of: Any) -> set[str]:
    """All keys, but for those below values of a spec and children."""
    if isinstance(of, list):
        return set().union(*map(_names, of))
    if isinstance(of, dict):
        return set(of).union(
            *(_names(value) for key, value in of.items() if key not in ("before", "after") or "path" not in of)
        )
    return set()
