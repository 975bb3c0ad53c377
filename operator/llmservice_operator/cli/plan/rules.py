"""Validates an LLMService without an API server.

Bounds are the types' own. The CEL rules of the CRD are evaluated if the optional package
`common-expression-language` is installed (the extra `plan`); without it, and for a rule that it can't evaluate, the
plan says that only the API server checks them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from functools import cache
from typing import Any

import pydantic

from llmservice_operator.api import KIND
from llmservice_operator.api.crd import root_schema
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.cli.plan.service_plan import DryRunRefusal
from llmservice_operator.planner.model.spec_errors import explain
from llmservice_operator.resources import quantity

RULES, TYPES = "rules", "types"
EVALUATOR = "common-expression-language>=0.10,<0.11"
"""What the extra `plan` installs. Notes name it, not the extra, because it can be installed from PyPI."""
_VALIDATIONS = "x-kubernetes-validations"


def objections(service: Mapping[str, Any]) -> tuple[list[DryRunRefusal], list[str]]:
    """Errors of the service, and what could not be checked."""
    what = f"{KIND} {service['metadata']['name']}"
    try:
        LLMServiceSpec.model_validate(service.get("spec"))
    except pydantic.ValidationError as error:
        return [DryRunRefusal(TYPES, what, explain(error).message)], []
    checked = list(_checks(service, _schema(), ""))
    twice = [DryRunRefusal(TYPES, what, f"{path} has a duplicate item") for path in _duplicates(service, _schema(), "")]
    if twice:
        return twice, []
    evaluate = _evaluator()
    if evaluate is None:
        return [], [
            f"{len(checked)} rules of the CRD were not checked, because only the API server can evaluate them. To "
            f"check them here too, install a package: pip install '{EVALUATOR}'"
        ]
    refused, unknown = [], 0
    for path, rule, value in checked:
        try:
            good = evaluate(rule["rule"], value)
        except Exception:  # of whatever kind: the evaluator is another's, and the API server has the last word
            unknown += 1
            continue
        if not good:
            refused.append(
                DryRunRefusal(RULES, what, f"{path}{rule.get('fieldPath', '')}: {rule['message']}".lstrip(".: "))
            )
    return refused, [
        f"{unknown} rules of the CRD were not checked, because only the API server can evaluate them"
    ] if unknown else []


def _checks(value: Any, schema: Mapping[str, Any], path: str) -> Iterator[tuple[str, Mapping[str, str], Any]]:
    """Each rule that holds for a part of the object that is there: its path, the rule, and that part."""
    for rule in schema.get(_VALIDATIONS) or ():
        yield path, rule, value
    if isinstance(value, dict):
        rest = schema.get("additionalProperties")
        for key, below in value.items():
            known = (schema.get("properties") or {}).get(key, rest if isinstance(rest, dict) else None)
            if known is not None and below is not None:
                yield from _checks(below, known, f"{path}.{key}".lstrip("."))
    elif isinstance(value, list) and isinstance(schema.get("items"), dict):
        for index, below in enumerate(value):
            yield from _checks(below, schema["items"], f"{path}[{index}]")


def _duplicates(value: Any, schema: Mapping[str, Any], path: str) -> Iterator[str]:
    """Lists with a duplicate item in which the API server allows none."""
    if isinstance(value, dict):
        for key, below in value.items():
            yield from _duplicates(below, (schema.get("properties") or {}).get(key) or {}, f"{path}.{key}".lstrip("."))
    elif isinstance(value, list):
        keys = schema.get("x-kubernetes-list-map-keys") or ()
        if schema.get("x-kubernetes-list-type") in ("set", "map"):
            known = [[item.get(key) for key in keys] if isinstance(item, dict) else item for item in value]
            if any(item in known[:index] for index, item in enumerate(known)):
                yield path
        for index, below in enumerate(value):
            yield from _duplicates(below, schema.get("items") or {}, f"{path}[{index}]")


@cache
def _schema() -> dict[str, Any]:
    return root_schema()


@cache
def _evaluator() -> Callable[[str, Any], bool] | None:
    """Evaluates a rule on ``self``; None if the package is not installed."""
    try:
        import cel
    except ImportError:
        return None
    compiled = cache(cel.compile)

    def evaluate(rule: str, value: Any) -> bool:
        context = cel.Context()
        for name, function in _FUNCTIONS.items():
            context.add_function(name, function)
        context.add_variable("self", value)
        return bool(compiled(rule).execute(context))

    return evaluate


def _amount(of: Mapping[str, str]) -> Fraction:
    return Fraction(of[_AMOUNT])


def _compared(one: Mapping[str, str], other: Mapping[str, str]) -> int:
    return (_amount(one) > _amount(other)) - (_amount(one) < _amount(other))


_AMOUNT = "amount"
_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "quantity": lambda text: {_AMOUNT: str(quantity.parse(text))},  # the evaluator knows no fractions
    "compareTo": _compared,
    "isInteger": lambda one: _amount(one).denominator == 1,
    "asInteger": lambda one: int(_amount(one)),
    "split": lambda text, separator: text.split(separator),
}
"""Kubernetes' extensions of CEL, as far as the rules use them."""
