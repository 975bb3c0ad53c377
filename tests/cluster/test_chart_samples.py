"""What people copy is taken by the API server as it stands: the samples, and the resources that pages show."""

import re
from typing import Any

import pytest
import yaml

from support.cluster import ROOT, Cluster

SAMPLES = sorted((ROOT / "manifests" / "samples").glob("*.yaml"))
PAGES = [ROOT / "README.md", ROOT / "docs" / "scaling.md"]


def refusals(cluster: Cluster, namespace: str, text: str) -> dict[str, Any]:
    """Why LLMServices of this YAML are refused, by name; it holds one at least."""
    services = [each for each in yaml.safe_load_all(text) if each and each["kind"] == "LLMService"]
    assert services
    for each in services:
        each["metadata"].pop("namespace", None)
    answers = {each["metadata"]["name"]: cluster.create(namespace, each, dry_run=True) for each in services}
    return {name: answer.message for name, answer in answers.items() if not answer.ok}


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_the_api_server_takes_every_sample(cluster: Cluster, shared_namespace: str, sample: Any) -> None:
    assert refusals(cluster, shared_namespace, sample.read_text()) == {}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_api_server_takes_what_pages_show(cluster: Cluster, shared_namespace: str, page: Any) -> None:
    blocks = re.findall(r"^```yaml\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    whole = [block for block in blocks if "kind: LLMService" in block]
    assert whole
    for block in whole:
        assert refusals(cluster, shared_namespace, block) == {}
