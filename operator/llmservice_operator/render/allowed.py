"""What the platform team lets a service's author name: each list is empty unless the platform fills it."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Allowed:
    """The platform's lists."""

    service_accounts: tuple[str, ...] = ()
    """ServiceAccounts that a service's pods may run as, each as NAMESPACE/NAME."""
    media_domains: tuple[str, ...] = ()
    """Domains from which every engine may fetch media, at private addresses too."""
