"""The chart grants what the operator's table of kinds says, and its policies cover the kinds of children, all of them.

No cluster is asked.
"""

import itertools
from typing import Any

import pytest

from llmservice_operator.resources import kinds
from llmservice_operator.resources.platform import Adapter
from support.helm import NEWEST_KUBERNETES, OLDEST_KUBERNETES, of_kind, render
from support.rights import permissions

Resource = tuple[str, str]
"""Group and plural."""
WRITE, DELETE = {"CREATE", "UPDATE"}, {"DELETE"}


GATEWAY_API = {"type": "GatewayAPI", "parentRefs": [{"name": "inference"}], "domain": "llm.example.com"}


def chart(
    adapter: Adapter, kubernetes: str = NEWEST_KUBERNETES, gateway: dict[str, Any] | None = None
) -> list[dict[str, Any]]:
    values = {"scaling": {"adapter": adapter.value, "prometheus": {"url": "http://prometheus:9090"}}}
    return render({**values, "gateway": gateway or {}}, kubernetes=kubernetes)


def granted(
    adapter: Adapter, kubernetes: str = NEWEST_KUBERNETES, gateway: dict[str, Any] | None = None
) -> dict[Resource, set[str]]:
    """Verbs of all roles that are bound to the operator, without subresources."""
    objects = chart(adapter, kubernetes, gateway)
    bound = {
        each["roleRef"]["name"] for kind in ("RoleBinding", "ClusterRoleBinding") for each in of_kind(objects, kind)
    }
    roles = [*of_kind(objects, "Role"), *of_kind(objects, "ClusterRole")]
    found: dict[Resource, set[str]] = {}
    for verb, group, resource, _ in permissions([each for each in roles if each["metadata"]["name"] in bound]):
        if "/" not in resource:
            found.setdefault((group, resource), set()).add(verb)
    return found


def table(rows: tuple[kinds.Kind, ...]) -> set[Resource]:
    return {(row.group, row.plural) for row in rows}


def covered(objects: list[dict[str, Any]], suffix: str) -> dict[Resource, set[str]]:
    """The operations that a policy is about, by resource."""
    policies = of_kind(objects, "ValidatingAdmissionPolicy")
    (policy,) = [each for each in policies if each["metadata"]["name"].endswith(suffix)]
    return {
        (group, resource): set(rule["operations"])
        for rule in policy["spec"]["matchConstraints"]["resourceRules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }


def test_what_is_granted_in_all_is_the_table() -> None:
    found: dict[Resource, set[str]] = {}
    versions = (OLDEST_KUBERNETES, NEWEST_KUBERNETES)
    for adapter, kubernetes, gateway in itertools.product(Adapter, versions, (None, GATEWAY_API)):
        for resource, verbs in granted(adapter, kubernetes, gateway).items():
            found.setdefault(resource, set()).update(verbs)
    assert found == {(row.group, row.plural): set(row.verbs) for row in kinds.TABLE}


@pytest.mark.parametrize("adapter", Adapter)
def test_with_each_adapter_all_that_is_streamed_may_be_and_leftovers_may_go(adapter: Adapter) -> None:
    found = granted(adapter)
    streamed = kinds.watched(adapter)
    assert {resource for resource, verbs in found.items() if "watch" in verbs} == table(streamed)
    for row in streamed:
        assert set(kinds.READ) <= found[row.group, row.plural]
        assert "delete" in found[row.group, row.plural] or not row.child


def test_with_gateways_their_routes_and_pools_may_be_streamed() -> None:
    found = granted(Adapter.NONE, gateway=GATEWAY_API)
    streamed = kinds.watched(Adapter.NONE, gateway_api=True)
    assert {resource for resource, verbs in found.items() if "watch" in verbs} == table(streamed)


def test_policies_hold_the_operator_to_children_of_services() -> None:
    objects = chart(Adapter.OWN)
    rendered = tuple(row for row in kinds.CHILDREN if row.rendered)
    for suffix in ("-own-objects", "-own-services"):
        assert covered(objects, suffix) == dict.fromkeys(table(rendered), WRITE)
    assert covered(objects, "-own-deletions") == dict.fromkeys(table(kinds.CHILDREN), DELETE)


def test_tenants_may_put_the_label_on_no_kind_that_is_streamed_by_it() -> None:
    objects = render({})
    assert covered(objects, "-label") == dict.fromkeys(table(kinds.CHILDREN), WRITE)


@pytest.mark.parametrize(
    ("kubernetes", "reads_endpoints"), [(OLDEST_KUBERNETES, True), ("1.34.0", False), (NEWEST_KUBERNETES, False)]
)
def test_endpoints_are_written_only_for_api_servers_that_read_them(kubernetes: str, reads_endpoints: bool) -> None:
    assert (("", "endpoints") in granted(Adapter.OWN, kubernetes)) == reads_endpoints
    (deployment,) = of_kind(chart(Adapter.OWN, kubernetes), "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    names = {each["name"] for each in container["env"]}
    assert ("LLMSERVICE_METRICS_API_ENDPOINTS" in names) == reads_endpoints
