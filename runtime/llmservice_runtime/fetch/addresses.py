"""To which addresses the fetch connects: they are checked when a connection is made, for each redirect too.

A tenant chooses the source, and its server chooses redirects and what names resolve to. So no connection goes to this
machine or to a metadata service of the cloud, and a redirect leads to a private network only from a source that is in
one itself.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from llmservice_runtime.ip_addresses import embedded, is_never_allowed

PROXIES = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy")


class AddressRefused(ValueError):
    """The host resolves to an address that the fetch never connects to. Not an OSError, so it is not retried."""


@dataclass(slots=True)
class Guard:
    """Checks the addresses of one source and of its redirects."""

    origin: str
    """Host of the source. It may be in a private network."""
    trusted: frozenset[str] = frozenset()
    """Hosts that are not checked: the platform's proxy."""
    _origin_is_private: bool = field(default=False)

    def check(self, host: str, addresses: Iterable[str]) -> None:
        """Raises AddressRefused unless the fetch may connect to all of them."""
        if host in self.trusted:
            return
        for text in addresses:
            address = embedded(ipaddress.ip_address(text.partition("%")[0]))
            if is_never_allowed(address):
                raise AddressRefused(f"{host} resolves to {address}, an address that no model is fetched from")
            if address.is_global:
                continue
            if host == self.origin:
                self._origin_is_private = True
            elif not self._origin_is_private:
                raise AddressRefused(f"{self.origin} redirects to {host}, whose address {address} is not public")

    def check_url(self, host: str) -> None:
        """As ``check`` for a host that is an address itself: aiohttp does not resolve one of digits or with colons."""
        if not host.replace(".", "").isdigit() and ":" not in host:
            return
        try:
            ipaddress.ip_address(host.partition("%")[0])
        except ValueError:  # such as 2852039166, which the system takes for 169.254.169.254
            raise AddressRefused(f"{host} is neither a name nor an address") from None
        self.check(host, (host,))


def proxy_hosts(environ: Mapping[str, str]) -> frozenset[str]:
    """Hosts of the proxies in `environ`."""
    hosts = (urlsplit(environ.get(name, "")).hostname for name in PROXIES)
    return frozenset(host for host in hosts if host)


class GuardedResolver(AbstractResolver):
    """Resolves names and refuses addresses that the guard refuses. The connection goes to the address that was
    checked."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._resolver = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        self._guard.check(host, (each["host"] for each in found))
        return found

    async def close(self) -> None:
        await self._resolver.close()
