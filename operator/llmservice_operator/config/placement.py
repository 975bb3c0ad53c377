"""Which placements services may ask for: a JSON object with lists of the chart value ``allowed``."""

import re
from typing import Any

from llmservice_operator.config.section import Problems, json_object
from llmservice_operator.resources.placements import AllowedPlacement

FIELDS = {
    "tolerations": "tolerations",
    "nodeSelectorKeys": "node_selector_keys",
    "priorityClassNames": "priority_class_names",
    "runtimeClassNames": "runtime_class_names",
    "schedulerNames": "scheduler_names",
}
"""Each list of the JSON object, and the field that it sets."""
MOST_ENTRIES = 100
_NAME = re.compile(r"\*|[A-Za-z0-9][A-Za-z0-9._/-]{0,251}\*?")
_TAINT = re.compile(_NAME.pattern + r"|[A-Za-z0-9][A-Za-z0-9._/-]{0,251}=[A-Za-z0-9._-]{0,63}")


def read_allowed_placement(text: str) -> AllowedPlacement:
    """Read the lists. A list that is absent has its default, one that is empty allows nothing. Raises Problems."""
    given = json_object(text, f"with lists of names: {', '.join(FIELDS)}")
    problems = [problem for name, entries in given.items() if (problem := _problem(name, entries))]
    if problems:
        raise Problems(*problems)
    return AllowedPlacement(**{FIELDS[name]: tuple(entries) for name, entries in given.items()})


def _problem(name: str, entries: Any) -> str:
    if name not in FIELDS:
        return f"{name} is unknown; the lists are {', '.join(FIELDS)}"
    if not isinstance(entries, list) or len(entries) > MOST_ENTRIES:
        return f"{name} must be a list of at most {MOST_ENTRIES} names"
    pattern = _TAINT if name == "tolerations" else _NAME
    wrong = next((each for each in entries if not isinstance(each, str) or not pattern.fullmatch(each)), None)
    if wrong is None:
        return ""
    shape = (
        "a taint's key, KEY=VALUE or a beginning such as" if name == "tolerations" else "a name or a beginning such as"
    )
    return f"{name} has {str(wrong)[:100]!r}, which is not {shape} example.com/*"
