"""To which addresses an engine connects for the media of a request.

The domain of a URL is allowed by name, and the owner of the domain decides what its name resolves to: an address in
the cluster, or that of the cloud's metadata service. So each address is checked after it was resolved, and the
connection goes to that address.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping

from llmservice_contract.engine_settings import MEDIA_DOMAINS, PLATFORM_MEDIA_DOMAINS
from llmservice_contract.setting import Names
from llmservice_runtime.ip_addresses import embedded, is_never_allowed


class AddressRefused(ValueError):
    """The domain resolves to an address that media may not come from. Not an OSError, so vLLM does not retry."""


def listed_domains(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Domains that media may be fetched from. Raises BadValue."""
    return (*_names(environ, MEDIA_DOMAINS), *platform_domains(environ))


def platform_domains(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Those of them that the platform lists. Raises BadValue."""
    return _names(environ, PLATFORM_MEDIA_DOMAINS)


def _names(environ: Mapping[str, str], setting: Names) -> tuple[str, ...]:
    for name in (setting.name, *setting.aliases):
        text = environ.get(name, "").strip()
        if text:
            return setting.parse(text, name)
    return ()


def check_addresses(domain: str, addresses: Iterable[str], private_domains: Iterable[str]) -> None:
    """Raises AddressRefused unless all addresses are public; those of `private_domains` may be private.

    Loopback, link-local (the metadata services of clouds), multicast and unspecified addresses are always refused.
    """
    private_too = domain.lower() in private_domains
    for text in addresses:
        address = embedded(ipaddress.ip_address(text.partition("%")[0]))
        if is_never_allowed(address) or not (private_too or address.is_global):
            raise AddressRefused(
                f"Media are not fetched from {domain}: it resolves to an address that is not public. Send the content "
                "itself as a data: URL. For a store in the cluster, the platform lists its domain in the chart value "
                "allowed.mediaDomains."
            )
