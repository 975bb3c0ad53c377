"""The platform's forward proxy and private CAs: a JSON object that the chart writes for its value ``runtime.proxy``,
and the file of ``runtime.caBundle``."""

import re
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from llmservice_operator.config.section import Problems, json_object
from llmservice_operator.resources.platform import Proxy

MOST_EXEMPT = 256
"""Maximum number of entries of noProxy."""
MOST_BUNDLE_BYTES = 512 * 1024
"""Maximum size of the file with the CAs, and of what is copied into each namespace."""

_FIELDS = ("http", "https", "noProxy")
# Without user and password: every pod's environment would show them to its tenant.
_PROXY = re.compile(r"https?://([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\]):[1-9][0-9]{0,4}/?")
# Not the form of an IPv6 network: httpx, which reads the variable in the same process, fails on it.
_EXEMPT = re.compile(
    r"[*]?[.]?[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?(:[1-9][0-9]{0,4})?"
    r"|[0-9]{1,3}([.][0-9]{1,3}){3}/[0-9]{1,2}|[0-9A-Fa-f]*:[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*"
)
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----\s+[A-Za-z0-9+/=\s]+?-----END CERTIFICATE-----")


def read_proxy(text: str) -> Proxy | None:
    """The settings in ``text``; None if they name no proxy. Raises Problems."""
    given = json_object(text, "in the form of the chart value runtime.proxy")
    problems = list(_problems(given))
    if problems:
        raise Problems(*problems)
    http, https = (given.get(name, "").rstrip("/") for name in ("http", "https"))
    return Proxy(http, https, tuple(dict.fromkeys(given.get("noProxy", ())))) if http or https else None


def _problems(given: dict[str, Any]) -> Iterator[str]:
    for name in given:
        if name not in _FIELDS:
            yield f"{name[:64]} is unknown; the fields are {', '.join(_FIELDS)}"
    for name in ("http", "https"):
        url = given.get(name, "")
        if not isinstance(url, str) or len(url) > 512 or (url and not _PROXY.fullmatch(url)):
            yield f"{name} must be a URL such as http://proxy.example.com:3128, without user and password"
    exempt = given.get("noProxy", [])
    if not isinstance(exempt, list) or len(exempt) > MOST_EXEMPT:
        yield f"noProxy must be a list of at most {MOST_EXEMPT} entries"
        return
    for number, each in enumerate(exempt):
        if not isinstance(each, str) or len(each) > 253 or not _EXEMPT.fullmatch(each):
            yield (
                f"noProxy[{number}] must be a host, a domain such as .example.com, an IP address or an IPv4 network "
                "such as 10.0.0.0/8"
            )


def read_ca_bundle(path: Path) -> str:
    """The certificates in the file, and nothing else of it: a private key in it stays where it is. Raises Problems."""
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BUNDLE_BYTES + 1)
    except OSError as error:
        raise Problems(f"the CAs of the chart value runtime.caBundle can't be read: {error}") from error
    if len(content) > MOST_BUNDLE_BYTES:
        raise Problems(f"the CAs in {path} have more than {MOST_BUNDLE_BYTES} bytes; leave the public CAs out")
    found = list(dict.fromkeys(_CERTIFICATE.findall(content.decode(errors="replace"))))
    if not found:
        raise Problems(f"{path} has no certificate in PEM (-----BEGIN CERTIFICATE-----)")
    for number, each in enumerate(found, 1):
        try:
            ssl.create_default_context(cadata=each)
        except (ValueError, ssl.SSLError) as error:
            raise Problems(f"certificate {number} of {len(found)} in {path} is invalid: {error}") from error
    return "".join(f"{each}\n" for each in found)
