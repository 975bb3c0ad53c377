"""The process of files and batches, behind a stand-in for the gateway and its replicas."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx2
import openai
from aiohttp import web

from support.cluster import wait_until
from support.ports import free_port

NAMESPACE = "team-a"
ENDPOINT = "/v1/chat/completions"
HTTP = httpx2.Client(verify=False, limits=httpx2.Limits(max_keepalive_connections=0))
"""Loads no certificates: nothing here uses TLS, and reading them takes long."""
Behavior = Callable[[web.Request, dict[str, Any]], Awaitable[web.StreamResponse | None]]


class StubGateway:
    """Accepts keys and answers chats with the last message. Its server runs in a thread."""

    def __init__(self, keys: Sequence[str] = ("key-1", "key-2")) -> None:
        self.keys = set(keys)
        self.without_replica = 0
        """Services that can't be asked."""
        self.asked: Counter[str] = Counter()
        """Lines that arrived, by the text of their message."""
        self.used_keys: set[str] = set()
        self.in_work = self.most_in_work = 0
        self.behavior: Behavior | None = None
        """What comes before the answer, or instead of it."""
        self.port = free_port()
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._started.wait(30)

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        """Ends its connections and its thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        application = web.Application(client_max_size=2**26)
        application.add_routes(
            [
                web.get("/namespaces/{namespace}/v1/models", self._models),
                web.post("/namespaces/{namespace}/v1/chat/completions", self._chat),
            ]
        )
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        self._loop.run_until_complete(runner.setup())
        self._loop.run_until_complete(web.TCPSite(runner, "127.0.0.1", self.port, backlog=1024).start())
        self._started.set()
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())
        left = asyncio.all_tasks(self._loop)
        for task in left:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        self._loop.close()

    def _key(self, request: web.Request) -> str:
        return request.headers.get("Authorization", "").removeprefix("Bearer ")

    async def _models(self, request: web.Request) -> web.Response:
        if request.match_info["namespace"] != NAMESPACE:
            return web.json_response({"error": {"code": "no_service"}}, status=404)
        data = [{"id": "chat"}] if self._key(request) in self.keys and not self.without_replica else []
        headers = {"X-Services-Without-Replica": str(self.without_replica)}
        return web.json_response({"object": "list", "data": data}, headers=headers)

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        key = self._key(request)
        self.used_keys.add(key)
        if key not in self.keys:
            return web.json_response({"error": {"message": "no valid key"}}, status=401)
        body = await request.json()
        text = body["messages"][-1]["content"]
        self.asked[text] += 1
        self.in_work += 1
        self.most_in_work = max(self.most_in_work, self.in_work)
        try:
            if self.behavior is not None and (instead := await self.behavior(request, body)) is not None:
                return instead
        finally:
            self.in_work -= 1
        message = {"role": "assistant", "content": f"answer to {text}"}
        answer = {"id": "chat-1", "object": "chat.completion", "choices": [{"index": 0, "message": message}]}
        return web.json_response(answer, headers={"X-Request-Id": request.headers["X-Request-Id"]})


class BatchesProcess:
    """The real program."""

    def __init__(self, directory: Path, gateway: str, **settings: object) -> None:
        self.directory = directory
        self.port, self.metrics_port = free_port(), free_port()
        self._secret = directory.parent / f"{directory.name}.key"
        self._secret.write_text("s" * 32)
        directory.mkdir(exist_ok=True)
        given = {
            "directory": directory,
            "key_file": self._secret,
            "gateway": gateway,
            "port": self.port,
            "metrics_port": self.metrics_port,
            **settings,
        }
        self._environment = {f"LLMSERVICE_BATCHES_{name.upper()}": str(value) for name, value in given.items()}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it, and waits until it answers."""
        with (self.directory.parent / f"{self.directory.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "llmservice_operator", "batches"],
                env={**os.environ, **self._environment},
                stdout=log,
                stderr=log,
            )
        wait_until(self._is_ready, f"the program answers: {self.log()}", timeout=60, every=0.02)

    def _is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log()
        try:
            return HTTP.get(f"http://127.0.0.1:{self.metrics_port}/readyz").status_code == 200
        except httpx2.TransportError:
            return False

    def log(self) -> str:
        """What it has logged."""
        return (self.directory.parent / f"{self.directory.name}.log").read_text()

    def change_secret(self, text: str) -> None:
        """The Secret that it reads at its next start."""
        self._secret.write_text(text)

    def kill(self) -> None:
        """Ends it at once."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def terminate(self) -> int:
        """Ends it as Kubernetes does; the exit status."""
        assert self.process is not None
        self.process.terminate()
        status, self.process = self.process.wait(30), None
        return status

    def client(self, key: str = "key-1") -> openai.OpenAI:
        """OpenAI's own client."""
        url = f"http://127.0.0.1:{self.port}/namespaces/{NAMESPACE}/v1"
        return openai_client(url, key)


def openai_client(url: str, key: str) -> openai.OpenAI:
    """OpenAI's client, which tries nothing again."""
    http = openai.DefaultHttpx2Client(verify=False)
    return openai.OpenAI(base_url=url, api_key=key, max_retries=0, timeout=60, http_client=http)


@contextlib.contextmanager
def batches_process(directory: Path, gateway: str, **settings: object) -> Iterator[BatchesProcess]:
    """A started program."""
    made = BatchesProcess(directory, gateway, **settings)
    try:
        made.start()
        yield made
    finally:
        made.kill()


def line(custom_id: str, text: str = "", model: str = "chat", **changes: Any) -> bytes:
    """A line of an input."""
    body = {"model": model, "messages": [{"role": "user", "content": text or custom_id}]}
    return json.dumps({"custom_id": custom_id, "method": "POST", "url": ENDPOINT, "body": body, **changes}).encode()


def lines(count: int) -> bytes:
    """An input of so many lines."""
    return b"\n".join(line(f"line-{number}") for number in range(count)) + b"\n"


def upload(client: openai.OpenAI, content: bytes, name: str = "input.jsonl") -> openai.types.FileObject:
    """Makes a file for a batch."""
    return client.files.create(file=(name, content), purpose="batch")


def create(client: openai.OpenAI, content: bytes, **settings: Any) -> openai.types.Batch:
    """Uploads a file and makes a batch of it."""
    file = upload(client, content)
    return client.batches.create(input_file_id=file.id, endpoint=ENDPOINT, completion_window="24h", **settings)


def wait_for(client: openai.OpenAI, batch_id: str, *statuses: str, seconds: float = 60) -> openai.types.Batch:
    """The batch once it has one of these states, or has ended."""
    wanted = statuses or ("completed", "failed", "expired", "cancelled")
    until = time.monotonic() + seconds
    while (batch := client.batches.retrieve(batch_id)).status not in wanted:
        assert time.monotonic() < until, batch
        time.sleep(0.02)
    return batch


def results(client: openai.OpenAI, file_id: str | None) -> list[dict[str, Any]]:
    """The lines of a file of results."""
    if file_id is None:
        return []
    return [json.loads(each) for each in client.files.content(file_id).content.splitlines()]


def custom_ids(client: openai.OpenAI, batch: openai.types.Batch) -> Counter[str]:
    """How many results each line has."""
    found = results(client, batch.output_file_id) + results(client, batch.error_file_id)
    return Counter(each["custom_id"] for each in found)
