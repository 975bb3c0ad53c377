"""The settings that say what a service's author may name; see ``render.allowed``."""

import re
from collections.abc import Callable

from llmservice_contract.media import DOMAIN, LONGEST_DOMAIN, MOST_DOMAINS
from llmservice_operator.render.allowed import Allowed
from llmservice_operator.settings_reader import DNS_LABEL, Reader, matching, truth

MOST = 256
"""Entries of one list."""
_SERVICE_ACCOUNT = re.compile(rf"{DNS_LABEL.pattern}/[a-z0-9]([-a-z0-9.]{{0,251}}[a-z0-9])?")
_SOURCE = re.compile(r"(?:hf|pvc|s3|https)://(?:[!-+.-~-]+/)?")
_STORE = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?:[1-9][0-9]{0,4}")
DEFAULT_SOURCES: tuple[str, ...] = ("hf://", "pvc://", "s3://")
_DOMAIN = re.compile(DOMAIN)


def allowed(reader: Reader) -> Allowed:
    """LLMSERVICE_ALLOWED_SERVICE_ACCOUNTS, _SOURCES, _STORES and _MEDIA_DOMAINS: lists separated by commas;
    _TRACE_FLAGS: true or false."""
    return Allowed(
        service_accounts=reader.read(
            "LLMSERVICE_ALLOWED_SERVICE_ACCOUNTS",
            (),
            _several(matching(_SERVICE_ACCOUNT)),
            f"at most {MOST} ServiceAccounts as NAMESPACE/NAME separated by commas",
        ),
        sources=reader.read(
            "LLMSERVICE_ALLOWED_SOURCES",
            DEFAULT_SOURCES,
            _several(_source),
            f"at most {MOST} beginnings of sources separated by commas, each with a slash at its end, such as "
            "https://hub.example.com/",
        ),
        stores=reader.read(
            "LLMSERVICE_ALLOWED_STORES",
            None,
            lambda text: _several(matching(_STORE))(text.lower()) or None,
            f"at most {MOST} addresses as HOST:PORT separated by commas",
        ),
        media_domains=reader.read(
            "LLMSERVICE_ALLOWED_MEDIA_DOMAINS",
            (),
            _several(_domain, MOST_DOMAINS),
            f"at most {MOST_DOMAINS} DNS names in lower case separated by commas",
        ),
        trace_flags=reader.read("LLMSERVICE_ALLOWED_TRACE_FLAGS", False, truth, "true or false"),
    )


def _domain(text: str) -> str:
    if len(text) > LONGEST_DOMAIN:
        raise ValueError(text)
    return matching(_DOMAIN)(text)


def _source(text: str) -> str:
    scheme, _, rest = matching(_SOURCE)(text).partition("://")
    if scheme == "https":
        host, slash, path = rest.partition("/")
        rest = host.lower() + slash + path
    return f"{scheme}://{rest}"


def _several(convert: Callable[[str], str], most: int = MOST) -> Callable[[str], tuple[str, ...]]:
    def of(text: str) -> tuple[str, ...]:
        found = tuple(dict.fromkeys(convert(part.strip()) for part in text.split(",") if part.strip()))
        if len(found) > most:
            raise ValueError(text)
        return found

    return of
