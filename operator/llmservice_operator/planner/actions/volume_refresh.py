"""Annotations on pods that make the kubelet refresh their volumes at once.

The kubelet updates a changed Secret or ConfigMap in a running pod within about 90 seconds, but within a few seconds
after an annotation of the pod changes. The value of the annotation has no meaning.
"""

from collections.abc import Iterator

from llmservice_contract.container import ACCESS_FILE
from llmservice_operator.planner.model import pods
from llmservice_operator.planner.model.foreign_changes import differs
from llmservice_operator.planner.model.observed import Object
from llmservice_operator.planner.model.plan import Annotation
from llmservice_operator.planner.model.state import ServiceState
from llmservice_operator.resources import names


def refresh_annotations(state: ServiceState, policy: Object | None) -> Iterator[Annotation]:
    """The annotations that are missing on engine pods: a requested refresh of the Secrets, whether or not the spec is
    valid; and the digest of the access policy, once the ConfigMap has the content of ``policy``."""
    refresh = pods.annotations(state.observed.service).get(names.REFRESH_ANNOTATION)
    asked = {} if refresh is None else {names.REFRESH_ANNOTATION: refresh}
    newest = _in_place(state, policy)
    configmap, both = policy["metadata"]["name"] if policy is not None else None, asked | newest
    for pod in state.engines if both else ():
        found = pods.annotations(pod)
        if both.items() <= found.items():
            continue
        wanted = both if configmap in pods.mounted_configmaps(pod) else asked
        missing = {key: value for key, value in wanted.items() if found.get(key) != value}
        if missing:
            meta = pod["metadata"]
            yield Annotation(meta["namespace"], meta["name"], meta["uid"], missing)


def _in_place(state: ServiceState, policy: Object | None) -> dict[str, str]:
    """The annotation for the policy if its ConfigMap is up to date. An earlier refresh would read the old content."""
    if policy is None:
        return {}
    live = state.child("ConfigMap", policy["metadata"]["name"])
    if live is None or differs(state, policy, live):
        return {}
    return {names.ACCESS_ANNOTATION: names.digest(policy["data"][ACCESS_FILE])}
