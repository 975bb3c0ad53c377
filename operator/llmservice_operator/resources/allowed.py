"""What the platform team lets a service's author name: each list is empty unless the platform fills it."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Allowed:
    """The platform's lists."""

    service_accounts: tuple[str, ...] = ()
    """ServiceAccounts that a service's pods may run as, each as NAMESPACE/NAME."""
    sources: tuple[str, ...] | None = None
    """Beginnings of models' sources, each with a slash at its end; None: all."""
    stores: tuple[str, ...] | None = None
    """Addresses of stores of rate limits, as HOST:PORT in lower case. None: all, to which a login is sent only if the
    Secret names the address."""
    media_domains: tuple[str, ...] = ()
    """Domains from which every engine may fetch media, at private addresses too."""
    trace_flags: bool = False
    """Whether clients decide if their requests are traced."""


NOTHING_ALLOWED = Allowed()
