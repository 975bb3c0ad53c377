"""A forward proxy on this machine, as companies have one between their clusters and the internet: CONNECT for https,
whole URLs for http. It alone knows where the hosts of a test are. And TLS in front of a server that has none."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from support.web import host

MOST_BYTES = 64 * 1024


class ForwardProxy:
    """Listens from its creation until `close`."""

    def __init__(self, hosts: Mapping[str, tuple[str, int]], address: str = "127.0.0.1") -> None:
        """`hosts`: where it connects to for a HOST:PORT. It refuses all others. `address`: where it listens."""
        self._hosts = hosts
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._server = socket.create_server((address, 0), family=family)
        self.asked: list[str] = []
        """The HOST:PORT of each request, in their order."""
        self.clients: set[str] = set()
        """The addresses that connected to it."""
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        address, port = self._server.getsockname()[:2]
        return f"http://{host(address)}:{port}"

    def close(self) -> None:
        """Takes no more connections."""
        self._server.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, (address, *_) = self._server.accept()
                self.clients.add(address)
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError, ValueError):
            client.settimeout(60)
            head = b""
            while b"\r\n\r\n" not in head and len(head) < MOST_BYTES:
                received = client.recv(MOST_BYTES)
                if not received:
                    return
                head += received
            line, _, rest = head.partition(b"\r\n")
            method, target, version = line.decode("latin-1").split(" ")
            url = urlsplit(target)
            name = target if method == "CONNECT" else f"{url.hostname}:{url.port or 80}"
            self.asked.append(name)
            if name not in self._hosts:
                client.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                return
            with socket.create_connection(self._hosts[name], timeout=60) as server:
                if method == "CONNECT":
                    client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                else:
                    path = url._replace(scheme="", netloc="").geturl() or "/"
                    server.sendall(f"{method} {path} {version}\r\n".encode("latin-1") + rest)
                _copy(client, server)


def _copy(one: socket.socket, other: socket.socket) -> None:
    """Both ways, until one of them ends."""
    while True:
        for readable in select.select([one, other], [], [], 60)[0] or [None]:
            data = readable.recv(MOST_BYTES) if readable is not None else b""
            while isinstance(readable, ssl.SSLSocket) and readable.pending():
                data += readable.recv(MOST_BYTES)
            if not data:
                return
            (other if readable is one else one).sendall(data)


@contextmanager
def serve_tls(certificate: Path, key: Path, target: tuple[str, int]) -> Iterator[tuple[str, int]]:
    """The place of a server with this certificate, which hands all on to `target` without TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    listening = socket.create_server(("127.0.0.1", 0))

    def serve(client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            client.settimeout(60)
            with context.wrap_socket(client, server_side=True) as inner, socket.create_connection(target, 60) as server:
                _copy(inner, server)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listening.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield ("127.0.0.1", listening.getsockname()[1])
    finally:
        listening.close()


@contextmanager
def serve_forward_proxy(hosts: Mapping[str, tuple[str, int]], address: str = "127.0.0.1") -> Iterator[ForwardProxy]:
    """A proxy that is closed at the end."""
    proxy = ForwardProxy(hosts, address)
    try:
        yield proxy
    finally:
        proxy.close()
