"""Makes this process and its children trust the platform's private CAs beside the public ones.

Each client library reads another variable, and each variable replaces the public CAs: so all of them name one file with
the public CAs (those of certifi and of the image) and the platform's.
"""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Iterator, MutableMapping
from pathlib import Path

from llmservice_contract.container import PLATFORM_CA_VARIABLE
from llmservice_runtime.launcher.settings import WrongSettings
from llmservice_runtime.launcher.values import Problem

VARIABLES = (
    "SSL_CERT_FILE",  # OpenSSL, so Python's ssl, aiohttp and httpx; hf_xet; curl
    "REQUESTS_CA_BUNDLE",  # requests
    "CURL_CA_BUNDLE",  # curl
    "AWS_CA_BUNDLE",  # boto3 and the AWS SDK of the Run:ai streamer
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",  # gRPC
)
MOST_BYTES = 1024 * 1024
"""Maximum size of the platform's file. A ConfigMap is not larger."""


def trust_platform_ca(environ: MutableMapping[str, str]) -> None:
    """Sets VARIABLES in `environ` if it has PLATFORM_CA. Raises WrongSettings."""
    path = environ.get(PLATFORM_CA_VARIABLE)
    if not path:
        return
    try:
        own = _read(Path(path))
        ssl.create_default_context(cadata=own)
        bundle = _write("\n".join([*_public(environ), own]))
    except (OSError, ValueError) as error:
        raise WrongSettings(
            Problem(
                f"{PLATFORM_CA_VARIABLE}: the CAs of the platform in {path} can't be used: {error}. The platform team "
                "sets them with the chart value runtime.caBundle."
            )
        ) from error
    environ.update(dict.fromkeys(VARIABLES, str(bundle)))


def _read(path: Path) -> str:
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError(f"it has more than {MOST_BYTES} bytes")
    if not content.strip():
        raise ValueError("it is empty")
    return content.decode("ascii")


def _public(environ: MutableMapping[str, str]) -> Iterator[str]:
    """The public CAs: those of certifi, and those of the image."""
    found = [environ.get("SSL_CERT_FILE"), ssl.get_default_verify_paths().cafile, "/etc/ssl/certs/ca-certificates.crt"]
    try:
        import certifi

        found.insert(0, certifi.where())
    except ImportError:
        pass
    for path in dict.fromkeys(os.path.realpath(each) for each in found if each):
        if Path(path).is_file():
            yield Path(path).read_text(errors="replace")


def _write(content: str) -> Path:
    """The file with the content: one for each user, replaced as a whole, so that a restart leaves no second one."""
    target = Path(tempfile.gettempdir()) / f"llmservice-ca-{os.getuid()}.pem"
    with tempfile.NamedTemporaryFile("w", dir=target.parent, delete=False) as file:
        file.write(content)
    return Path(file.name).replace(target)
