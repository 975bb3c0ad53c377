"""Where the API server is: its Service's address, and the addresses behind it, as far as the operator may know them."""

from __future__ import annotations

from typing import Any

import pytest

from llmservice_operator.controller.client import address
from llmservice_operator.resources.platform import MOST_ADDRESSES

SERVICE = {"KUBERNETES_SERVICE_HOST": "10.96.0.1"}


class Cluster:
    """Has one EndpointSlice at most."""

    def __init__(self, found: dict[str, Any] | None) -> None:
        self.found = found

    async def get(self, kind: Any, namespace: str, name: str) -> dict[str, Any] | None:
        assert (kind.plural, namespace, name) == ("endpointslices", "default", "kubernetes")
        return self.found


async def addresses(found: dict[str, Any] | None, environment: dict[str, str]) -> tuple[str, ...]:
    return await address.addresses(Cluster(found), environment)  # type: ignore[arg-type]


async def test_its_service_and_what_is_behind_it() -> None:
    found = {"endpoints": [{"addresses": ["172.18.0.2"]}, {"addresses": ["fd00::2", "not an address"]}, {}]}
    assert await addresses(found, SERVICE) == ("10.96.0.1/32", "172.18.0.2/32", "fd00::2/128")


@pytest.mark.parametrize("found", [None, {}, {"endpoints": None}])
async def test_without_the_slice_the_service_alone(found: Any) -> None:
    assert await addresses(found, SERVICE) == ("10.96.0.1/32",)
    assert await addresses(found, {"KUBERNETES_SERVICE_HOST": "api.example.com"}) == ()
    assert await addresses(found, {}) == ()


async def test_there_are_never_many() -> None:
    found = {"endpoints": [{"addresses": [f"10.0.{number // 256}.{number % 256}" for number in range(1000)]}]}
    assert len(await addresses(found, SERVICE)) == MOST_ADDRESSES
