"""What pods are told so that the kubelet looks after their volumes at once.

By itself it brings a changed Secret or ConfigMap into a running pod within about a minute and a half. It does so within
seconds where an annotation of the pod changes; what the annotation says, nobody reads.
"""

from collections.abc import Iterator

from llmservice_contract.container import ACCESS_FILE
from llmservice_operator.planner.model import pods
from llmservice_operator.planner.model.drift import differs
from llmservice_operator.planner.model.observed import Object
from llmservice_operator.planner.model.plan import Annotation
from llmservice_operator.planner.model.state import ServiceState
from llmservice_operator.resources import names


def refresh_annotations(state: ServiceState, policy: Object | None) -> Iterator[Annotation]:
    """What each pod of the engine still has to be told: that somebody asks for a look at the service's Secrets, whether
    or not its spec makes sense, and, once the ConfigMap is as ``policy`` wants it, which policy holds."""
    refresh = pods.annotations(state.observed.service).get(names.REFRESH_ANNOTATION)
    asked = {} if refresh is None else {names.REFRESH_ANNOTATION: refresh}
    newest = _in_place(state, policy)
    for pod in state.engines:
        mounts = policy is not None and policy["metadata"]["name"] in pods.mounted_configmaps(pod)
        wanted = asked | (newest if mounts else {})
        missing = {key: value for key, value in wanted.items() if pods.annotations(pod).get(key) != value}
        if missing:
            meta = pod["metadata"]
            yield Annotation(meta["namespace"], meta["name"], meta["uid"], missing)


def _in_place(state: ServiceState, policy: Object | None) -> dict[str, str]:
    """The annotation for the policy that is there to be read; a pod that looks any earlier would see the old one."""
    if policy is None:
        return {}
    live = state.child("ConfigMap", policy["metadata"]["name"])
    if live is None or differs(policy, live):
        return {}
    return {names.ACCESS_ANNOTATION: names.digest(policy["data"][ACCESS_FILE])}
