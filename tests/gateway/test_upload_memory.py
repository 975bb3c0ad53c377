"""Uploads of files pass through the gateway: it holds little of each."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

from support.nginx_gateway import nginx_gateway, service

UPLOADS = 24
EACH_MIB = 0.25
"""Of memory, with the buffers of its connections."""
HEAD = (
    b"POST /v1/files HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n"
    b"Content-Type: multipart/form-data; boundary=x\r\n\r\n"
)


def memory_mib(pids: list[int]) -> float:
    """Their own memory, without what they share with each other."""
    found = 0
    for pid in pids:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        found += sum(int(line.split()[1]) for line in lines if line.startswith(("Private_Dirty", "Private_Clean")))
    return found / 1024


def test_an_upload_that_is_not_read_takes_little_memory(tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0), backlog=2 * UPLOADS) as silent,
        nginx_gateway(tmp_path / "gateway", batches_bytes=2**28) as gateway,
        contextlib.ExitStack() as opened,
    ):
        silent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        gateway.route({service(): []}, batches=silent.getsockname()[1])
        before = memory_mib(gateway.workers())
        for _ in range(UPLOADS):
            upload = opened.enter_context(socket.create_connection(("127.0.0.1", gateway.port), timeout=30))
            upload.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
            upload.sendall(HEAD)
            upload.settimeout(0.1)
            with contextlib.suppress(TimeoutError):
                for _ in range(1000):
                    upload.sendall(b"x" * 65_536)
        assert memory_mib(gateway.workers()) - before < UPLOADS * EACH_MIB
