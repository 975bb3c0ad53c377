"""A service whose StatefulSet is too large to be kept is planned all the same."""

from typing import Any

from llmservice_operator.controller.client.trim import LARGEST
from unit.controller.conftest import KEY, Shell


def statefulset(note: int) -> dict[str, Any]:
    """That of the service chat, with an annotation of so many bytes."""
    owner = {"apiVersion": "llmservice.dev/v1alpha1", "kind": "LLMService", "name": KEY[1], "uid": "u"}
    metadata = {
        "namespace": KEY[0],
        "name": KEY[1],
        "labels": {"app.kubernetes.io/instance": KEY[1]},
        "annotations": {"x": "x" * note},
        "ownerReferences": [{**owner, "controller": True}],
    }
    template = {"spec": {"containers": [{"name": "engine"}]}}
    return {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": metadata, "spec": {"template": template}}


def kept(shell: Shell) -> dict[str, Any]:
    """The spec of it that the cache has."""
    return dict((shell.cache.get("StatefulSet", *KEY) or {})["spec"])


async def test_a_statefulset_that_is_too_large_to_be_kept_is_read_for_each_plan(shell: Shell) -> None:
    shell.see(shell.api.put(statefulset(LARGEST)))
    assert not kept(shell)
    await shell.look()
    seen = [child for child in shell.observed[-1].children if child["kind"] == "StatefulSet"]
    assert [each["spec"]["template"]["spec"]["containers"][0]["name"] for each in seen] == ["engine"]
    assert not kept(shell), "it is read, and not kept"
