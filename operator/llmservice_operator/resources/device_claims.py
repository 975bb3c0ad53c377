"""Devices by dynamic resource allocation: each pod gets a ResourceClaim from the service's ResourceClaimTemplate.

A template is immutable and its name includes a hash of its content, so that each revision of the pods keeps its own. It
never requests administrative access, which would share the devices of others, and has no configuration for the driver.
"""

from typing import Any

from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.resources import devices, kinds, names
from llmservice_operator.resources.objects import Owner, canonical, metadata, sealed


def make_device_claim_template(owner: Owner, spec: LLMServiceSpec) -> dict[str, Any] | None:
    """The template of the claims of all pods; None if the pods claim no devices."""
    content = _claim(spec)
    if content is None:
        return None
    return sealed(
        {
            **kinds.RESOURCE_CLAIM_TEMPLATE.header,
            "metadata": metadata(owner, _name(owner.name, content), names.ENGINE_COMPONENT),
            "spec": {"spec": content},
        }
    )


def of_pod(service: str, spec: LLMServiceSpec) -> dict[str, Any]:
    """Fields of a pod spec; empty if the pods claim no devices."""
    content = _claim(spec)
    if content is None:
        return {}
    return {"resourceClaims": [{"name": names.DEVICE_CLAIM, "resourceClaimTemplateName": _name(service, content)}]}


def of_container() -> list[dict[str, str]]:
    """The claims of the engine's container, for its resources."""
    return [{"name": names.DEVICE_CLAIM}]


def annotations(spec: LLMServiceSpec) -> dict[str, str]:
    """Annotations of a pod that say what it claims; empty if it claims nothing. Its spec only names the template."""
    if spec.accelerator.device_class_name is None:
        return {}
    return {
        names.DEVICE_CLASS_ANNOTATION: spec.accelerator.device_class_name,
        names.DEVICE_COUNT_ANNOTATION: str(devices.per_node(spec)),
    }


def _name(service: str, content: dict[str, Any]) -> str:
    return names.device_claim_template(service, canonical(content))


def _claim(spec: LLMServiceSpec) -> dict[str, Any] | None:
    """The spec of one pod's claim."""
    accelerator = spec.accelerator
    if accelerator.device_class_name is None:
        return None
    selectors = [{"cel": {"expression": expression}} for expression in accelerator.device_selectors or ()]
    request = {
        "deviceClassName": accelerator.device_class_name,
        "allocationMode": "ExactCount",
        "count": devices.per_node(spec),
        **({"selectors": selectors} if selectors else {}),
    }
    return {"devices": {"requests": [{"name": names.DEVICE_CLAIM, "exactly": request}]}}
