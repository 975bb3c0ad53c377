"""A stand-in for AWS with web identity: an STS that gives keys for a pod's token, and a store that takes no others."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from support.http_server import serving

ROLE = "arn:aws:iam::123456789012:role/reader"
TOKEN, KEY, SESSION = "token-of-the-pod", "TEMPORARYKEY", "session-of-the-role"
_ANSWER = f"""<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>{KEY}</AccessKeyId><SecretAccessKey>secret</SecretAccessKey>
<SessionToken>{SESSION}</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>
<AssumedRoleUser><Arn>{ROLE}</Arn><AssumedRoleId>a:b</AssumedRoleId></AssumedRoleUser>
</AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"""
CREDENTIALS = "/v1/credentials"
"""Path of the agent of EKS Pod Identity."""
_OF_AGENT = {
    "AccessKeyId": KEY,
    "SecretAccessKey": "secret",
    "Token": SESSION,
    "Expiration": "2099-01-01T00:00:00Z",
}
_REFUSED = "<{kind}><Error><Code>{code}</Code><Message>no</Message></Error></{kind}>"
_DENIED = "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
_PASSED_ON = ("Content-Type", "Content-Length", "Content-Range", "ETag", "Last-Modified", "Accept-Ranges")


@dataclass
class WebIdentity:
    """Where it listens, and what was asked."""

    address: str
    roles: list[str] = field(default_factory=list)
    """Roles that were given, in order."""
    refused: list[str] = field(default_factory=list)
    """Requests of the store without the role's keys."""

    def pod_identity(self, token: Path) -> dict[str, str]:
        """What EKS Pod Identity sets in a pod of the ServiceAccount."""
        token.write_text(TOKEN)
        return {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": self.address + CREDENTIALS,
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(token),
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": self.address,
        }

    def variables(self, token: Path) -> dict[str, str]:
        """What EKS' webhook for web identity sets in a pod of the ServiceAccount."""
        token.write_text(TOKEN)
        return {
            "AWS_ROLE_ARN": ROLE,
            "AWS_WEB_IDENTITY_TOKEN_FILE": str(token),
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": self.address,
        }


@contextmanager
def serve_web_identity(store: str) -> Iterator[WebIdentity]:
    """Both on one address, before the store at that address, which asks for no keys itself."""
    behind = urlsplit(store)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            asked = parse_qs(self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode())
            if asked.get("Action") != ["AssumeRoleWithWebIdentity"] or asked.get("WebIdentityToken") != [TOKEN]:
                self._answer(403, _REFUSED.format(kind="ErrorResponse", code="AccessDenied").encode())
                return
            found.roles += asked["RoleArn"]
            self._answer(200, _ANSWER.encode())

        def do_GET(self) -> None:
            if self.path == CREDENTIALS:
                if self.headers.get("Authorization") != TOKEN:
                    self._answer(403, b"{}")
                    return
                found.roles.append(ROLE)
                self._answer(200, json.dumps(_OF_AGENT).encode(), {"Content-Type": "application/json"})
                return
            if (
                f"Credential={KEY}/" not in self.headers.get("Authorization", "")
                or self.headers.get("X-Amz-Security-Token") != SESSION
            ):
                found.refused.append(f"{self.command} {self.path}")
                self._answer(403, _DENIED.encode())
                return
            connection = http.client.HTTPConnection(str(behind.hostname), behind.port, timeout=30)
            passed = {name: self.headers[name] for name in ("Authorization", "Range") if name in self.headers}
            connection.request(self.command, self.path, headers=passed)
            answer = connection.getresponse()
            kept = {name: answer.headers[name] for name in _PASSED_ON if name in answer.headers}
            self._answer(answer.status, answer.read(), kept)
            connection.close()

        def do_HEAD(self) -> None:
            self.do_GET()

        def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in {
                "Content-Type": "text/xml",
                "Content-Length": str(len(body)),
                **(headers or {}),
            }.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with serving(Handler) as url:
        found = WebIdentity(url)
        yield found
