"""StatefulSets whose unchangeable fields are to change.

Such a set is deleted so that its pods stay, and made anew under its name, which adopts them. Pods whose template stays
the same are not restarted; others are rolled out as ever. Until then a pod that dies comes back new, as the new set
knows no revision before.
"""

from typing import Any

from llmservice_operator.core.observed import Object
from llmservice_operator.render import quantity

_FIELDS = ("serviceName", "podManagementPolicy", "selector")


def needed(rendered: Object, live: Object) -> bool:
    """Whether what is ``rendered`` can't be had by changing what is live."""
    wanted, found = rendered["spec"], live["spec"]
    return any(wanted.get(field) != found.get(field) for field in _FIELDS) or _claims(wanted) != _claims(found)


def still_mountable(template: Any, rendered: Object, live: Object) -> Any:
    """The template of the live set, such that it can be gone back to without the disks that are rendered no more: a
    directory of the pod takes the place of each."""
    gone = [name for name in _claims(live["spec"]) if name not in _claims(rendered["spec"])]
    if not gone or template is None:
        return template
    volumes = [*(template["spec"].get("volumes") or ()), *({"name": name, "emptyDir": {}} for name in gone)]
    return {**template, "spec": {**template["spec"], "volumes": volumes}}


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
