"""The settings that say what a service's author may name; see ``render.allowed``."""

import re
from collections.abc import Callable

from llmservice_contract.media import DOMAIN, LONGEST_DOMAIN, MOST_DOMAINS
from llmservice_operator.render.allowed import Allowed
from llmservice_operator.settings_reader import DNS_LABEL, Reader, matching

MOST = 256
"""Entries of one list."""
_SERVICE_ACCOUNT = re.compile(rf"{DNS_LABEL.pattern}/[a-z0-9]([-a-z0-9.]{{0,251}}[a-z0-9])?")
_DOMAIN = re.compile(DOMAIN)


def allowed(reader: Reader) -> Allowed:
    """LLMSERVICE_ALLOWED_SERVICE_ACCOUNTS, LLMSERVICE_ALLOWED_MEDIA_DOMAINS: lists separated by commas."""
    return Allowed(
        service_accounts=reader.read(
            "LLMSERVICE_ALLOWED_SERVICE_ACCOUNTS",
            (),
            _several(matching(_SERVICE_ACCOUNT)),
            f"at most {MOST} ServiceAccounts as NAMESPACE/NAME separated by commas",
        ),
        media_domains=reader.read(
            "LLMSERVICE_ALLOWED_MEDIA_DOMAINS",
            (),
            _several(_domain, MOST_DOMAINS),
            f"at most {MOST_DOMAINS} DNS names in lower case separated by commas",
        ),
    )


def _domain(text: str) -> str:
    if len(text) > LONGEST_DOMAIN:
        raise ValueError(text)
    return matching(_DOMAIN)(text)


def _several(convert: Callable[[str], str], most: int = MOST) -> Callable[[str], tuple[str, ...]]:
    def of(text: str) -> tuple[str, ...]:
        found = tuple(dict.fromkeys(convert(part.strip()) for part in text.split(",") if part.strip()))
        if len(found) > most:
            raise ValueError(text)
        return found

    return of
