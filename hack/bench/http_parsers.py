#!/usr/bin/env python3
"""Compares the HTTP parsers: CPU time per request with httptools as in uvicorn, with httptools and the runtime's
limits, and with h11, which has its own limits. Each serves a small application; all get requests in turns over 32
connections.

    hack/bench/http_parsers.py [--rounds 9]
"""

import argparse
import asyncio
import gc
import multiprocessing
import resource
import socket
import statistics
from typing import Any

import uvicorn
import uvloop

PARSERS = {"httptools": "httptools", "limits": "llmservice_runtime.vllm_plugins.connections:BoundedHttp", "h11": "h11"}
CONNECTIONS, REQUESTS = 32, 200
BODY = b'{"model":"tiny","prompt":"The quick brown fox jumps over the lazy dog","max_tokens":16,"stream":true}'
HEADERS = [
    *(b"Host: chat.team-a:8000", b"Authorization: Bearer llm_abcdefghjkmnp_" + b"A" * 43),
    *(b"Content-Type: application/json", b"Accept: application/json", b"Accept-Encoding: gzip, deflate"),
    *(b"User-Agent: OpenAI/Python 3.57.0", b"X-Stainless-Lang: python", b"X-Stainless-Package-Version: 3.57.0"),
    *(b"X-Stainless-OS: Linux", b"X-Stainless-Arch: x64", b"X-Stainless-Runtime: CPython"),
    *(b"X-Stainless-Runtime-Version: 3.11.7", b"Content-Length: %d" % len(BODY)),
]
REQUEST = b"\r\n".join([b"POST /v1/completions HTTP/1.1", *HEADERS, b"", BODY])
END = b"end of answer"


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answers with the CPU seconds of its process."""
    if scope["type"] == "lifespan":
        for step in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{step}.complete"})
        return
    await receive()
    used = resource.getrusage(resource.RUSAGE_SELF)
    body = b"%f %s" % (used.ru_utime + used.ru_stime, END)
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def serve(parser: str, listening: socket.socket) -> None:
    """One server, until it is terminated."""
    gc.freeze()
    config = uvicorn.Config(app, http=parser, log_level="warning", access_log=False)
    uvloop.run(uvicorn.Server(config).serve(sockets=[listening]))


async def ask(port: int, times: int) -> float:
    """The server's CPU seconds when it answered the last request."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = b""
    for _ in range(times):
        writer.write(REQUEST)
        answer = await reader.readuntil(END)
    writer.close()
    return float(answer.split()[-4])


async def microseconds(port: int) -> float:
    """CPU time for one request."""
    before = await ask(port, 10)
    used = max(await asyncio.gather(*(ask(port, REQUESTS) for _ in range(CONNECTIONS)))) - before
    return used / (CONNECTIONS * REQUESTS) * 1e6


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=9)
    rounds = options.parse_args().rounds
    sockets = {name: socket.create_server(("127.0.0.1", 0)) for name in PARSERS}
    servers = [multiprocessing.Process(target=serve, args=(PARSERS[name], sockets[name])) for name in PARSERS]
    for server in servers:
        server.start()
    found: dict[str, list[float]] = {name: [] for name in PARSERS}
    for _ in range(rounds):
        for name in PARSERS:
            found[name].append(uvloop.run(microseconds(sockets[name].getsockname()[1])))
    for server in servers:
        server.terminate()
    for name, each in found.items():
        print(f"{name}: {statistics.median(each):.1f} microseconds of CPU time for a request, {min(each):.1f} at least")


if __name__ == "__main__":
    main()
