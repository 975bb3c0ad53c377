"""Changes of a running service, one of each kind: the state before, and the changed spec.

By default a service has `replicas` of one GPU each on its own node with `gpus` GPUs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

Fragment = Mapping[str, Any]

LONGER = {"model": {"maxContextLength": 2048}}
KEYS = {"apiKeys": {"secretRef": {"name": "keys"}}}
S3 = {"model": {"source": "s3://models/chat", "revision": None}}
"""The fake nodes say what is in it as soon as it is asked for, which replicas on several devices wait for."""
ON_TWO_NODES = {**S3, "parallelism": {"tensor": 2, "nodesPerReplica": 2}}
SLOW = {"resources": {"cpu": "222m"}}
"""Engines that take some seconds to get ready."""
SCALED = {"scaling": {"minReplicas": 1, "maxReplicas": 3, "targets": {"timeToFirstToken": {"p99": "200ms"}}}}


@dataclasses.dataclass(frozen=True)
class SpecChange:
    """One change. A field that is None goes."""

    name: str
    change: Fragment
    replicas: int = 2
    gpus: int = 2
    base: Fragment = dataclasses.field(default_factory=dict)
    """What the spec has beside the model."""
    first: Fragment | None = None
    """A change before it, which has come to its end; with ``paused`` in it, to a halt."""
    quota: Fragment | None = None
    """A ResourceQuota of the namespace, made once the service is there."""
    disks: int = 0
    """Volumes of a storage class of the test's own, which stands as DISKS in the fragments."""
    new: bool = False
    """Whether the service is made by this change."""

    def __str__(self) -> str:
        return self.name


DISKS = "DISKS"

CHANGES = (
    # Pods are replaced: in place, or with one more meanwhile.
    SpecChange("in-place", LONGER, 3, 3),
    SpecChange("in-place-single", LONGER, 1, 1),
    SpecChange("in-place-slow", LONGER | SLOW, 2, 2),
    SpecChange("in-place-though-there-is-room", LONGER, 2, 3, {"rollout": {"strategy": "InPlace"}}),
    SpecChange("two-may-be-missing", LONGER, 3, 3, {"rollout": {"maxUnavailable": 2}}),
    SpecChange("surge", LONGER, 2, 3),
    SpecChange("surge-single", LONGER, 1, 2),
    SpecChange("surge-slow", LONGER | SLOW, 2, 4),
    SpecChange("surge-as-none-may-be-missing", LONGER, 2, 3, {"rollout": {"maxUnavailable": 0}}),
    SpecChange("strategy-and-context-at-once", LONGER | {"rollout": {"strategy": "InPlace"}}, 2, 3),
    SpecChange("on-cpus", LONGER, 2, 0, {"accelerator": {"type": "cpu"}}),
    SpecChange("back-to-the-spec-before", {"model": {"maxContextLength": None}}, 2, 2, first=LONGER),
    SpecChange("quota-of-gpus-against-a-surge", LONGER, 2, 4, quota={"requests.nvidia.com/gpu": "2"}),
    SpecChange("quota-of-pods-against-a-surge", LONGER, 1, 4, ON_TWO_NODES, quota={"pods": "2"}),
    # It can't succeed.
    SpecChange("surge-without-a-gpu", LONGER, 2, 2, {"rollout": {"strategy": "Surge"}}),
    SpecChange("none-may-be-missing-without-a-gpu", LONGER, 2, 2, {"rollout": {"maxUnavailable": 0}}),
    SpecChange("more-gpus-than-there-are", {"parallelism": {"tensor": 2}}, 2, 2, S3),
    SpecChange("no-such-node", {"scheduling": {"nodeSelector": {"pool": "none"}}}, 2, 2),
    SpecChange("more-replicas-than-gpus", {"replicas": 4}, 2, 3),
    SpecChange(
        "quota-of-gpus-against-a-surge-that-is-insisted-on",
        LONGER,
        2,
        4,
        {"rollout": {"strategy": "Surge"}},
        quota={"requests.nvidia.com/gpu": "2"},
    ),
    SpecChange("quota-of-pods-against-more-replicas", {"replicas": 4}, 2, 4, quota={"pods": "3"}),
    SpecChange("refused-by-a-rule", {"engine": {"kvCacheMemory": "4Gi"}}),
    SpecChange("refused-by-a-bound", {"replicas": 5000}),
    SpecChange("not-accepted", {"resources": {"memory": "1Gi"}}, 1, 0, {"accelerator": {"type": "cpu"}}),
    # Replicas come and go.
    SpecChange("scale-up", {"replicas": 3}, 1, 3),
    SpecChange("scale-down", {"replicas": 1}, 3, 3),
    SpecChange("to-zero", {"replicas": 0}, 2, 2),
    SpecChange("from-zero", {"replicas": 2}, 0, 2),
    SpecChange("changed-while-there-is-none", LONGER, 0, 2),
    SpecChange("more-and-changed", LONGER | {"replicas": 3}, 2, 3),
    SpecChange("more-and-changed-with-room", LONGER | {"replicas": 3}, 2, 4),
    SpecChange("fewer-and-changed", LONGER | {"replicas": 2}, 3, 3, {"rollout": {"strategy": "InPlace"}}),
    SpecChange("fewer-and-changed-onto-what-they-leave", LONGER | {"replicas": 2}, 3, 3),
    SpecChange("fewer-and-changed-with-room", LONGER | {"replicas": 1}, 2, 3),
    SpecChange("quota-that-suffices", LONGER, 2, 2, quota={"requests.nvidia.com/gpu": "2"}),
    # Nothing restarts.
    SpecChange("caps", {"access": {"caps": {"maxTokens": 77}}}),
    SpecChange("limits", {"access": {"rateLimits": {"default": {"requestsPerMinute": 7}}}}, base={"access": KEYS}),
    SpecChange("rollout-alone", {"rollout": {"onFailure": "Pause"}}),
    SpecChange("paused", LONGER | {"rollout": {"paused": True}}),
    SpecChange("autoscaler", SCALED, 2, 3),
    SpecChange("autoscaler-bounds", {"scaling": {"maxReplicas": 2}}, 2, 3, SCALED),
    SpecChange(
        "a-larger-disk", {"cache": {"size": "2Gi"}}, base={"cache": {"size": "1Gi", "storageClassName": DISKS}}, disks=2
    ),
    # Each part of the spec that pods depend on.
    SpecChange("unpaused", {"rollout": {"paused": False}}, 2, 2, first=LONGER | {"rollout": {"paused": True}}),
    SpecChange("keys", {"access": KEYS}),
    SpecChange("drain", {"shutdown": {"drainSeconds": 90}}),
    SpecChange("engine-and-quantization", {"engine": {"maxNumSeqs": 16}, "quantization": {"method": "fp8"}}),
    SpecChange("another-model", {"model": {"source": "hf://org/other-7b"}}, 2, 3),
    SpecChange(
        "memory-cpu-and-spread", {"resources": {"memory": "9Gi", "cpu": "60m"}, "scheduling": {"spreadOver": "zone"}}
    ),
    SpecChange("tracing", {"tracing": {"endpoint": "http://jaeger.tracing:4317"}}),
    SpecChange("two-gpus-each", {"parallelism": {"tensor": 2}}, 2, 4, S3),
    SpecChange("one-gpu-each", {"parallelism": {"tensor": 1}}, 2, 4, {**S3, "parallelism": {"tensor": 2}}),
    SpecChange("disks", {"cache": {"size": "1Gi", "storageClassName": DISKS}}, disks=2),
    SpecChange("no-more-disks", {"cache": None}, base={"cache": {"size": "1Gi", "storageClassName": DISKS}}, disks=2),
    # On two nodes each.
    SpecChange("on-two-nodes-in-place", LONGER, 2, 4, ON_TWO_NODES),
    SpecChange("on-two-nodes-surge", LONGER, 1, 4, ON_TWO_NODES),
    SpecChange("on-two-nodes-scaled", {"replicas": 2}, 1, 4, ON_TWO_NODES),
    # A service that is not there yet.
    SpecChange("new", {}, 2, 2, new=True),
    SpecChange("new-with-too-few-gpus", {}, 2, 1, new=True),
)
