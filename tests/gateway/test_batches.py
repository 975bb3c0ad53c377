"""Files and batches through the gateway's NGINX; each line has one answer, whatever is killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import openai
import pytest

from support.batches import (
    HTTP,
    BatchesProcess,
    batches_process,
    create,
    custom_ids,
    lines,
    openai_client,
    results,
    upload,
    wait_for,
)
from support.cluster import wait_until
from support.nginx_gateway import NAMESPACE, Gateway, Replica, nginx_gateway, service
from support.ports import free_port

TESTS = Path(__file__).parents[1]
MANY = os.environ.get("CAMPAIGN") == "full"
LINES = 50_000 if MANY else 1_000
FILE_BYTES = 64 * 2**20
Make = Callable[..., Replica]


class ReplicaProcess:
    """A stand-in for a replica that can be killed."""

    revision = ""

    def __init__(self, seconds: float, *keys: str) -> None:
        self.port = free_port()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "support.batches_replica", str(self.port), str(seconds), *keys], cwd=TESTS
        )

    def kill(self) -> None:
        """Ends it at once."""
        self.process.kill()
        self.process.wait()


@pytest.fixture
def replica_processes() -> Iterator[Callable[..., ReplicaProcess]]:
    made: list[ReplicaProcess] = []

    def make(seconds: float, *keys: str) -> ReplicaProcess:
        made.append(ReplicaProcess(seconds, *keys))
        wait_until(lambda: listens(made[-1].port), "the replica listens", every=0.02)
        return made[-1]

    yield make
    for each in made:
        each.kill()


def client_of(gateway: Gateway, key: str = "key-1", base: str = "/v1") -> openai.OpenAI:
    """OpenAI's client at the gateway."""
    return openai_client(f"http://127.0.0.1:{gateway.port}{base}", key)


def listens(port: int) -> bool:
    """Whether something accepts connections there."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


def kill(gateway: Gateway) -> None:
    """Ends NGINX at once, with its workers."""
    for each in (gateway.process.pid, *gateway.workers()):
        os.kill(each, signal.SIGKILL)
    gateway.process.wait()


def test_files_and_batches_are_at_the_address_of_the_services(tmp_path: Path, replica: Make) -> None:
    chat, other = replica(["key-1"]), replica(["key-2"])
    port = free_port()
    with (
        nginx_gateway(tmp_path / "gateway", port=port, batches_bytes=FILE_BYTES, body_bytes=2**20) as gateway,
        batches_process(tmp_path / "data", f"http://127.0.0.1:{port}") as program,
    ):
        gateway.route({service("chat"): [chat], service("other"): [other]}, program.port)
        for base in ("/v1", f"/namespaces/{NAMESPACE}/v1", "/services/chat/v1"):
            client = client_of(gateway, base=base)
            batch = wait_for(client, create(client, lines(3)).id)
            assert batch.status == "completed"
            assert len(results(client, batch.output_file_id)) == 3
        assert len(chat.posts) == 9
        assert {each.headers["Authorization"] for each in chat.posts} == {"Bearer key-1"}
        with pytest.raises(openai.NotFoundError):
            client_of(gateway, "key-2").batches.retrieve(batch.id)
        with pytest.raises(openai.AuthenticationError):
            client_of(gateway, "wrong").batches.list()
        with pytest.raises(openai.NotFoundError):
            client_of(gateway, base="/namespaces/team-b/v1").files.list()
        # Larger than what the gateway takes of a request to a replica.
        content = b"x" * (5 * 2**20)
        file = upload(client, content)
        assert client.files.content(file.id).content == content
        assert gateway.metrics()["llmservice_gateway_held_body_bytes"] == 0
        # Another key has not a line answered by a service that does not accept it.
        second = client_of(gateway, "key-2")
        batch = create(second, lines(1))
        wait_until(lambda: "key_refused" in metrics(program), "the line is refused", every=0.02)
        second.batches.cancel(batch.id)
        assert wait_for(second, batch.id).status == "cancelled"
        assert {each.headers["Authorization"] for each in chat.posts[9:]} == {"Bearer key-2"}


def test_the_services_without_a_replica_are_counted(own_gateway: Gateway, replica: Make) -> None:
    own_gateway.route({service("one"): [replica(["key-1"])], service("asleep"): []})
    listed = own_gateway.ask("/v1/models", key="key-1")
    assert listed.headers["X-Services-Without-Replica"] == "1"
    own_gateway.route({service("one"): [replica(["key-1"])]})
    assert own_gateway.ask("/v1/models", key="wrong").headers["X-Services-Without-Replica"] == "0"


def test_without_its_program_or_the_setting_there_are_no_batches(
    own_gateway: Gateway, replica: Make, tmp_path: Path
) -> None:
    only = replica()
    own_gateway.route({service(): [only]})
    assert own_gateway.ask("/v1/files").status == 200
    assert [each.path for each in only.received] == ["/v1/files"]
    with nginx_gateway(tmp_path / "with", batches_bytes=FILE_BYTES) as gateway:
        gateway.route({service(): [only]})
        assert gateway.ask("/v1/files").code == "no_batches"
        gateway.route({service(): [only]}, free_port())
        assert gateway.ask("/v1/files").status == 502


@pytest.mark.parametrize(
    "path",
    [
        "/v1/%66iles",
        "/v1//files",
        "/v1/x/../files",
        "/namespaces/team-a/x/../v1/files",
        "/namespaces/team-b/../team-a/v1/files",
    ],
)
def test_a_path_that_is_written_in_another_way_leads_nowhere(tmp_path: Path, replica: Make, path: str) -> None:
    only, program = replica(), replica(name="batches")
    with nginx_gateway(tmp_path / "gateway", batches_bytes=FILE_BYTES) as gateway:
        gateway.route({service(): [only]}, program.port)
        gateway.ask(path)
        assert not program.received


def metrics(program: BatchesProcess) -> str:
    """Its page of metrics."""
    return HTTP.get(f"http://127.0.0.1:{program.metrics_port}/metrics").text


def done(client: openai.OpenAI, batch_id: str) -> int:
    """Lines with a result."""
    counts = client.batches.retrieve(batch_id).request_counts
    assert counts is not None
    return counts.completed + counts.failed


@pytest.mark.timeout(3600 if MANY else 600)
def test_each_line_has_one_answer_whatever_is_killed(
    tmp_path: Path, replica_processes: Callable[..., ReplicaProcess]
) -> None:
    one, other = replica_processes(0.05, "key-1"), replica_processes(0.05, "key-1")
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    seconds = 1800 if MANY else 120

    def wait_until_done(part: float) -> None:
        until = time.monotonic() + seconds
        while done(program.client(), batch.id) < part * LINES:
            assert time.monotonic() < until, program.client().batches.retrieve(batch.id)
            time.sleep(0.05)

    with batches_process(tmp_path / "data", address) as program:
        with nginx_gateway(tmp_path / "first", port=port, batches_bytes=FILE_BYTES) as gateway:
            gateway.route({service(): [one, other]}, program.port)  # type: ignore[list-item]
            batch = create(client_of(gateway), lines(LINES))
            wait_until_done(0.1)
            program.kill()
            program.start()
            wait_until_done(0.3)
            kill(gateway)
        with nginx_gateway(tmp_path / "second", port=port, batches_bytes=FILE_BYTES) as gateway:
            gateway.route({service(): [one, other]}, program.port)  # type: ignore[list-item]
            wait_until_done(0.5)
            other.kill()
            wait_until_done(0.6)
            gateway.route({service(): [one]}, program.port)  # type: ignore[list-item]
            wait_until_done(0.7)
            program.kill()
            program.start()
            batch = wait_for(client_of(gateway), batch.id, seconds=seconds)
            client = client_of(gateway)
            assert (batch.status, batch.error_file_id) == ("completed", None)
            assert custom_ids(client, batch) == Counter(f"line-{number}" for number in range(LINES))
            for each in results(client, batch.output_file_id):
                (choice,) = each["response"]["body"]["choices"]
                assert choice["message"]["content"] == f"answer to {each['custom_id']}"
