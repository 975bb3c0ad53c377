"""What people copy is taken by the API server as it stands: the samples, and the resources that pages show."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.cluster import ROOT, Cluster

SAMPLES = sorted((ROOT / "manifests" / "samples").glob("*.yaml"))
SERVICE = {"apiVersion": "llmservice.dev/v1alpha1", "kind": "LLMService"}
NEEDED: dict[str, Any] = {"model": {"source": "hf://org/model"}}
"""What a page leaves out that shows a part of a spec."""


def refusals(cluster: Cluster, namespace: str, text: str) -> dict[str, Any]:
    """Why LLMServices of this YAML are refused, by name; it holds one at least."""
    services = [each for each in yaml.safe_load_all(text) if each and each["kind"] == "LLMService"]
    assert services
    for each in services:
        each["metadata"].pop("namespace", None)
    answers = {each["metadata"]["name"]: cluster.create(namespace, each, dry_run=True) for each in services}
    return {name: answer.message for name, answer in answers.items() if not answer.ok}


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_the_api_server_takes_every_sample(cluster: Cluster, shared_namespace: str, sample: Path) -> None:
    assert refusals(cluster, shared_namespace, sample.read_text()) == {}


def shown(page: Path) -> list[str]:
    """The LLMServices that a page shows, those in part too."""
    blocks = re.findall(r"^```yaml\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    found = [block for block in blocks if "kind: LLMService" in block]
    parts = (yaml.safe_load(block)["spec"] for block in blocks if block.startswith("spec:"))
    for part in parts:
        model = part.get("model", {})
        whole = NEEDED | part | {"model": model if "ref" in model else NEEDED["model"] | model}
        found.append(yaml.safe_dump({**SERVICE, "metadata": {"name": "shown"}, "spec": whole}))
    return found


PAGES = [page for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))) if shown(page)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_api_server_takes_what_pages_show(cluster: Cluster, shared_namespace: str, page: Path) -> None:
    refused = [refusals(cluster, shared_namespace, block) for block in shown(page)]
    assert [each for each in refused if each] == []
