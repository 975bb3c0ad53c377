"""StatefulSets whose unchangeable fields are to change.

Such a set is deleted so that its pods stay, and made anew under its name, which adopts them. Pods whose template stays
the same are not restarted; others are rolled out as ever. Until then a pod that dies comes back new, as the new set
knows no revision before.
"""

from typing import Any

from llmservice_operator.planner.model.observed import Object
from llmservice_operator.resources import quantity

_FIELDS = ("serviceName", "podManagementPolicy", "selector")


def requires_recreate(rendered: Object, live: Object) -> bool:
    """Whether what is ``rendered`` can't be had by changing what is live."""
    wanted, found = rendered["spec"], live["spec"]
    return any(wanted.get(field) != found.get(field) for field in _FIELDS) or _claims(wanted) != _claims(found)


def still_mountable(template: Any, rendered: Object, live: Object) -> Any:
    """The template of the live set, such that it can be gone back to without the disks that are rendered no more: a
    directory of the pod takes the place of each.

    None where a new set would bring back Secrets or claims that the spec names no more: the admission policy on the
    operator knows of a new set only what the spec names.
    """
    if (
        template is not None
        and requires_recreate(rendered, live)
        and not taken(template) <= taken(rendered["spec"]["template"])
    ):
        return None
    gone = [name for name in _claims(live["spec"]) if name not in _claims(rendered["spec"])]
    if not gone or template is None:
        return template
    volumes = [*(template["spec"].get("volumes") or ()), *({"name": name, "emptyDir": {}} for name in gone)]
    return {**template, "spec": {**template["spec"], "volumes": volumes}}


def taken(template: Any) -> set[tuple[str, str]]:
    """Secrets and claims of a template's pods, each with its kind."""
    spec = template["spec"]
    variables = [each for container in spec["containers"] for each in container.get("env") or ()]
    volumes = spec.get("volumes") or ()
    found = [
        *(("Secret", _at(each, "secret", "secretName")) for each in volumes),
        *(("PersistentVolumeClaim", _at(each, "persistentVolumeClaim", "claimName")) for each in volumes),
        *(("Secret", _at(each, "valueFrom", "secretKeyRef", "name")) for each in variables),
    ]
    return {(kind, name) for kind, name in found if isinstance(name, str)}


def _at(value: Any, *path: str) -> Any:
    """What is at that path; None where nothing is: an annotation may hold anything."""
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _claims(spec: Any) -> dict[str, Any]:
    """Each disk by its name: how it is had, of which class and size."""
    return {
        claim["metadata"]["name"]: (
            tuple(claim["spec"].get("accessModes") or ()),
            claim["spec"].get("storageClassName"),
            quantity.parse(claim["spec"]["resources"]["requests"]["storage"]),
        )
        for claim in spec.get("volumeClaimTemplates") or ()
    }
