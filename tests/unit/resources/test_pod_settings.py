"""Labels, annotations, image and pull secrets that spec and platform add to pods."""

from typing import Any

import pytest

from builders.observed import a_scene
from builders.services import ServiceBuilder, a_service
from llmservice_operator.resources import names
from llmservice_operator.resources.platform import Platform
from llmservice_operator.resources.pod_allowlist import AllowedPod

Json = dict[str, Any]
SEVERAL = a_service().spread_over(tensor=2, nodes=2).with_replicas(1)
ANY = AllowedPod(labels=("*",), annotations=("*",), images=("registry.example.com/",), image_pull_secrets=("*",))
OF_PLATFORM = Platform(
    image_pull_secrets=("mirror",),
    pod_labels={"cost-center": "0", "owner": "platform"},
    pod_annotations={"example.com/note": "platform"},
    allowed_pod=ANY,
)
POD = {
    "labels": {"cost-center": "42", "sidecar.istio.io/inject": "false"},
    "annotations": {"example.com/note": "team"},
    "image": "registry.example.com/llm/runtime:1",
    "imagePullSecrets": ["team", "mirror"],
}


def objects(service: ServiceBuilder, platform: Platform) -> list[Json]:
    """All children, with the inspection Job."""
    scene = a_scene(service).on(platform)
    return [*scene.plan().objects, *a_scene(service.read()).on(platform).plan().objects]


def templates(service: ServiceBuilder, platform: Platform) -> list[Json]:
    found = [each["spec"]["template"] for each in objects(service, platform) if each["kind"] in ("StatefulSet", "Job")]
    assert len(found) == 3
    return found


def test_spec_and_platform_add_to_every_pod_and_the_spec_has_precedence() -> None:
    for template in templates(SEVERAL.with_spec(pod=POD), OF_PLATFORM):
        labels, annotations = template["metadata"]["labels"], template["metadata"]["annotations"]
        assert {"cost-center": "42", "owner": "platform", "sidecar.istio.io/inject": "false"}.items() <= labels.items()
        assert annotations["example.com/note"] == "team"
        assert template["spec"]["containers"][0]["image"] == POD["image"]
        assert template["spec"]["imagePullSecrets"] == [{"name": "mirror"}, {"name": "team"}]


def test_the_platform_adds_to_pods_of_services_that_say_nothing() -> None:
    for template in templates(SEVERAL, OF_PLATFORM):
        assert template["metadata"]["labels"]["cost-center"] == "0"
        assert template["spec"]["containers"][0]["image"] == OF_PLATFORM.runtime_image


def test_no_selector_has_what_was_added() -> None:
    added = {"cost-center", "owner", "sidecar.istio.io/inject"}

    def keys(value: Any, inside: bool) -> set[str]:
        if isinstance(value, list):
            return {key for each in value for key in keys(each, inside)}
        if not isinstance(value, dict):
            return set()
        below = {k for key, each in value.items() for k in keys(each, inside or key.lower().endswith("selector"))}
        return below | (set(value) if inside else set())

    made = objects(SEVERAL.with_spec(pod=POD), OF_PLATFORM)
    found = {key for each in made for key in keys(each.get("spec"), False)}
    assert names.INSTANCE_LABEL in found
    assert not added & found


@pytest.mark.parametrize("field", ["labels", "annotations"])
def test_the_operators_own_keys_have_precedence_over_any_other(field: str) -> None:
    """Should one ever pass the checks before."""
    forged = dict.fromkeys((names.NAME_LABEL, names.RANK_LABEL, names.SCRAPE_PORT_ANNOTATION), "forged")
    platform = Platform(pod_labels=forged, pod_annotations=forged)
    plain = templates(SEVERAL, Platform())
    for template, before in zip(templates(SEVERAL, platform), plain, strict=True):
        own = before["metadata"].get(field, {})
        assert own.items() <= template["metadata"][field].items()
