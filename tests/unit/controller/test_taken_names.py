"""Objects that have the names of a service's own: whose they are is known, and what they hold is not kept."""

from collections.abc import Iterator
from typing import Any

import pytest

from llmservice_operator.controller.client.trim import size
from llmservice_operator.planner.planner import plan
from unit.controller.conftest import Shell

SERVICES = 6
LARGEST_OF_A_SERVICE = 16 * 1024


@pytest.fixture
def crowded(shell: Shell) -> Iterator[Shell]:
    """Services, and for each a ConfigMap of 1 MB that has the name of the service's own."""
    shell.plan = plan
    for number in range(SERVICES):
        meta = {"namespace": "team-a", "name": f"s{number}"}
        spec = {"model": {"source": "pvc://m/x"}, "replicas": 1, "accelerator": {"type": "cpu"}}
        made: dict[str, Any] = {"apiVersion": "llmservice.dev/v1alpha1", "kind": "LLMService"}
        shell.see(shell.api.put({**made, "metadata": {**meta, "generation": 1}, "spec": spec}))
        meta = {**meta, "name": f"s{number}-access", "annotations": {"llmservice.dev/applied": "x" * 200_000}}
        shell.api.put({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"x": "x" * 1_000_000}})
    yield shell


async def test_of_an_object_whose_name_is_taken_is_kept_which_it_is(crowded: Shell) -> None:
    for _ in range(2):  # found by a write, then read again
        for number in range(SERVICES):
            await crowded.reconciler.reconcile(("team-a", f"s{number}"))
        service = crowded.api.get("LLMService", "team-a", "s0")
        assert service is not None
        reported = {each["type"]: each["reason"] for each in service["status"]["conditions"]}
        assert reported["Ready"] == "NameTaken"
        children = [child for observed in crowded.observed for child in observed.children]
        taken = [child for child in children if child["metadata"]["name"].endswith("-access")]
        assert len({child["metadata"]["name"] for child in taken}) == SERVICES
        assert all(size(child) < LARGEST_OF_A_SERVICE for child in taken)
        crowded.observed.clear()
