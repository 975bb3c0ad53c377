"""StatefulSets with changed immutable fields.

Such a StatefulSet is deleted without its pods and created again with the same name; the new one adopts the pods. Pods
with an unchanged template are not restarted; others are rolled out as usual. Until then a pod that dies is replaced by
one of the new revision, because the new StatefulSet has no older one.

An admission policy may change these fields when the StatefulSet is created. So an annotation has the digest of the
values that were desired then: the StatefulSet is only created again if other values are desired now.
"""

from typing import Any

from llmservice_operator.planner.model import pods
from llmservice_operator.planner.model.observed import Object
from llmservice_operator.resources import names, quantity
from llmservice_operator.resources.objects import canonical

_FIELDS = ("serviceName", "podManagementPolicy", "selector")
_CLAIMS = "volumeClaimTemplates"


def with_created_values(rendered: dict[str, Any], live: Object | None) -> dict[str, Any]:
    """``rendered`` with the immutable fields of the live StatefulSet, if these follow from the same desired values, and
    with the annotation for these values."""
    wanted = {field: rendered["spec"].get(field) for field in (*_FIELDS, _CLAIMS)}
    made_from = names.digest(canonical(wanted))
    known = pods.annotations(live).get(names.IMMUTABLE_ANNOTATION) if live is not None else None
    spec = rendered["spec"]
    if live is not None and known == made_from:
        spec = {key: value for key, value in spec.items() if key not in wanted}
        spec |= {field: live["spec"][field] for field in wanted if field in live["spec"]}
    meta = rendered["metadata"]
    annotations = {**meta.get("annotations", {}), names.IMMUTABLE_ANNOTATION: made_from}
    return {**rendered, "metadata": {**meta, "annotations": annotations}, "spec": spec}


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
