"""What a service costs: exact sums of the platform's own prices, and no figure where one is missing."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import pytest

from builders.observed import Scene, a_scene
from builders.pods import PodBuilder, a_pod
from builders.services import a_service
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.planner.model.observed import Input
from llmservice_operator.planner.status import pricing
from llmservice_operator.resources.platform import Platform, Price, Prices

H100, A10 = "NVIDIA-H100-80GB-HBM3", "NVIDIA-A10"
CONTRACT = Price(Decimal("2.49"), "contract 4711", "2026-11-01")
PRICES = Prices("EUR", {H100: CONTRACT, f"{H100}-MIG-3g.40gb": Price(Decimal("1.3"), "list", "2026-01-02")})
ON_H100 = {
    "nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [
                {"matchExpressions": [{"key": "nvidia.com/gpu.product", "operator": "In", "values": [H100]}]}
            ]
        }
    }
}


def an_engine(number: int = 0, node: str = "gpu-0", gpus: int = 2, resource: str = "nvidia.com/gpu") -> PodBuilder:
    return a_pod(f"chat-{number}").asking_for(gpus, resource).on_node(node)


def scene(*pods: PodBuilder, prices: Prices = PRICES, **products: str) -> Scene:
    found = a_scene(a_service().spread_over(2)).on(Platform(prices=prices)).with_pods(*pods)
    return found.with_products(**products) if products else found


def reported(scene: Scene) -> dict[str, Any]:
    status = scene.plan().status
    assert status is not None
    return dict(status.get("cost") or {})


def test_gpus_times_price_is_exact_and_says_where_the_price_is_from() -> None:
    assert reported(scene(an_engine(0), an_engine(1, "gpu-1"), gpu_0=H100, gpu_1=H100)) == {
        "currency": "EUR",
        "perHour": "9.96",
        "gpus": [{"product": H100, "count": 4, "price": "2.49", "source": "contract 4711", "date": "2026-11-01"}],
    }


def test_a_product_that_the_spec_names_alone_needs_no_look_at_nodes() -> None:
    plan = scene(an_engine().with_spec(affinity=ON_H100)).plan()
    assert plan.status is not None
    assert plan.status["cost"]["perHour"] == "4.98"
    assert Input.PRODUCTS not in plan.requires


def test_where_the_spec_leaves_it_open_nodes_are_asked_and_until_then_there_is_no_figure() -> None:
    plan = scene(an_engine()).plan()
    assert Input.PRODUCTS in plan.requires
    assert plan.status is not None
    assert "perHour" not in plan.status["cost"]
    assert "spec.accelerator.products" in plan.status["cost"]["message"]
    assert Input.PRODUCTS not in scene(an_engine(), gpu_0=H100).plan().requires


def test_a_new_node_is_asked_for_and_one_without_a_label_is_not_asked_again() -> None:
    assert Input.PRODUCTS in scene(an_engine(0), an_engine(1, "gpu-1"), gpu_0=H100).plan().requires
    unlabelled = scene(an_engine(), gpu_0="")
    assert Input.PRODUCTS not in unlabelled.plan().requires
    assert reported(unlabelled)["gpus"] == [{"count": 2}]


def test_mixed_products_are_told_each_and_one_without_a_price_leaves_no_sum() -> None:
    found = reported(scene(an_engine(0), an_engine(1, "gpu-1"), gpu_0=H100, gpu_1=A10))
    assert [(each["product"], each["count"], each.get("price")) for each in found["gpus"]] == [
        (A10, 2, None),
        (H100, 2, "2.49"),
    ]
    assert "perHour" not in found
    assert f"no price for {A10} (chart value cost.gpuHours)" in found["message"]


def test_a_mig_profile_has_a_price_of_its_own_and_never_that_of_the_whole_gpu() -> None:
    assert reported(scene(an_engine(gpus=1, resource="nvidia.com/mig-3g.40gb"), gpu_0=H100))["perHour"] == "1.30"
    assert "perHour" not in reported(scene(an_engine(gpus=1, resource="nvidia.com/mig-1g.10gb"), gpu_0=H100))
    assert "perHour" not in reported(scene(an_engine(gpus=1, resource="nvidia.com/gpu.shared"), gpu_0=H100))


def test_what_has_no_node_or_has_ended_costs_nothing_and_what_is_going_still_does() -> None:
    waiting = a_pod("chat-1").asking_for(2).unschedulable()
    assert reported(scene(waiting, gpu_0=H100)) == {"currency": "EUR", "perHour": "0.00", "gpus": []}
    assert reported(scene(an_engine().evicted(), gpu_0=H100))["perHour"] == "0.00"
    assert reported(scene(an_engine().going(), gpu_0=H100))["perHour"] == "4.98"


def test_without_prices_or_on_a_cpu_there_is_none() -> None:
    assert reported(scene(an_engine(), prices=Prices(), gpu_0=H100)) == {}
    assert reported(a_scene(a_service().on_cpu()).on(Platform(prices=PRICES)).with_pods(a_pod().on_node())) == {}


def test_load_changes_nothing_about_it() -> None:
    one = scene(an_engine(), gpu_0=H100)
    assert reported(one) == reported(one.at(3600))


@pytest.mark.parametrize(
    ("products", "now", "per_hour"),
    [
        ((H100,), "", "14.94"),
        ((H100,), A10, "14.94"),
        ((), H100, "14.94"),
        ((), "", None),
        ((H100, A10), "", None),
        ((H100, A10), H100, "14.94"),
        ((A10, "NVIDIA-L4"), H100, None),
    ],
)
def test_what_a_spec_would_cost(products: tuple[str, ...], now: str, per_hour: str | None) -> None:
    service = a_service().spread_over(2).on(*products) if products else a_service().spread_over(2)
    bill = pricing.bill_of_spec(LLMServiceSpec.model_validate(service.build()["spec"]), 3, PRICES, now)
    assert bill is not None
    assert bill.per_hour == (None if per_hour is None else Decimal(per_hour))
    assert bool(bill.missing) == (per_hour is None)


def test_who_sees_the_status_alone_can_reckon_what_another_spec_would_cost() -> None:
    spec = LLMServiceSpec.model_validate(a_service().spread_over(4).build()["spec"])
    prices, product = pricing.from_status(reported(scene(an_engine(), gpu_0=H100)))
    assert (prices.currency, prices.gpu_hours[H100], product) == ("EUR", CONTRACT, H100)
    bill = pricing.bill_of_spec(spec, 2, prices, product)
    assert bill is not None and bill.per_hour == Decimal("19.92")
    _, mixed = pricing.from_status(reported(scene(an_engine(0), an_engine(1, "gpu-1"), gpu_0=H100, gpu_1=A10)))
    assert mixed == ""
    assert pricing.from_status({}) == (Prices(), "")


def test_a_million_tokens_is_the_hour_s_price_over_the_hour_s_tokens() -> None:
    million = pricing.per_million(Decimal("3.6"), 500.0)
    assert million is not None
    assert math.isclose(million, 2)
    assert [pricing.per_million(Decimal(1), speed) for speed in (0.0, -1.0, math.nan, math.inf)] == [None] * 4


@pytest.mark.parametrize(
    ("amount", "exact", "rounded"),
    [
        ("0", "0.00", "0.00"),
        ("2.4", "2.40", "2.40"),
        ("1234.5", "1234.50", "1234.50"),
        ("0.999999", "0.999999", "1.000"),
        ("0.0312345", "0.0312345", "0.0312"),
        ("12.345678", "12.345678", "12.35"),
        ("1E+2", "100.00", "100.00"),
    ],
)
def test_amounts_as_people_read_them(amount: str, exact: str, rounded: str) -> None:
    assert (pricing.exact(Decimal(amount)), pricing.rounded(Decimal(amount))) == (exact, rounded)


def test_engines_of_a_replica_cost_their_gpus() -> None:
    service = a_service().with_spec(parallelism={"tensor": 2, "data": 4}).on(H100)
    one = a_service().with_spec(parallelism={"tensor": 2}).on(H100)
    found, single = (
        pricing.bill_of_spec(LLMServiceSpec.model_validate(each.build()["spec"]), 1, PRICES) for each in (service, one)
    )
    assert found is not None and single is not None and found.per_hour == 4 * (single.per_hour or 0)
