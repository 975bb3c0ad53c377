"""Evaluates the CEL of the chart's ValidatingAdmissionPolicies without an API server.

The evaluator is not that of the API server; tests/cluster/test_chart_admission.py tests with both.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import cel

Json = dict[str, Any]


def policy(objects: Sequence[Json], suffix: str) -> Json:
    """The rendered policy whose name ends so."""
    kind = "ValidatingAdmissionPolicy"
    (found,) = (each for each in objects if each["kind"] == kind and each["metadata"]["name"].endswith(suffix))
    return found


def denials(
    policy: Json,
    obj: Json | None,
    before: Json | None = None,
    *,
    user: str = "other-user",
    namespace: str = "team-a",
    params: Sequence[Json] = (),
    dry_run: bool = False,
    may: Callable[[str, str], bool] = lambda resource, verb: False,
) -> list[str]:
    """Messages of the validations that fail; none if the policy does not match. Without ``obj``, ``before`` is
    deleted. A policy on services of the namespace is decided for each of ``params``, and lets nothing be created
    without any. ``may`` says whether the user has a verb on a resource, such as patch on llmservices/status."""
    found = obj or before or {}
    operation = ("UPDATE" if before else "CREATE") if obj else "DELETE"
    if operation not in _operations(policy, found) or not _selected(policy, obj, before):
        return []
    context: dict[str, Any] = {
        "object": obj,
        "oldObject": before,
        "request": {
            "operation": operation,
            "namespace": namespace,
            "userInfo": {"username": user},
            "resource": {"resource": plural(found)},
            "dryRun": dry_run,
        },
        "namespaceObject": {"metadata": {"name": namespace}},
        "authorizer": {},
        "may": may,
    }
    spec = policy["spec"]
    if "paramKind" not in spec:
        return _denials(spec, context)
    if not params:
        return ["no params"] if operation == "CREATE" else []  # for any user
    return [each for service in params for each in _denials(spec, {**context, "params": service})]


def _selected(policy: Json, *objects: Json | None) -> bool:
    wanted = policy["spec"]["matchConstraints"].get("objectSelector", {}).get("matchLabels", {}).items()
    return any(each and wanted <= each["metadata"].get("labels", {}).items() for each in objects)


def plural(obj: Json) -> str:
    """The resource of an object's kind."""
    kind = str(obj.get("kind", "")).lower()
    return f"{kind[:-1]}ies" if kind.endswith("y") else f"{kind}s"


def _operations(policy: Json, obj: Json) -> set[str]:
    rules = policy["spec"]["matchConstraints"]["resourceRules"]
    matched = [rule for rule in rules if not obj.get("kind") or plural(obj) in rule["resources"]]
    return {name for rule in matched for name in rule["operations"]}


def _matches(spec: Json, context: Mapping[str, Any]) -> bool:
    return all(_evaluate(each["expression"], context) for each in spec.get("matchConditions", ()))


def _denials(spec: Json, context: Mapping[str, Any]) -> list[str]:
    if not _matches(spec, context):
        return []
    variables: Json = {}
    values = {**context, "variables": variables}
    for variable in spec.get("variables", ()):
        variables[variable["name"]] = _evaluate(variable["expression"], values)
    return [each["message"] for each in spec["validations"] if not _evaluate(each["expression"], values)]


def _evaluate(expression: str, values: Mapping[str, Any]) -> Any:
    context = cel.Context()
    context.add_function("split", lambda text, separator: text.split(separator))
    for part in ("group", "resource", "subresource", "namespace", "check"):
        context.add_function(part, functools.partial(_asking, part))
    may = values.get("may")
    context.add_function("allowed", lambda asked: bool(may and may(*_asked(asked))))
    for name, value in values.items():
        if name != "may":
            context.add_variable(name, value)
    return _compiled(expression).execute(context)


@functools.cache
def _compiled(expression: str) -> Any:
    return cel.compile(expression)


def _asking(part: str, asked: Json, value: str) -> Json:
    return {**asked, part: value}


def _asked(asked: Json) -> tuple[str, str]:
    """Resource with its subresource, and verb."""
    return "/".join(asked[each] for each in ("resource", "subresource") if each in asked), asked["check"]
