"""The condition Routed: whether the Gateways of the platform serve the service, by what their controllers write into
the status of its HTTPRoute and of its InferencePool.

Ready does not depend on it: the service answers at its Service too.
"""

import dataclasses
import datetime
from collections.abc import Iterator, Mapping
from typing import Any

from llmservice_operator.planner.conditions import accepted
from llmservice_operator.planner.model import timestamps
from llmservice_operator.planner.model.observed import Object
from llmservice_operator.planner.model.result import NO_RESULT, Result
from llmservice_operator.planner.model.state import ServiceState
from llmservice_operator.planner.report import phrases, reasons
from llmservice_operator.planner.report.condition import Verdict, no, unknown, yes
from llmservice_operator.resources import gateway_api, names
from llmservice_operator.resources.children import Children
from llmservice_operator.resources.kinds import HTTP_ROUTE, INFERENCE_POOL
from llmservice_operator.resources.platform import GatewayAPI, ParentRef

PATIENCE = datetime.timedelta(seconds=60)
"""How long a controller may take to report on a new route."""
LONGEST_REPORT = 600
"""Maximum length of a controller's message that is repeated, in characters."""
MOST_PARENTS, MOST_CONDITIONS = 32, 8
"""Maximum numbers in a status, by the API."""


def evaluate(state: ServiceState) -> Result:
    """The condition Routed; there is none if services are not attached to Gateways."""
    settings = state.observed.platform.gateway_api
    if settings is None:
        return NO_RESULT
    if not state.observed.platform.http_routes:
        return Result(_missing())
    conflict = accepted.check_names(state, _wanted(state))
    if conflict is not None:
        return Result(conflict)
    name = names.http_route(state.owner.name)
    route = next((each for each in state.own(HTTP_ROUTE.kind) if each["metadata"]["name"] == name), None)
    if route is None:
        return Result(unknown(reasons.AWAITING_GATEWAY, f"HTTPRoute {name} does not exist yet"))
    waits = list[ParentRef]()
    for parent in settings.parents:
        reports = list(_reports(route, state.owner.namespace, parent))
        problem = next((found for each in reports if (found := _problem_of_route(state, route, parent, each))), None)
        if problem is not None:
            return Result(problem)
        if not any(_is(each, "Accepted", "True", route) for each in reports):
            waits.append(parent)
    if waits:
        return _waiting(state, route, waits)
    return Result(_problem_of_pool(state) or _routed(state, settings))


def without_conflicts(state: ServiceState, rendered: Children) -> Children:
    """The children without a route or pool whose name another owner uses. Without its pool the route leads to the
    Service. Other children with such names keep the service from being accepted; these only keep it from Gateways."""
    pool, route = rendered.inference_pool, rendered.http_route
    if pool is not None and accepted.check_names(state, [pool]) is not None:
        platform = dataclasses.replace(state.observed.platform, inference_pools=False)
        pool, route = None, gateway_api.make_http_route(state.owner, platform)
    if route is not None and accepted.check_names(state, [route]) is not None:
        route = None
    return dataclasses.replace(rendered, inference_pool=pool, http_route=route)


def _wanted(state: ServiceState) -> list[Object]:
    """Route and pool as they would be without a name conflict."""
    platform = state.observed.platform
    made = (gateway_api.make_inference_pool, gateway_api.make_http_route)
    return [found for make in made if (found := make(state.owner, platform)) is not None]


def _missing() -> Verdict:
    return no(
        reasons.GATEWAY_API_MISSING,
        f"the API server has no {HTTP_ROUTE.kind} ({HTTP_ROUTE.api_version}), so no Gateway serves this service",
        fix="install the CRDs of the Gateway API; the operator finds them within minutes",
    )


def _waiting(state: ServiceState, route: Object, waits: list[ParentRef]) -> Result:
    """No controller has reported on these Gateways, or none on the newest route."""
    which = phrases.join_truncated([_name(state, each) for each in waits])
    begun = timestamps.parse(route["metadata"].get("creationTimestamp")) or state.observed.now
    until = min(begun, state.observed.now) + PATIENCE
    silent = [each for each in waits if not list(_reports(route, state.owner.namespace, each))]
    if silent and state.observed.now >= until:
        which = phrases.join_truncated([_name(state, each) for each in silent])
        return Result(
            no(
                reasons.NO_GATEWAY,
                f"no controller has reported on HTTPRoute {_name_of(route)} for Gateway {which}",
                fix="check that the Gateway exists, that its GatewayClass has a controller that runs, and the chart "
                "value gateway.parentRefs",
            )
        )
    pending = unknown(
        reasons.AWAITING_GATEWAY, f"Gateway {which} has not reported on the newest HTTPRoute {_name_of(route)}"
    )
    return Result(pending, recheck_at=until if silent else None)


def _problem_of_route(
    state: ServiceState, route: Object, parent: ParentRef, report: Mapping[str, Any]
) -> Verdict | None:
    what = f"HTTPRoute {_name_of(route)}"
    for kind, reason, says in (
        ("Accepted", reasons.ROUTE_NOT_ACCEPTED, "does not accept"),
        ("ResolvedRefs", reasons.BACKEND_NOT_RESOLVED, "does not resolve the backend of"),
    ):
        found = _is(report, kind, "False", route)
        if found is not None:
            return no(reason, f"Gateway {_name(state, parent)} {says} {what}: {_said(found)}")
    return None


def _problem_of_pool(state: ServiceState) -> Verdict | None:
    """What a Gateway objects to in the InferencePool; None if the route does not use it."""
    if not gateway_api.uses_pool(state.observed.platform):
        return None
    name = names.inference_pool(state.owner.name)
    pool = next((each for each in state.own(INFERENCE_POOL.kind) if each["metadata"]["name"] == name), None)
    for report in _parents(pool or {}):
        for kind in ("Accepted", "ResolvedRefs"):
            found = _is(report, kind, "False", pool or {})
            if found is not None:
                ref = _map(report.get("parentRef"))
                gateway = phrases.head(f"{ref.get('namespace') or state.owner.namespace}/{ref.get('name')}")
                return no(
                    reasons.POOL_NOT_ACCEPTED,
                    f"Gateway {gateway} reports {kind}=False on InferencePool {name}: {_said(found)}",
                )
    return None


def _routed(state: ServiceState, settings: GatewayAPI) -> Verdict:
    gateways = phrases.join_truncated([_name(state, each) for each in settings.parents])
    at = phrases.join_truncated(gateway_api.addresses(state.owner, settings))
    return yes(reasons.ROUTED, f"Gateway {gateways} serves it at {at} by {_backend(state, settings)}")


def _backend(state: ServiceState, settings: GatewayAPI) -> str:
    platform = state.observed.platform
    if gateway_api.uses_pool(platform):
        return f"InferencePool {names.inference_pool(state.owner.name)}"
    service = f"Service {names.client_service(state.owner.name)}"
    if settings.endpoint_picker is None:
        return service
    return f"{service}, because the API server has no {INFERENCE_POOL.kind} ({INFERENCE_POOL.api_version})"


def _reports(route: Object, namespace: str, parent: ParentRef) -> Iterator[Mapping[str, Any]]:
    """What controllers report on one Gateway. Several may, if its class was changed."""
    for report in _parents(route):
        ref = _map(report.get("parentRef"))
        found = (ref.get("name"), ref.get("namespace") or namespace, ref.get("sectionName") or "", ref.get("port"))
        if found == (parent.name, parent.namespace or namespace, parent.section_name, parent.port):
            yield report


def _parents(obj: Object) -> list[Mapping[str, Any]]:
    found = _map(obj.get("status")).get("parents")
    return [_map(each) for each in found[:MOST_PARENTS]] if isinstance(found, list) else []


def _is(report: Mapping[str, Any], kind: str, status: str, obj: Object) -> Mapping[str, Any] | None:
    """The condition, if it has that status for the newest generation. A controller may leave out the generation."""
    found = report.get("conditions")
    conditions = map(_map, found[:MOST_CONDITIONS]) if isinstance(found, list) else ()
    condition = next((each for each in conditions if each.get("type") == kind), None)
    if condition is None or condition.get("status") != status:
        return None
    generation, observed = obj["metadata"].get("generation"), condition.get("observedGeneration")
    older = type(generation) is int and type(observed) is int and 0 < observed < generation
    return None if older else condition


def _said(condition: Mapping[str, Any]) -> str:
    """Reason and message of a condition of a controller."""
    reason, message = (str(condition.get(name) or "") for name in ("reason", "message"))
    text = f"{reason}: {message}" if reason and message and message != reason else reason or message
    return phrases.head(text, LONGEST_REPORT)


def _name(state: ServiceState, parent: ParentRef) -> str:
    listener = f" (listener {parent.section_name})" if parent.section_name else ""
    return f"{parent.namespace or state.owner.namespace}/{parent.name}{listener}"


def _name_of(obj: Object) -> str:
    return str(obj["metadata"]["name"])


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
