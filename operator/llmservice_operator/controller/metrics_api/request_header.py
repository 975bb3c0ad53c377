"""Whom the API server's front proxy is known by: what the ConfigMap extension-apiserver-authentication says.

The front proxy (the aggregation layer of the API server) shows a client certificate and names the user in headers.
This is read again and again, so that a replaced authority is trusted without a restart.
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
    """PEM of what signs its certificate. Empty: the API server has no front proxy."""
    allowed_names: frozenset[str] = frozenset()
    """Common names that its certificate may have. Empty: any."""
    user_headers: tuple[str, ...] = ("X-Remote-User",)
    uid_headers: tuple[str, ...] = ()
    group_headers: tuple[str, ...] = ("X-Remote-Group",)
    extra_prefixes: tuple[str, ...] = ("x-remote-extra-",)
    """In lower case."""


def trust_of(data: Mapping[str, str]) -> RequestHeaderConfig:
    """What the ConfigMap's data say. Raises ValueError where they can't be read."""
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
        raise ValueError(f"{key} is no JSON: {error}") from error
    if not isinstance(names, list) or not all(isinstance(each, str) and each.strip() for each in names):
        raise ValueError(f"{key} is no list of names: {names!r}")
    return tuple(each.strip() for each in names)
