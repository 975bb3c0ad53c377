"""A model of volumes that pods on one node only, or only one pod, can mount.

The scheduler ignores where a ReadWriteOnce volume is mounted: a pod on another node is bound and waits until the volume
is detached. It enforces ReadWriteOncePod.
"""

from collections.abc import Iterable, Mapping, Sequence

from llmservice_operator.planner.model import pods, volume_claims
from llmservice_operator.planner.model.observed import Object
from llmservice_operator.simulation.pod_model import Pod

NO_MODES: Mapping[str, frozenset[str]] = {}


class MountModel:
    """Which pods can mount their claims. Claims with unknown access modes limit nothing."""

    def __init__(self, access_modes: Mapping[str, frozenset[str]] | None) -> None:
        modes = access_modes or NO_MODES
        self._of_one_node = frozenset(volume_claims.of_one_node(modes, modes))
        self._of_one_pod = frozenset(claim for claim in modes if volume_claims.is_of_one_pod(modes, claim))

    def refusal(self, pod: Object, present: Iterable[Object], nodes: int) -> str:
        """The scheduler's message if another pod uses a ReadWriteOncePod claim of the pod; empty if none does."""
        wanted = self._of_one_pod.intersection(pods.claims(pod)) if self._of_one_pod else frozenset()
        if not wanted or not any(pods.bound(each) and wanted.intersection(pods.claims(each)) for each in present):
            return ""
        return (
            f"0/{nodes} nodes are available: 1 node has pod using PersistentVolumeClaim with the same name and "
            "ReadWriteOncePod access mode"
        )

    def in_the_way(self, pod: Pod, present: Sequence[Pod]) -> tuple[str, Pod] | None:
        """A claim of the pod, and a pod on another node that has mounted it; None if the pod can mount all claims."""
        if not self._of_one_node:
            return None
        wanted = [claim for claim in pods.claims(pod.parsed) if claim in self._of_one_node]
        for other in present if wanted else ():
            elsewhere = other.has_mounted and other is not pod and other.node != pod.node
            shared = [claim for claim in wanted if elsewhere and claim in pods.claims(other.parsed)]
            if shared:
                return shared[0], other
        return None
