"""Fixtures of tests on the real node: the operator installed by helm as a user does, and a namespace with a model.

The runtime for NVIDIA GPUs is the CPU emulation image here: it requests GPUs, which the node
has only as numbers, and computes on the CPU. The one for AMD GPUs has a program in place of vLLM that computes nothing,
for tests with many engines.
Everything else is what a user runs. Tests that take the operator or the node away for a while carry the mark
``cluster_wide`` and come last.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmservice_operator import __version__
from support.cluster import ROOT, Cluster, connect, wait_until
from support.release import Release
from support.serving import Serving

MODEL_MANIFEST = ROOT / "hack" / "demo" / "model.yaml"
RUNTIME_IMAGE = f"localhost/llmservice/runtime-cpu:{__version__}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever they leave behind where they fail, the others have run."""
    here = Path(__file__).parent
    items.sort(key=lambda item: here in item.path.parents and item.get_closest_marker("cluster_wide") is not None)


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The cluster with the operator of this working tree installed for all namespaces."""
    found = connect()
    Release(found.kubeconfig).install()
    return found


@pytest.fixture(scope="session")
def serving(cluster: Cluster) -> Iterator[Serving]:
    """A namespace that admits restricted pods alone, with a small model at pvc://models/tiny."""
    with cluster.namespace("e2e") as name:
        label = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
        patched = cluster.request(
            "PATCH", f"/api/v1/namespaces/{name}", label, content_type="application/merge-patch+json"
        )
        assert patched.ok, patched.message
        made = Serving(cluster, name)
        script = (ROOT / "hack" / "models" / "make_tiny.py").read_text()
        made.apply(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "make-model"},
                "data": {"make_tiny.py": script},
            }
        )
        made.apply_text(MODEL_MANIFEST.read_text().replace("RUNTIME_IMAGE", RUNTIME_IMAGE))
        wait_until(lambda: made.job_done("make-model"), "the job make-model made the model", timeout=300, every=0.5)
        yield made


@pytest.fixture
def dump_on_failure(request: pytest.FixtureRequest, serving: Serving) -> Iterator[None]:
    """What the cluster said, printed where a test fails."""
    before = request.session.testsfailed
    yield
    if request.session.testsfailed > before:
        print(json.dumps(serving.everything(), indent=1)[:20000])
