"""TLS of the metrics API: its serving certificate, and the verification of client certificates.

A client need not have a certificate. If it has one, the front proxy's CA must have signed it, or the handshake fails: a
connection with a client certificate is the front proxy's. A handshake uses the certificates that are current when it
starts; ``is_current`` identifies older connections.
"""

import os
import ssl

from llmservice_operator.controller.metrics_api.certificates import Signed


class ReloadableTLSContext:
    """``context`` is for the listening port; ``replace`` sets the certificates of later handshakes."""

    def __init__(self) -> None:
        self.context = _context()
        self.context.sni_callback = self._choose
        self._current = self.context

    def replace(self, serving: Signed, authority: str) -> None:
        """Uses ``serving`` as the certificate, and accepts client certificates of the CA ``authority`` (PEM, may be
        empty).

        Raises ssl.SSLError if one of them is invalid; then nothing changes.
        """
        context = _context()
        _load(context, serving)
        if authority:
            context.load_verify_locations(cadata=authority)
        self._current = context

    def is_current(self, connection: ssl.SSLObject) -> bool:
        """Whether this connection was made with the current certificates."""
        return connection.context is self._current

    def _choose(self, connection: ssl.SSLObject, host: str | None, context: ssl.SSLContext) -> None:
        connection.context = self._current


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_OPTIONAL
    # As in Kubernetes' own servers, an intermediate CA may be trusted.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    # A resumed session would keep its certificate without a new verification.
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
    context.num_tickets = 0
    return context


def _load(context: ssl.SSLContext, serving: Signed) -> None:
    # The ssl module reads keys only from files: this one exists only in memory.
    file = os.memfd_create("serving", os.MFD_CLOEXEC)
    try:
        os.write(file, (serving.key_pem + serving.pem).encode())
        context.load_cert_chain(f"/proc/self/fd/{file}")
    finally:
        os.close(file)
