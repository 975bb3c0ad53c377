"""Containers that a webhook adds before the others hide neither the engine nor the operator from `kubectl llm plan`."""

from __future__ import annotations

import copy
from typing import Any

from builders.observed import a_scene
from llmservice_operator.cli.plan.platform_discovery import from_children, from_deployment

PROXY = {"name": "istio-proxy", "image": "registry.example.com/proxy:1", "imagePullPolicy": "Never"}


def test_the_engine_is_found_behind_a_sidecar() -> None:
    scene = a_scene().settled()
    children = copy.deepcopy(list(scene.children))
    (statefulset,) = [each for each in children if each["kind"] == "StatefulSet"]
    containers: list[Any] = statefulset["spec"]["template"]["spec"]["containers"]
    image = containers[0]["image"]
    containers.insert(0, PROXY)
    found = from_children(scene.service, children, (), scene.service["spec"], None)
    assert found.platform.runtime_image == image
    assert found.platform.image_pull_policy != "Never"


def test_the_operator_is_found_behind_a_sidecar() -> None:
    env = [{"name": "LLMSERVICE_NAMESPACES", "value": "team-b"}]
    spec = {"containers": [PROXY, {"name": "operator", "image": "operator", "env": env}]}
    deployment = {"metadata": {"name": "operator"}, "spec": {"template": {"spec": spec}}}
    assert from_deployment([deployment], "team-a", None) is None, "it serves another namespace"
