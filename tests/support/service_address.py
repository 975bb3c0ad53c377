"""A Service as kube-proxy serves it: each new connection goes to one of the ready replicas, and stays there."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
from collections.abc import Sequence


class ServiceAddress:
    """One address of this machine; a context manager. `ready` are the ports of the replicas, and may be replaced."""

    def __init__(self, ready: Sequence[int]) -> None:
        self.ready = tuple(ready)
        self._turn = itertools.count()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> ServiceAddress:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                replica = socket.create_connection(("127.0.0.1", self.ready[next(self._turn) % len(self.ready)]))
                for one, other in ((client, replica), (replica, client)):
                    threading.Thread(target=_copy, args=(one, other), daemon=True).start()


def _copy(one: socket.socket, other: socket.socket) -> None:
    """Until the end of what one side sends, which the other is shown."""
    with contextlib.suppress(OSError):
        while data := one.recv(65_536):
            other.sendall(data)
    with contextlib.suppress(OSError):
        other.shutdown(socket.SHUT_WR)
