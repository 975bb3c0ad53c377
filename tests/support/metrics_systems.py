"""Thanos and Mimir in front of Prometheus, each as separate processes."""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.cache import CACHE
from support.cluster import START_SECONDS, wait_until
from support.ports import free_port
from support.prometheus_server import SCRAPE_SECONDS, PrometheusServer
from support.web import answers


def program(name: str) -> Path:
    """One that hack/cluster/metrics-systems builds."""
    found = CACHE / "bin" / name
    if not found.exists():
        pytest.fail(f"{name} is not on this machine ({found}): run hack/cluster/metrics-systems build")
    return found


class _Programs:
    """Programs that run until `stop`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, *command: Any) -> None:
        with (self._directory / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen([str(each) for each in command], stdout=log, stderr=log)

    def wait_until_ready(self, name: str, url: str) -> None:
        def ready() -> bool:
            assert self._processes[name].poll() is None, (self._directory / f"{name}.log").read_text()[-4000:]
            return answers(url)

        wait_until(ready, f"{name} answers", timeout=START_SECONDS)

    def stop(self, name: str) -> None:
        process = self._processes.pop(name)
        process.kill()
        process.wait()

    def stop_all(self) -> None:
        for name in list(self._processes):
            self.stop(name)


class ThanosServer(PrometheusServer):
    """Two Prometheus that scrape the same, as for high availability, each with a sidecar, and the querier over both.
    ``deduplicated``: it knows the label in which the two differ, and returns each series once."""

    def __init__(self, directory: Path, deduplicated: bool = False, **more: Any) -> None:
        twin = directory / "b"
        twin.mkdir()
        self._twin = PrometheusServer(twin, **more, settings={"global": {"external_labels": {"replica": "b"}}})
        self._deduplicated = deduplicated
        self._programs = _Programs(directory)
        self._query_port = free_port()
        super().__init__(directory, **more, settings={"global": {"external_labels": {"replica": "a"}}})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._query_port}"

    def scrape(self, *addresses: str, **labels: str) -> None:
        super().scrape(*addresses, **labels)
        self._twin.scrape(*addresses, **labels)

    def start(self) -> None:
        super().start()
        self._twin.start()
        thanos = program("thanos")
        sidecars = []
        for name, server in (("a", self), ("b", self._twin)):
            ports = free_port(), free_port()
            # Strict: one that can't be reached is an error. Others are left out of the answers after some seconds.
            sidecars.append(f"--endpoint-strict=127.0.0.1:{ports[0]}")
            self._programs.start(
                f"sidecar-{name}",
                thanos,
                "sidecar",
                f"--prometheus.url=http://{server.address}",
                f"--tsdb.path={server.data}",
                f"--grpc-address=127.0.0.1:{ports[0]}",
                f"--http-address=127.0.0.1:{ports[1]}",
            )
            self._programs.wait_until_ready(f"sidecar-{name}", f"http://127.0.0.1:{ports[1]}/-/ready")
        self._programs.start(
            "query",
            thanos,
            "query",
            *sidecars,
            f"--http-address=127.0.0.1:{self._query_port}",
            f"--grpc-address=127.0.0.1:{free_port()}",
            *(["--query.replica-label=replica"] if self._deduplicated else []),
        )
        self._programs.wait_until_ready("query", f"{self.url}/-/ready")
        wait_until(
            lambda: len(self.query("count by (replica) (up or vector(0))")) > 0,
            "Thanos answers queries",
            timeout=START_SECONDS,
        )

    def lose_one(self) -> None:
        """One of the two can't be reached any more."""
        self._programs.stop("sidecar-b")

    def stop(self) -> None:
        self._programs.stop_all()
        self._twin.stop()
        super().stop()


class MimirServer(PrometheusServer):
    """Prometheus that sends all samples to Mimir, which answers for the tenant that a header names."""

    headers: Mapping[str, str] = {"X-Scope-OrgID": "team"}

    def __init__(self, directory: Path, **more: Any) -> None:
        self._mimir_port, self._grpc_port = free_port(), free_port()
        self._programs = _Programs(directory)
        to_mimir = {"url": f"http://127.0.0.1:{self._mimir_port}/api/v1/push", "headers": dict(self.headers)}
        queue = {"batch_send_deadline": f"{SCRAPE_SECONDS}s"}
        super().__init__(directory, **more, settings={"remote_write": [{**to_mimir, "queue_config": queue}]})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._mimir_port}/prometheus"

    def start(self) -> None:
        files = self.data.parent / "mimir"
        (files / "rules").mkdir(parents=True)
        ring = {"instance_addr": "127.0.0.1", "kvstore": {"store": "inmemory"}}
        settings = {
            "target": "all",
            "multitenancy_enabled": True,
            "usage_stats": {"enabled": False},
            "server": {
                "http_listen_address": "127.0.0.1",
                "http_listen_port": self._mimir_port,
                "grpc_listen_address": "127.0.0.1",
                "grpc_listen_port": self._grpc_port,
                "log_level": "warn",
            },
            "common": {"storage": {"backend": "filesystem", "filesystem": {"dir": str(files / "store")}}},
            "blocks_storage": {
                "storage_prefix": "blocks",
                "tsdb": {"dir": str(files / "tsdb")},
                "bucket_store": {"sync_dir": str(files / "sync")},
            },
            "compactor": {"data_dir": str(files / "compactor"), "sharding_ring": ring},
            "distributor": {"ring": ring},
            "ingester": {"ring": {**ring, "replication_factor": 1, "min_ready_duration": "0s"}},
            "store_gateway": {"sharding_ring": {**ring, "replication_factor": 1}},
            "ruler": {"rule_path": str(files / "ruler"), "ring": ring},
            "ruler_storage": {"backend": "local", "local": {"directory": str(files / "rules")}},
            "query_scheduler": {"ring": ring},
            "frontend": {"address": "127.0.0.1"},
            "activity_tracker": {"filepath": str(files / "activity.log")},
        }
        (files / "mimir.yml").write_text(yaml.safe_dump(settings))
        self._programs.start("mimir", program("mimir"), f"-config.file={files}/mimir.yml")
        self._programs.wait_until_ready("mimir", f"http://127.0.0.1:{self._mimir_port}/ready")
        super().start()

    def stop(self) -> None:
        super().stop()
        self._programs.stop_all()
