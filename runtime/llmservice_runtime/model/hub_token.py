"""Checks that a hub's token is sent only to the hub that it is for.

The author of a service chooses both the hub and the Secret. So the owner of the Secret names the hub of the token in
it.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from llmservice_contract import causes
from llmservice_contract.container import TOKEN_ENDPOINT_VARIABLE
from llmservice_contract.source import Repository, Source
from llmservice_runtime.model.unreadable import ModelUnreadable

DEFAULT_HUB = "https://huggingface.co"
_FIELD = "spec.model.credentialsRef"


def check_token(source: Source, environ: Mapping[str, str]) -> None:
    """Raises ModelUnreadable if the token in `environ` would be sent to a hub that it does not name."""
    if not isinstance(source, Repository) or not environ.get("HF_TOKEN"):
        return
    hub = source.endpoint or environ.get("HF_ENDPOINT") or DEFAULT_HUB
    if source.endpoint is None and _is(hub, environ.get("HF_ENDPOINT") or DEFAULT_HUB) and not _named(environ):
        return
    if _is(hub, _named(environ) or DEFAULT_HUB):
        return
    raise ModelUnreadable(
        causes.MODEL_UNREADABLE,
        f"The token in the Secret of {_FIELD} is not for {_shown(hub)}: it is not sent there.",
        field=_FIELD,
        fix=f"Name a Secret whose key HF_ENDPOINT is {_shown(hub)}, or add that key if its token is for it.",
    )


def _named(environ: Mapping[str, str]) -> str:
    return environ.get(TOKEN_ENDPOINT_VARIABLE, "").strip()


def _is(one: str, other: str) -> bool:
    return _shown(one) == _shown(other)


def _shown(endpoint: str) -> str:
    """Scheme, host and port of the address."""
    parts = urlsplit(endpoint.strip())
    host = (parts.hostname or "").lower()
    try:
        port = parts.port
    except ValueError:
        port = 0
    usual = {"https": 443, "http": 80}.get(parts.scheme)
    return f"{parts.scheme}://{host}" + (f":{port}" if port is not None and port != usual else "")
