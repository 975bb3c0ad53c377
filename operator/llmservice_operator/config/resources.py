"""The setting for the resources of inspections: a JSON object as in a container's ``resources``."""

from llmservice_operator.config.section import Problems, json_object
from llmservice_operator.resources import quantity

_NAMES = ("cpu", "memory", "ephemeral-storage")
_PARTS = ("requests", "limits")


def read_resources(text: str) -> dict[str, dict[str, str]]:
    """Requests and limits in ``text``. Raises Problems."""
    given = json_object(text, f"with the keys {' and '.join(_PARTS)}")
    problems = [problem for part, entries in given.items() for problem in _problems(part, entries)]
    if problems:
        raise Problems(*problems)
    found = {part: {name: str(amount) for name, amount in entries.items()} for part, entries in given.items()}
    requests, limits = (found.get(part, {}) for part in _PARTS)
    for name in requests.keys() & limits.keys():
        if quantity.parse(requests[name]) > quantity.parse(limits[name]):
            raise Problems(f"requests {requests[name]} of {name}, above the limit of {limits[name]}")
    return found


def _problems(part: str, entries: object) -> list[str]:
    if part not in _PARTS or not isinstance(entries, dict):
        return [f"{part} is not one of {', '.join(_PARTS)} with amounts"]
    return [
        f"{part} has {name}: {str(amount)[:100]}, which is no amount of {', '.join(_NAMES)}"
        for name, amount in entries.items()
        if name not in _NAMES or not _is_amount(amount)
    ]


def _is_amount(amount: object) -> bool:
    try:
        return isinstance(amount, str | int) and not isinstance(amount, bool) and quantity.parse(amount) >= 0
    except ValueError:
        return False
