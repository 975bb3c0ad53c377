"""A cluster whose pods reach the hub only through a forward proxy, and whose hub has a certificate of a private CA.

The hub listens on this machine's loopback interface, which no pod reaches, and no DNS server knows its name: the proxy
alone, on the node's address, connects to it. The values of the chart are those of docs/install.md.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from builders.services import a_service
from support.aggregation import NODE_ADDRESS
from support.authority import Authority
from support.cluster import Cluster, wait_until
from support.forward_proxy import ForwardProxy, serve_forward_proxy, serve_tls
from support.hub import PUBLIC, serve_hub
from support.release import NAMESPACE, VALUES, Release
from support.serving import Serving

pytestmark = [pytest.mark.cluster_wide, pytest.mark.usefixtures("dump_on_failure"), pytest.mark.timeout(1500)]

HUB = "hub.corp.example"
SOURCE = f"https://{HUB}/{PUBLIC}"
CA = "corp-ca"


@pytest.fixture
def model(serving: Serving) -> Path:
    """The small model of these tests, in the directory of its volume on this machine."""
    claim = serving.get("PersistentVolumeClaim", "models") or {}
    volume = serving.cluster.request("GET", f"/api/v1/persistentvolumes/{claim['spec']['volumeName']}").body["spec"]
    return Path((volume.get("hostPath") or volume["local"])["path"], "tiny")


@contextmanager
def company(folder: Path, model: Path) -> Iterator[tuple[ForwardProxy, Path]]:
    """The proxy, and the file of the CA."""
    authority = Authority("Company CA")
    certificate = authority.issue(folder, "hub", [HUB])
    with serve_hub(model) as hub:
        place = urlsplit(hub)
        assert place.hostname and place.port
        with (
            serve_tls(*certificate, (place.hostname, place.port)) as tls,
            serve_forward_proxy({f"{HUB}:443": tls}, NODE_ADDRESS) as proxy,
        ):
            yield proxy, authority.write(folder)


@pytest.fixture
def release(cluster: Cluster) -> Iterator[Release]:
    """The release; afterwards it is again as the other tests have it."""
    made = Release(cluster.kubeconfig)
    try:
        yield made
    finally:
        made.install()
        cluster.request("DELETE", f"/api/v1/namespaces/{NAMESPACE}/configmaps/{CA}")


def values(proxy: ForwardProxy) -> dict[str, Any]:
    outside = {"proxy": {"http": proxy.url, "https": proxy.url}, "caBundle": {"configMap": CA, "key": "ca.crt"}}
    return {"allowed": {"sources": ["pvc://", f"https://{HUB}/"]}, "runtime": {**VALUES["runtime"], **outside}}


def test_a_model_is_read_and_loaded_through_the_proxy_alone(
    serving: Serving, release: Release, model: Path, tmp_path: Path
) -> None:
    name = f"proxied-{secrets.token_hex(3)}"
    with company(tmp_path, model) as (proxy, ca):
        bundle = {"metadata": {"name": CA}, "data": {"ca.crt": ca.read_text()}}
        made = serving.cluster.request("POST", f"/api/v1/namespaces/{NAMESPACE}/configmaps", bundle)
        assert made.ok, made.message
        release.install(**values(proxy))
        serving.apply(a_service(name).from_source(SOURCE).on_cpu().build())
        serving.wait_for(name, "Ready", "True")
        assert serving.post(name, {"prompt": "The above copyright notice", "max_tokens": 8})["choices"]
        (pod,) = serving.pods(name)
        assert proxy.clients > {pod["status"]["podIP"]}, "the inspection and the engine"
        assert set(proxy.asked) == {f"{HUB}:443"}
    serving.delete("LLMService", name)
    wait_until(lambda: not serving.pods(name), "its pods are gone", timeout=120)
