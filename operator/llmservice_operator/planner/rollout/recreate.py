"""StatefulSets with changed immutable fields.

Such a StatefulSet is deleted without its pods and created again with the same name; the new one adopts the pods. Pods
with an unchanged template are not restarted; others are rolled out as usual. Until then a pod that dies is replaced by
one of the new revision, because the new StatefulSet has no older one.
"""

from typing import Any

from llmservice_operator.planner.model.observed import Object
from llmservice_operator.resources import quantity

_FIELDS = ("serviceName", "podManagementPolicy", "selector")


def requires_recreate(rendered: Object, live: Object) -> bool:
    """Whether ``rendered`` can't be applied to the live StatefulSet."""
    wanted, found = rendered["spec"], live["spec"]
    return any(wanted.get(field) != found.get(field) for field in _FIELDS) or _claims(wanted) != _claims(found)


def still_mountable(template: Any, rendered: Object, live: Object) -> Any:
    """The template of the live StatefulSet, usable for a rollback without the claims that are no longer rendered: each
    of them becomes an emptyDir.

    None if a new StatefulSet would use Secrets or claims that the spec no longer names: the admission policy on the
    operator allows a new StatefulSet only those in the spec.
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
    """Secrets and claims that a template uses, each with its kind."""
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
    """The value at that path; None if there is none. The input is an annotation, which may hold anything."""
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _claims(spec: Any) -> dict[str, Any]:
    """Access modes, storage class and size of each claim template, by name."""
    return {
        claim["metadata"]["name"]: (
            tuple(claim["spec"].get("accessModes") or ()),
            claim["spec"].get("storageClassName"),
            quantity.parse(claim["spec"]["resources"]["requests"]["storage"]),
        )
        for claim in spec.get("volumeClaimTemplates") or ()
    }
