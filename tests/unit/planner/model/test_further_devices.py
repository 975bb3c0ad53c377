"""Network devices beside the accelerators: nodes that lack them take no pod; the accelerators are what is counted."""

import pytest

from builders.services import ServiceBuilder, a_service
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.planner.model import capacity
from llmservice_operator.planner.model.observed import NodeCapacity
from llmservice_operator.resources.objects import Owner
from llmservice_operator.resources.platform import Platform
from llmservice_operator.resources.statefulset import make_statefulset

NETWORK = {"rdma/hca": 2, "amazon.example/efa": 1}


def need(service: ServiceBuilder) -> capacity.Need:
    spec = LLMServiceSpec.model_validate(service.with_spec(resources={"devices": NETWORK}).build()["spec"])
    template = make_statefulset(Owner("chat", "team-a", "uid"), spec, Platform(), "chat", 1)["spec"]["template"]
    resources = template["spec"]["containers"][0]["resources"]
    for part in ("requests", "limits"):
        # As the API server returns it.
        resources[part] = dict(sorted(resources[part].items()))
        assert {name: resources[part][name] for name in NETWORK} == {"rdma/hca": "2", "amazon.example/efa": "1"}
    return capacity.Need.of(template)


def node(**free: int) -> NodeCapacity:
    names = {"gpu": "nvidia.com/gpu", "hca": "rdma/hca", "efa": "amazon.example/efa"}
    return NodeCapacity("a", {}, (), True, False, {names[key]: count for key, count in free.items()}, {})


@pytest.mark.parametrize("resource", ["nvidia.com/gpu", "nvidia.com/mig-3g.40gb", "example.com/gpu-shared"])
def test_the_accelerators_are_what_is_counted(resource: str) -> None:
    given = {} if resource == "nvidia.com/gpu" else {"resourceName": resource}
    found = need(a_service().spread_over(tensor=4).with_spec(accelerator=given))
    assert (found.resource, found.count) == (resource, 4)
    assert dict(found.others) == NETWORK


def test_a_node_without_the_network_devices_takes_no_pod_and_says_which_are_missing() -> None:
    found = need(a_service().spread_over(tensor=4))
    assert capacity.room(found, node(gpu=8, hca=8, efa=8)) == 2
    assert capacity.room(found, node(gpu=8, hca=3, efa=8)) == 1
    assert capacity.room(found, node(gpu=8, hca=8)) == 0
    assert capacity.takes(found, node(gpu=8, hca=2, efa=1))
    assert not capacity.takes(found, node(gpu=8, hca=1, efa=1))
    assert capacity.in_the_way(found, node(gpu=8, hca=1, efa=1)) == [capacity.DEVICES]
    assert "1 of 1 rdma/hca" in capacity.explain(found, [node(gpu=8, hca=1, efa=1)])
    assert "2 of 2 free" in capacity.explain(found, [node(gpu=2, hca=0, efa=1)])
