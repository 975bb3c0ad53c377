"""An HTTP probe of the engine on this host."""

from __future__ import annotations

import asyncio
import contextlib

LINE_BYTES = 2048
OK = b"200"


async def probe_http(port: int, path: str, seconds: float) -> str:
    """Empty where a GET of `path` is answered with 200, else what came instead."""
    try:
        async with asyncio.timeout(seconds):
            status = await _status(port, path)
    except TimeoutError:
        return f"{path} is not answered within {seconds:g} s"
    except (OSError, ValueError):
        return f"{path} is not answered"
    return "" if status == OK else f"{path} is answered with {status.decode('ascii', 'replace')}"


async def _status(port: int, path: str) -> bytes:
    """Raises OSError or ValueError if there is none."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=LINE_BYTES)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
        _version, status, *_phrase = (await reader.readline()).split(maxsplit=2)
        return status
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
