"""How to recognize the API server's front proxy, from the ConfigMap extension-apiserver-authentication.

The front proxy (the aggregation layer of the API server) uses a client certificate and names the user in headers. The
ConfigMap is read periodically, so that a replaced CA is trusted without a restart.
"""

import dataclasses
import json
from collections.abc import Mapping

CONFIG_MAP = ("kube-system", "extension-apiserver-authentication")
"""Namespace and name."""


@dataclasses.dataclass(frozen=True)
class RequestHeaderConfig:
    """The front proxy's certificate and headers."""

    authority: str = ""
    """CA of its certificate, as PEM. Empty: the API server has no front proxy."""
    allowed_names: frozenset[str] = frozenset()
    """Allowed common names of its certificate. Empty: any."""
    user_headers: tuple[str, ...] = ("X-Remote-User",)
    uid_headers: tuple[str, ...] = ()
    group_headers: tuple[str, ...] = ("X-Remote-Group",)
    extra_prefixes: tuple[str, ...] = ("x-remote-extra-",)
    """In lower case."""


def trust_of(data: Mapping[str, str]) -> RequestHeaderConfig:
    """The configuration in the ConfigMap's data. Raises ValueError if it is invalid."""
    return RequestHeaderConfig(
        authority=data.get("requestheader-client-ca-file", "").strip(),
        allowed_names=frozenset(_names(data, "requestheader-allowed-names")),
        user_headers=_names(data, "requestheader-username-headers") or RequestHeaderConfig.user_headers,
        uid_headers=_names(data, "requestheader-uid-headers"),
        group_headers=_names(data, "requestheader-group-headers") or RequestHeaderConfig.group_headers,
        extra_prefixes=tuple(each.lower() for each in _names(data, "requestheader-extra-headers-prefix"))
        or RequestHeaderConfig.extra_prefixes,
    )


def _names(data: Mapping[str, str], key: str) -> tuple[str, ...]:
    try:
        names = json.loads(data.get(key) or "[]")
    except ValueError as error:
        raise ValueError(f"{key} is not valid JSON: {error}") from error
    if not isinstance(names, list) or not all(isinstance(each, str) and each.strip() for each in names):
        raise ValueError(f"{key} is not a list of names: {names!r}")
    return tuple(each.strip() for each in names)
