"""To which addresses an engine connects for media: the name of a domain says nothing about where it leads."""

from __future__ import annotations

import pytest

from llmservice_contract.setting import BadValue
from llmservice_runtime.gateway.media_addresses import AddressRefused, check_addresses, listed_domains, platform_domains

PUBLIC = ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946"]
PRIVATE = [
    "10.0.0.1",
    "172.16.3.4",
    "192.168.1.1",
    "100.64.0.7",
    "fd00:1::1",
    "::ffff:10.0.0.1",
    "64:ff9b::a00:1",
]
NEVER = [
    *("169.254.169.254", "127.0.0.1", "0.0.0.0", "224.0.0.1", "::1", "::", "fe80::1%eth0"),
    *("168.63.129.16", "100.100.100.200", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254", "::ffff:168.63.129.16"),
    *("::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1"),
]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_fetched_from(address: str) -> None:
    check_addresses("a.example", [address], ())


@pytest.mark.parametrize("address", [*PRIVATE, *NEVER])
def test_no_other_address_is(address: str) -> None:
    with pytest.raises(AddressRefused, match=r"a\.example: .* Send the content itself as a data: URL"):
        check_addresses("a.example", [address], ())
    with pytest.raises(AddressRefused):
        check_addresses("a.example", [PUBLIC[0], address], ())


@pytest.mark.parametrize("address", PRIVATE)
def test_a_domain_of_the_platform_may_be_private(address: str) -> None:
    check_addresses("minio.svc.example", [address], ("minio.svc.example",))
    with pytest.raises(AddressRefused):
        check_addresses("other.example", [address], ("minio.svc.example",))


@pytest.mark.parametrize("address", NEVER)
def test_the_metadata_service_is_never_reached(address: str) -> None:
    with pytest.raises(AddressRefused):
        check_addresses("minio.svc.example", [address], ("minio.svc.example",))


def test_domains_are_those_of_the_spec_and_of_the_platform() -> None:
    environ = {"MEDIA_DOMAINS": "a.example,b.example", "PLATFORM_MEDIA_DOMAINS": "c.example"}
    assert listed_domains(environ) == ("a.example", "b.example", "c.example")
    assert platform_domains(environ) == ("c.example",)
    assert listed_domains({}) == ()


@pytest.mark.parametrize(
    "name", ["169.254.169.254", "localhost", "0x7f.0x1", "a.example.", "A.example", "*.example", "a..b"]
)
def test_an_address_is_no_domain(name: str) -> None:
    with pytest.raises(BadValue):
        listed_domains({"MEDIA_DOMAINS": name})
