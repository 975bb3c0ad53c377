"""Authentication to Prometheus and of Prometheus, from files that may change at any time."""

import base64
import ssl
from collections.abc import Iterable, Mapping
from pathlib import Path

from llmservice_operator.config.scaling import PrometheusSettings


class LoginError(Exception):
    """A file can't be used; the text says which and why."""


class Login:
    """Headers and TLS of each request; changed files are read again."""

    def __init__(self, settings: PrometheusSettings) -> None:
        self._settings = settings
        self._context: ssl.SSLContext | None = None
        self._stamps: list[tuple[int, int]] = []
        self._secrets: tuple[str, ...] = ()

    def headers(self) -> Mapping[str, str]:
        """The configured headers and the current token, or user and password. Raises LoginError."""
        settings = self._settings
        if settings.token_file is not None:
            token = _text(settings.token_file, "token")
            if not token.isascii() or " " in token:
                raise LoginError(
                    f"the token file {settings.token_file} has no valid token: one line of ASCII without spaces"
                )
            self._secrets = (token,)
            return {**settings.headers, "Authorization": f"Bearer {token}"}
        if settings.username_file is not None and settings.password_file is not None:
            user, password = _text(settings.username_file, "user"), _text(settings.password_file, "password")
            if ":" in user:
                raise LoginError(f"the user file {settings.username_file} has no valid user: it contains a colon")
            encoded = base64.b64encode(f"{user}:{password}".encode()).decode()
            self._secrets = (password, encoded)
            return {**settings.headers, "Authorization": f"Basic {encoded}"}
        return settings.headers

    def secrets(self) -> Iterable[str]:
        """Texts that no message may contain: the values of the headers, and the token or password last sent."""
        return filter(None, (*self._settings.headers.values(), *self._secrets))

    def context(self) -> ssl.SSLContext | bool:
        """For aiohttp; True if the URL is plain HTTP. Blocks. Raises LoginError."""
        settings = self._settings
        if not settings.url.startswith("https:"):
            return True
        files = [path for path in (settings.ca_file, settings.cert_file, settings.key_file) if path is not None]
        stamps = [_stamp(path) for path in files]
        if self._context is None or stamps != self._stamps:
            self._context, self._stamps = self._fresh(), stamps
        return self._context

    def _fresh(self) -> ssl.SSLContext:
        settings = self._settings
        try:
            context = ssl.create_default_context(cafile=settings.ca_file)
        except (OSError, ValueError) as error:
            raise LoginError(
                f"the CA file {settings.ca_file} (chart value scaling.prometheus.caSecret or caConfigMap) has no valid "
                f"certificate: {_why(error)}"
            ) from None
        if settings.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if settings.cert_file is not None and settings.key_file is not None:
            try:
                context.load_cert_chain(settings.cert_file, settings.key_file)
            except (OSError, ValueError) as error:
                files = f"{settings.cert_file} and {settings.key_file}"
                raise LoginError(
                    f"{files} are not a certificate and its key: {_why(error)}. Correct the Secret of the chart value "
                    "scaling.prometheus.clientCertificateSecret"
                ) from None
        return context


def _text(path: Path, what: str) -> str:
    """The one line of a file. Raises LoginError."""
    try:
        text = path.read_text().strip()
    except (OSError, ValueError) as error:
        raise LoginError(f"the {what} file {path} can't be read: {_why(error)}") from None
    if not text or not text.isprintable():
        raise LoginError(f"the {what} file {path} has no valid {what}: one line of text")
    return text


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError as error:
        raise LoginError(f"the file {path} can't be read: {_why(error)}") from None
    return found.st_mtime_ns, found.st_ino


def words_of(error: ssl.SSLError) -> str:
    """OpenSSL's reason, without the location in its source."""
    return (error.reason or "not PEM").replace("_", " ").lower()


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return words_of(error)
    return (error.strerror if isinstance(error, OSError) else None) or "not PEM"
