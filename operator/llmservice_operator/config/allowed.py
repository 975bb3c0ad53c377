"""The settings that say what a service's author may name; see ``render.allowed``."""

import re
from typing import Annotated

from pydantic import ConfigDict

from llmservice_contract.media import DOMAIN, LONGEST_DOMAIN, MOST_DOMAINS
from llmservice_operator.config.section import DNS_LABEL, PREFIX, TRUTH, Rule, Section, matched, several

MOST = 256
"""Entries of one list."""
_SERVICE_ACCOUNT = re.compile(rf"{DNS_LABEL.pattern}/[a-z0-9]([-a-z0-9.]{{0,251}}[a-z0-9])?")
_SOURCE = re.compile(r"(?:hf|pvc|s3|https)://(?:[!-+.-~-]+/)?")
_STORE = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?:[1-9][0-9]{0,4}")
_DOMAIN = re.compile(DOMAIN)


def _domain(text: str) -> str:
    if len(text) > LONGEST_DOMAIN:
        raise ValueError(text)
    return matched(_DOMAIN, text)


def _source(text: str) -> str:
    scheme, _, rest = matched(_SOURCE, text).partition("://")
    if scheme == "https":
        host, slash, path = rest.partition("/")
        rest = host.lower() + slash + path
    return f"{scheme}://{rest}"


_ACCOUNTS = several(lambda text: matched(_SERVICE_ACCOUNT, text), "ServiceAccounts as NAMESPACE/NAME", MOST)
_SOURCES = several(_source, "beginnings of sources, each with a slash at its end (https://hub.example.com/),", MOST)
_STORES = several(lambda text: matched(_STORE, text.lower()), "addresses as HOST:PORT", MOST)
_DOMAINS = several(_domain, "DNS names in lower case", MOST_DOMAINS)


class AllowedSettings(Section):
    """What a service's author may name."""

    model_config = ConfigDict(alias_generator=lambda name: f"{PREFIX}ALLOWED_{name.upper()}")

    service_accounts: Annotated[tuple[str, ...], _ACCOUNTS] = ()
    """ServiceAccounts that services may run as."""
    sources: Annotated[tuple[str, ...], _SOURCES] = ("hf://", "pvc://", "s3://")
    """What the sources of models may begin with."""
    stores: Annotated[tuple[str, ...] | None, Rule(_STORES.allowed, lambda text: _STORES.convert(text) or None)] = None
    """Stores of rate limits that services may name. Absent: all; a login is sent only if its Secret names
    the address."""
    media_domains: Annotated[tuple[str, ...], _DOMAINS] = ()
    """Domains from which engines may fetch media that requests name."""
    trace_flags: Annotated[bool, TRUTH] = False
    """Whether a client's traceparent decides if a request's trace is recorded."""
