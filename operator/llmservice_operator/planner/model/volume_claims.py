"""The volume claims of replicas: which to keep and which to delete."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.planner.model import pods
from llmservice_operator.planner.model.observed import Object
from llmservice_operator.planner.model.plan import Deletion, deletion_of
from llmservice_operator.planner.model.state import ServiceState
from llmservice_operator.resources import names

KEPT = 1
"""Number of surplus claims to keep by default: a surge uses one."""

OF_ONE_NODE = frozenset({"ReadWriteOnce", "ReadWriteOncePod"})
"""Access modes with which only pods on one node can mount a volume."""


def of_one_node(claims: Iterable[str], modes: Mapping[str, frozenset[str]]) -> list[str]:
    """Those of ``claims`` that pods on one node only can mount. Claims with unknown access modes are left out."""
    return [claim for claim in claims if modes.get(claim) and modes[claim] <= OF_ONE_NODE]


def is_of_one_pod(modes: Mapping[str, frozenset[str]], claim: str) -> bool:
    """Whether only one pod can mount the claim."""
    return modes.get(claim) == frozenset({"ReadWriteOncePod"})


def claims(state: ServiceState) -> Iterator[tuple[str, int, Object]]:
    """The claims of the service's replicas: StatefulSet, number of the replica, claim."""
    for child in state.observed.children:
        if child["kind"] != "PersistentVolumeClaim" or pods.terminating(child):
            continue
        volume, _, pod = pods.name(child).partition("-")
        made_by, _, number = pod.rpartition("-")
        ours = names.rank_of_statefulset(state.owner.name, made_by) >= 0
        if volume == names.CACHE_VOLUME and ours and number.isdecimal() and len(number) < 10:
            yield made_by, int(number), child


def obsolete(state: ServiceState, spec: LLMServiceSpec, statefulsets: Sequence[Object]) -> list[Deletion]:
    """Claims that no pod uses and none will use soon. ``statefulsets`` are the desired ones."""
    there = list(claims(state))
    if not there:
        return []
    live = [each for each in state.observed.children if each["kind"] == "StatefulSet"]
    used = {claim for pod in state.pods for claim in pods.claims(pod)}
    kept: dict[str, int] = {}
    for each in (*live, *statefulsets):
        if each["spec"].get("volumeClaimTemplates"):
            name = each["metadata"]["name"]
            kept[name] = max(kept.get(name, 0), int(each["spec"].get("replicas", 1)))
    for each in statefulsets if spec.cache is not None else ():
        kept[each["metadata"]["name"]] = max(kept[each["metadata"]["name"]], _most(state, spec))
    return [
        deletion_of(claim, "its replica was removed")
        for name, number, claim in there
        if number >= kept.get(name, 0) and claim["metadata"]["name"] not in used
    ]


def _most(state: ServiceState, spec: LLMServiceSpec) -> int:
    """Number of replicas whose claims are kept."""
    if spec.cache is not None and spec.cache.keep is not None:
        return state.wanted_replicas + spec.cache.keep
    most = spec.scaling.max_replicas if spec.scaling is not None else 0
    return max(most, state.wanted_replicas + KEPT)
