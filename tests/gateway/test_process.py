"""The whole gateway process: it watches a stand-in for the API server, and starts, reloads and ends NGINX."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import ssl
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from llmservice_operator.controller.gateway_counts import GatewayCounts
from llmservice_operator.resources import names
from support.cluster import wait_until
from support.gateway_process import SECONDS
from support.nginx_gateway import Replica
from support.watched_api import NAMESPACE, Watched, llmservice, pod, running


def test_ready_pods_are_in_the_rotation_and_leave_it_when_they_are_deleted(tmp_path: Path) -> None:
    watched = Watched()
    watched.put("llmservices", llmservice())
    watched.put("pods", pod(0))
    with running(tmp_path, watched) as gateway:
        gateway.wait_for("chat-0")
        watched.put("pods", pod(1, ready=False, address="fd00::1"))
        watched.put("pods", pod(2, address="10.0.0.3"))
        gateway.wait_for("chat-0", "chat-2")
        watched.put("pods", pod(1, address="fd00::1"))
        watched.put("pods", pod(0, deleted=True))
        gateway.wait_for("chat-1", "chat-2")
        watched.end_watches()
        watched.put("pods", pod(2), "DELETED")
        gateway.wait_for("chat-1")
        watched.put("llmservices", llmservice(), "DELETED")
        gateway.wait_for()
        assert b"ERROR" not in (tmp_path / "log").read_bytes()
        assert f"{names.COMPONENT_LABEL}={names.ENGINE_COMPONENT}" in watched.selectors["pods"]
        assert gateway.stop() == 0


def test_files_and_batches_are_where_their_service_is(tmp_path: Path) -> None:
    batches, watched = Replica(name="batches"), Watched()
    watched.put("llmservices", llmservice())
    with running(tmp_path, watched, LLMSERVICE_GATEWAY_BATCHES=f"127.0.0.1:{batches.port}") as gateway:
        wait_until(lambda: answered(gateway.port, "/v1/files") == 200, "files are served", timeout=SECONDS)
    assert {each.path for each in batches.received} == {f"/namespaces/{NAMESPACE}/v1/files"}
    batches.stop()


def answered(port: int, path: str) -> int:
    """The status of an answer; 0 without one."""
    try:
        with urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return int(answer.status)
    except HTTPError as error:
        return error.code
    except OSError:
        return 0


def test_the_operator_reads_how_requests_to_the_canary_of_a_status_end(tmp_path: Path) -> None:
    """Nothing answers at the address of its pod."""
    watched, revision = Watched(), "chat-7f9"
    status = {"canary": {"revision": revision, "weight": 0, "header": "x-canary"}}
    watched.put("llmservices", {**llmservice(), "status": status})
    made = pod(0, address="192.0.2.1")
    made["metadata"]["labels"][names.REVISION_LABEL] = revision
    watched.put("pods", made)
    with running(tmp_path, watched) as gateway:
        gateway.wait_for("chat-0")
        with ThreadPoolExecutor(3) as pool:
            assert all(each >= 502 for each in pool.map(gateway.chat, [{"X-Canary": "always"}] * 3))
        url = f"http://127.0.0.1:{gateway.metrics_port}"

        def stopped() -> bool:
            counts = asyncio.run(GatewayCounts(url).of((NAMESPACE, "chat"))) or {}
            return set(counts) == {revision} and counts[revision].braked

        wait_until(stopped, "the gateway has stopped the canary", timeout=SECONDS)


def test_without_the_api_server_the_rotation_stays(tmp_path: Path) -> None:
    watched = Watched()
    watched.put("llmservices", llmservice())
    watched.put("pods", pod(0))
    with running(tmp_path, watched) as gateway:
        gateway.wait_for("chat-0")
        watched.down = True
        watched.end_watches()
        wait_until(lambda: b"cannot watch" in (tmp_path / "log").read_bytes(), "the failure is logged", timeout=SECONDS)
        assert gateway.pods == {"chat-0"}
        with urlopen(f"http://127.0.0.1:{gateway.metrics_port}/readyz", timeout=10) as ready:
            assert ready.status == 200


def test_if_nginx_ends_the_process_ends(tmp_path: Path) -> None:
    with running(tmp_path, Watched()) as gateway:
        wait_until(lambda: bool(gateway.metrics()), "NGINX runs", timeout=SECONDS)
        os.kill(int((gateway.directory / "nginx.pid").read_text()), signal.SIGKILL)
        assert gateway.popen.wait(SECONDS) == 1
        assert not gateway.metrics()  # its workers have ended, too


def certificate(directory: Path, name: str) -> None:
    """Writes a key and a certificate for this name."""
    directory.mkdir(exist_ok=True)
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "1",
    ]
    files = ["-keyout", directory / "tls.key", "-out", directory / "tls.crt", "-subj", f"/CN={name}"]
    subprocess.run([*command, *files], check=True, capture_output=True)


def served(port: int) -> bytes:
    """The certificate that the gateway shows; empty while it does not listen."""
    with contextlib.suppress(OSError):
        return ssl.get_server_certificate(("127.0.0.1", port)).encode()
    return b""


def test_a_new_certificate_is_served_and_one_that_nginx_refuses_is_not(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    certificate(secret, "one")
    first = (secret / "tls.crt").read_bytes().strip()
    watched = Watched()
    with running(tmp_path, watched, LLMSERVICE_GATEWAY_TLS_DIRECTORY=str(secret)) as gateway:
        wait_until(lambda: served(gateway.port).strip() == first, "the first certificate is served", timeout=SECONDS)
        (secret / "tls.crt").write_text("no certificate")
        wait_until(lambda: "configuration_valid 0" in gateway.metrics(), "the second one is refused", timeout=SECONDS)
        assert served(gateway.port).strip() == first
        certificate(secret, "three")
        third = (secret / "tls.crt").read_bytes().strip()
        wait_until(lambda: served(gateway.port).strip() == third, "the third certificate is served", timeout=SECONDS)
        wait_until(lambda: "configuration_valid 1" in gateway.metrics(), "it is accepted", timeout=SECONDS)
        assert len(list(gateway.directory.glob("tls-*"))) == 1


@pytest.mark.parametrize("value", ["0", "x", "300"])
def test_a_setting_out_of_bounds_is_named(tmp_path: Path, value: str) -> None:
    environment = {**os.environ, "LLMSERVICE_GATEWAY_MAX_BODY": value}
    command = [sys.executable, "-m", "llmservice_operator", "gateway"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert ended.returncode == 2
    assert "LLMSERVICE_GATEWAY_MAX_BODY" in ended.stderr
    assert "from 1 to 256" in ended.stderr
