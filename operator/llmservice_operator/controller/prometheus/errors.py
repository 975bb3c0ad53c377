"""Messages for errors between the operator and Prometheus: the same error always has the same message.

No message has credentials: neither the token nor a header's value, even if Prometheus or a proxy sends them back.
"""

import errno
import os
import socket
import ssl
from urllib.parse import urlsplit

import aiohttp

from llmservice_operator.autoscaling.metrics_unavailable import (
    PROMETHEUS_REFUSED,
    PROMETHEUS_TIMEOUT,
    PROMETHEUS_UNREACHABLE,
    MetricsUnavailable,
)
from llmservice_operator.autoscaling.prometheus_answers import AnswerError, clip, rows
from llmservice_operator.config.scaling import PrometheusSettings
from llmservice_operator.controller.prometheus.credentials import Login, LoginError, words_of

_SHORTEST_SECRET = 8
"""Shorter secrets are not replaced: they could occur in ordinary words."""


class PrometheusErrors:
    """Turns errors and error responses into MetricsUnavailable."""

    def __init__(self, settings: PrometheusSettings, login: Login) -> None:
        self._settings = settings
        self._login = login
        self._where = f"Prometheus at {_without_login(settings.url)}"

    def of(self, error: Exception) -> MetricsUnavailable:
        """MetricsUnavailable for the exception of a query."""
        match error:
            case LoginError():
                return self._gap(PROMETHEUS_UNREACHABLE, f"{self._where} is not queried: {error}")
            case AnswerError(kind="timeout" | "canceled"):
                return self._late()
            case AnswerError(kind=""):
                return self._gap(PROMETHEUS_UNREACHABLE, f"{self._where} sends an invalid response: {error}")
            case AnswerError():
                return self._gap(PROMETHEUS_REFUSED, f"{self._where} rejects the query: {error}")
            case TimeoutError():
                return self._late()
            case aiohttp.ClientConnectorCertificateError(certificate_error=ssl.SSLCertVerificationError() as reason):
                text = f"its certificate is not trusted: {reason.verify_message}"
                return self._unreachable(f"{text}. Set scaling.prometheus.caConfigMap or caSecret to its CA")
            case aiohttp.ClientConnectorCertificateError():
                return self._unreachable("its certificate is not trusted")
            case aiohttp.ClientConnectorDNSError():
                return self._unreachable("its host name can't be resolved")
            case aiohttp.ClientConnectorError(os_error=ssl.SSLError() as reason):
                return self._unreachable(f"TLS fails: {words_of(reason)}")
            case ssl.SSLError() as reason:
                return self._unreachable(f"TLS fails: {words_of(reason)}")
            case aiohttp.ClientOSError(__cause__=ssl.SSLError()) | BrokenPipeError() | ConnectionResetError():
                return self._unreachable(self._cut())
            case aiohttp.ServerDisconnectedError() | aiohttp.ClientPayloadError():
                return self._unreachable(self._cut())
            case OSError(errno=errno.EPIPE | errno.ECONNRESET):
                return self._unreachable(self._cut())
            case aiohttp.InvalidURL():
                return self._unreachable("scaling.prometheus.url is not a URL")
            case OSError():
                return self._unreachable(_system_error(error))
            case _:
                return self._unreachable(f"the response is not HTTP ({type(error).__name__})")

    def refusal(self, status: int, location: str, body: bytes) -> MetricsUnavailable:
        """MetricsUnavailable for a response with a status other than 200."""
        own, kind = _words(body)
        if kind in {"timeout", "canceled"} or status == 504:
            return self._late()
        said = f"{self._where} returns status {status}" + (f": {own}" if own else "")
        match status:
            case 401 | 403:
                advice = (
                    "Check the operator's credentials and tenant: scaling.prometheus.tokenSecret, basicAuthSecret, "
                )
                more = "clientCertificateSecret and headers (the tenant, such as X-Scope-OrgID)"
                return self._gap(PROMETHEUS_REFUSED, f"{said}. {advice}{more}")
            case 404 | 405:
                advice = "Set scaling.prometheus.url to the URL without /api/v1"
                return self._gap(PROMETHEUS_UNREACHABLE, f"{said}. {advice}")
            case _ if 300 <= status < 400:
                target = f" to {_without_login(clip(location))}" if location else ""
                advice = "redirects are not followed: set scaling.prometheus.url to the target of the redirect"
                return self._gap(PROMETHEUS_UNREACHABLE, f"{self._where} redirects{target} ({status}); {advice}")
            case _ if 400 <= status < 500:
                return self._gap(PROMETHEUS_REFUSED, said)
            case _:
                return self._gap(PROMETHEUS_UNREACHABLE, said)

    def _cut(self) -> str:
        text = "it closes the connection before the response is complete"
        if self._settings.url.startswith("https:") and self._settings.cert_file is None:
            return f"{text}; if it requires a client certificate, set scaling.prometheus.clientCertificateSecret"
        return text

    def _late(self) -> MetricsUnavailable:
        limit = f"{self._settings.timeout_seconds:g} s"
        return self._gap(
            PROMETHEUS_TIMEOUT,
            f"{self._where} does not respond within {limit}; the limit is scaling.prometheus.timeoutSeconds",
        )

    def _unreachable(self, why: str) -> MetricsUnavailable:
        return self._gap(PROMETHEUS_UNREACHABLE, f"{self._where} can't be reached: {why}")

    def _gap(self, reason: str, text: str) -> MetricsUnavailable:
        for secret in self._login.secrets():
            if len(secret) >= _SHORTEST_SECRET:
                text = text.replace(secret, "…")
        return MetricsUnavailable(reason, text)


def _words(body: bytes) -> tuple[str, str]:
    """Prometheus' message and errorType. For another response its beginning, for HTML nothing."""
    try:
        rows(body)
    except AnswerError as error:
        if error.kind:
            return str(error), error.kind
    text = body[:1000].decode(errors="replace").strip()
    return ("" if text.startswith(("<", "{", "[")) else clip(text)), ""


def _without_login(url: str) -> str:
    """The URL without user, password, query and fragment."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        return parts._replace(netloc=host, query="", fragment="").geturl()
    except ValueError:
        return "an address that is not a URL"


def _system_error(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return "its host name can't be resolved"
    if error.errno:
        return os.strerror(error.errno).lower()
    return "no connection"
