"""The TLS side of the metrics API: which certificate is shown, and which client certificates pass.

A client may come without a certificate. One that it shows must be signed by the front proxy's authority, or the
handshake fails: whoever gets through with a certificate has the front proxy's. A handshake uses what is in force when
it begins; connections from before a change can be told by ``is_current``.
"""

import os
import ssl

from llmservice_operator.controller.metrics_api.certificates import Signed


class ReloadableTLSContext:
    """``context`` is for the listening port, for good; ``replace`` sets what its handshakes use from then on."""

    def __init__(self) -> None:
        self.context = _context()
        self.context.sni_callback = self._choose
        self._current = self.context

    def replace(self, serving: Signed, authority: str) -> None:
        """Show ``serving``, and let client certificates pass that ``authority`` (PEM; may be empty) has signed.

        Raises ssl.SSLError where one can't be read; then all stays as it was.
        """
        context = _context()
        _load(context, serving)
        if authority:
            context.load_verify_locations(cadata=authority)
        self._current = context

    def is_current(self, connection: ssl.SSLObject) -> bool:
        """Whether this connection was made with what is in force now."""
        return connection.context is self._current

    def _choose(self, connection: ssl.SSLObject, host: str | None, context: ssl.SSLContext) -> None:
        connection.context = self._current


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_OPTIONAL
    # As with Kubernetes' own servers, an intermediate authority may be what is trusted.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    # A resumed session would carry a certificate past the check.
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
    context.num_tickets = 0
    return context


def _load(context: ssl.SSLContext, serving: Signed) -> None:
    # The ssl module reads keys from files alone: this one has no name and is in memory.
    file = os.memfd_create("serving", os.MFD_CLOEXEC)
    try:
        os.write(file, (serving.key_pem + serving.pem).encode())
        context.load_cert_chain(f"/proc/self/fd/{file}")
    finally:
        os.close(file)
