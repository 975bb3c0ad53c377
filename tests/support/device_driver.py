"""A driver of devices that do not exist, beside the kubelet of the local cluster's node.

Each driver has its own name, DeviceClass and devices, so that it changes nothing for other tests.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from support.cache import CACHE
from support.cluster import ROOT, Cluster, wait_until

API = "/apis/resource.k8s.io/v1"
NODE = "gpu-0"
KUBELET = Path(os.environ.get("LLMSERVICE_CLUSTER", CACHE / "cluster")) / "kubelet"


@dataclass(frozen=True)
class Driver:
    """A running driver. Its DeviceClass has its name."""

    cluster: Cluster
    name: str

    def devices(self) -> list[str]:
        """Names of the devices that it publishes."""
        slices = self.cluster.request("GET", f"{API}/resourceslices").body["items"]
        own = (each for each in slices if each["spec"]["driver"] == self.name)
        return [device["name"] for each in own for device in each["spec"].get("devices") or ()]


@contextlib.contextmanager
def device_driver(cluster: Cluster, log: Path, devices: int = 2, memory: str = "81559Mi") -> Iterator[Driver]:
    """Publishes so many devices of that memory on the node until the end of the block."""
    program = CACHE / "bin" / "device-driver"
    built = subprocess.run([ROOT / "hack" / "cluster" / "device-driver", "build"], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    driver = Driver(cluster, f"gpu-{secrets.token_hex(3)}.llmservice.dev")
    selectors = [{"cel": {"expression": f"device.driver == '{driver.name}'"}}]
    made = cluster.request(
        "POST", f"{API}/deviceclasses", {"metadata": {"name": driver.name}, "spec": {"selectors": selectors}}
    )
    assert made.ok, made.message
    arguments = {
        "kubeconfig": str(cluster.kubeconfig),
        "node": NODE,
        "driver": driver.name,
        "kubelet-dir": str(KUBELET),
        "devices": str(devices),
        "memory": memory,
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(program), *(f"--{name}={value}" for name, value in arguments.items())], stdout=output, stderr=output
        )
    try:
        wait_until(lambda: len(driver.devices()) == devices, lambda: f"the devices are published\n{log.read_text()}")
        yield driver
    finally:
        process.terminate()
        process.wait(30)
        shutil.rmtree(KUBELET / "plugins" / driver.name, ignore_errors=True)
        cluster.request("DELETE", f"{API}/deviceclasses/{driver.name}")
        cluster.request("DELETE", f"{API}/resourceslices", fieldSelector=f"spec.driver={driver.name}")
