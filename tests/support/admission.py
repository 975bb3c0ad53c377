"""A ValidatingAdmissionPolicy of the chart, decided without an API server: its CEL is evaluated here.

The evaluator is another than the API server's. tests/cluster/test_chart_admission.py asks that one, too.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import cel

Json = dict[str, Any]


def policy(objects: Sequence[Json], suffix: str) -> Json:
    """The rendered policy whose name ends so."""
    kind = "ValidatingAdmissionPolicy"
    (found,) = (each for each in objects if each["kind"] == kind and each["metadata"]["name"].endswith(suffix))
    return found


def denials(
    policy: Json, obj: Json, before: Json | None = None, *, user: str = "somebody", namespace: str = "team-a"
) -> list[str]:
    """Messages of the validations that fail; none where the policy does not match."""
    context: dict[str, Any] = {
        "object": obj,
        "oldObject": before,
        "request": {"operation": "UPDATE" if before else "CREATE", "userInfo": {"username": user}},
        "namespaceObject": {"metadata": {"name": namespace}},
        "variables": {},
    }
    spec = policy["spec"]
    if not all(_evaluate(each["expression"], context) for each in spec.get("matchConditions", ())):
        return []
    for variable in spec.get("variables", ()):
        context["variables"][variable["name"]] = _evaluate(variable["expression"], context)
    return [each["message"] for each in spec["validations"] if not _evaluate(each["expression"], context)]


def _evaluate(expression: str, values: Mapping[str, Any]) -> Any:
    context = cel.Context()
    for name, value in values.items():
        context.add_variable(name, value)
    return cel.compile(expression).execute(context)
